"""A smoke sweep as a job array on a real SLURM of one node, preempted and requeued on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.store.entries import Store

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
SCRIPT = Path(__file__).with_name("slurm.sh")
SWEEP = [
    "+sweep=taxonomy",
    "scale=smoke",
    "victim=dcgan",
    "victim.steps=250",
    "split.members=16,24",
]
SWEEP += ["attack=[discriminator,white_box]", "distance=l2", "logger=none", "machine.threads=1"]
SLURM = ["machine=slurm", "machine.accelerator=cpu", "machine.checkpoint_every_s=1"]
SLURM += ["hydra.launcher.gpus_per_node=null", "hydra.launcher.mem_gb=2"]
CHECKPOINTS = "store/victim/*/work/last.ckpt"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands reach the test cluster."""
    path = os.environ["PATH"] + ":/usr/sbin"
    if missing := [name for name in PROGRAMS if shutil.which(name, path=path) is None]:
        packages = "munge slurmctld slurmd slurm-client"
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install {packages}")
    if os.geteuid() != 0:
        pytest.skip("only root can start SLURM's daemons")
    # munge refuses a socket below a folder that not everybody may enter, such as pytest's own
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    environment = os.environ | {"PATH": path, "SLURM_CONF": f"{folder}/slurm.conf"}
    try:
        subprocess.run([SCRIPT, "up", folder], env=environment, check=True, timeout=120)
        yield environment
    finally:
        subprocess.run([SCRIPT, "down", folder], env=environment, check=False, timeout=120)
        shutil.rmtree(folder)


def sweep(root: Path, *overrides: str) -> list[str]:
    places = [f"machine.store={root}/store", f"machine.outputs={root}/outputs"]
    return [sys.executable, "-m", "benchmark", *SWEEP, *places, *overrides, "-m"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the same jobs run without a cluster."""
    return tmp_path_factory.mktemp("home")


def wait_for(found: Callable[[], Any], seconds: float, what: str) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.2)
    pytest.fail(f"no {what} after {seconds} s")


def queue(cluster: dict[str, str]) -> dict[str, str]:
    """State of each job that is not over: {"1_0": "RUNNING", ...}."""
    command = ["squeue", "--noheader", "--array", "--format", "%i %T"]
    lines = subprocess.run(command, env=cluster, capture_output=True, text=True, check=True).stdout
    return dict(line.split() for line in lines.splitlines())


def logs(root: Path, job: str) -> str:
    return "".join(path.read_text() for path in root.glob(f"outputs/*/.submitit/{job}/*log*"))


def scores(root: Path) -> dict[str, np.ndarray]:
    found = Store(root / "store").find("scores")
    return {folder.name: np.load(folder / "scores.npy") for folder, _ in found}


def preempt(cluster: dict[str, str], root: Path, job: str, signal: str) -> None:
    """Tell a job in the midst of training to go; it must be back in the queue within seconds."""
    wait_for(lambda: "training on" in logs(root, job), 120, f"training in job {job}")
    wait_for(lambda: list(root.glob(CHECKPOINTS)), 60, "checkpoint")
    subprocess.run(["scancel", f"--signal={signal}", job], env=cluster, check=True)
    wait_for(lambda: queue(cluster).get(job) == "PENDING", 15, f"requeued job {job}")


def test_a_preempted_job_array_ends_in_the_scores_of_a_local_run(
    cluster: dict[str, str], home: Path, tmp_path: Path
) -> None:
    away, log = tmp_path / "away", (tmp_path / "log").open("w")
    remote = subprocess.Popen(sweep(away, *SLURM), env=cluster, stdout=log, stderr=log)
    local = subprocess.Popen(sweep(home), stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: queue(cluster).keys() >= {"1_0", "1_1"}, 60, "job array")
        preempt(cluster, away, "1_0", "USR2")  # what SLURM sends before the time limit
        preempt(cluster, away, "1_1", "TERM")  # what it sends to a job that has to make room
        assert local.wait(300) == 0
        assert remote.wait(300) == 0, (tmp_path / "log").read_text()
    finally:
        remote.kill()
        local.kill()
    for job in ("1_0", "1_1"):
        assert "resumed after step" in logs(away, job)
    found, expected = scores(away), scores(home)
    assert found.keys() == expected.keys()
    assert len(expected) == 8  # two sizes, two attacks, victim and reference model
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_the_tasks_of_one_job_share_its_models(
    cluster: dict[str, str], home: Path, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    one = ["split.members=16", "reference.count=2"]
    words = [*SLURM, *one, "machine.workers=2"]
    wait_for(lambda: not queue(cluster), 60, "empty queue")
    done = subprocess.run(
        sweep(away, *words), env=cluster, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run(sweep(home, *one), check=True, capture_output=True, timeout=300)
    found, expected = scores(away), scores(home)
    assert len(found) == 6  # three models, two attacks
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])
    trained = [
        sum(path.read_text().count("training on") for path in away.rglob(f"*_{task}_log.*"))
        for task in (0, 1)
    ]
    assert sum(trained) == 3
    assert min(trained) > 0


def test_a_cancelled_job_stays_cancelled(cluster: dict[str, str], tmp_path: Path) -> None:
    wait_for(lambda: not queue(cluster), 60, "empty queue")
    remote = subprocess.Popen(
        sweep(tmp_path, *SLURM, "victim.steps=100000", "split.members=16"),
        env=cluster, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        job, _ = wait_for(lambda: next(iter(queue(cluster).items()), None), 60, "job")
        wait_for(lambda: list(tmp_path.glob(CHECKPOINTS)), 120, "checkpoint")
        subprocess.run(["scancel", job], env=cluster, check=True)
        wait_for(lambda: not queue(cluster), 60, "end of the cancelled job")
        time.sleep(8)  # longer than a requeued job waits before it is seen again
        assert not queue(cluster)
    finally:
        remote.kill()
    assert "is kept" in logs(tmp_path, job)
    assert list(tmp_path.glob(CHECKPOINTS))
