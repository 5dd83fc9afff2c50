"""Where jobs run: what a machine file chooses, and what a cluster's signals do to a job."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import CONF, composed, names
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins

from benchmark.__main__ import command
from benchmark.config.cluster import TOLD, requeue_when_told, task
from benchmark.job.filing import Filing


def launcher(machine: str) -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"machine={machine}"], return_hydra_config=True)
    return str(config.hydra.launcher._target_).rsplit(".", 1)[-1]


@pytest.mark.parametrize("machine", names("machine"))
def test_a_machine_chooses_its_launcher_and_enters_no_key(machine: str, tmp_path: Path) -> None:
    chosen = launcher(machine)
    assert chosen == ("SlurmLauncher" if machine == "slurm" else "JoblibLauncher")
    assert chosen in {plugin.__name__ for plugin in Plugins.instance().discover()}
    here = Filing(composed(tmp_path, f"machine={machine}", "machine.processes=2")).result
    assert here == Filing(composed(tmp_path)).result


def test_options_of_hydra_keep_their_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["machine=slurm", "--cfg", "hydra", "-p", "hydra.launcher"]
    monkeypatch.setattr("sys.argv", ["benchmark", *words])
    with pytest.raises(SystemExit) as stop:
        command()
    assert stop.value.code == 0
    assert "SlurmLauncher" in capsys.readouterr().out


def test_tasks_are_numbered_within_a_job_of_submitit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "2")  # of the shell in which somebody looks around
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert task() == (0, 1)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    assert task() == (2, 4)


# --- signals --------------------------------------------------------------------------------------


class Requeued(BaseException):
    """Stands in for the exit after `scontrol requeue`."""


def requeue(*_: object) -> None:
    raise Requeued


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A job that submitit started; the file's content is what `squeue` says about it."""
    before = {number: signal.getsignal(number) for number in TOLD}
    signal.signal(signal.SIGUSR2, requeue)  # as submitit does
    state, program = tmp_path / "state", tmp_path / "squeue"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncat {state}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in {
        "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    yield state
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", TOLD)
def test_a_job_that_is_told_to_go_is_queued_again(slurm: Path, number: int) -> None:
    slurm.write_text("RUNNING\n")
    requeue_when_told()
    with pytest.raises(Requeued):
        signal.raise_signal(number)
    signal.raise_signal(signal.SIGTERM)  # SLURM's own, to what was requeued: it is ignored


@pytest.mark.parametrize("state", ["COMPLETING", "", "CANCELLED"])
def test_a_cancelled_job_only_ends(slurm: Path, state: str) -> None:
    slurm.write_text(state)
    requeue_when_told()
    with pytest.raises(SystemExit) as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.value.code == 143
    assert "--job 7_1" in (slurm.parent / "asked").read_text()


def test_outside_a_cluster_nothing_changes(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in TOLD]
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    requeue_when_told()
    assert [signal.getsignal(number) for number in TOLD] == before
