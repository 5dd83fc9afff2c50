"""How commands start: what they load, how OpenMP's idle threads wait, what memory is kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import scipy
from common import started

from benchmark import __main__ as program

COMMAND = """
sys.argv[1:] = {words}
import benchmark.__main__
with contextlib.suppress(SystemExit):
    benchmark.__main__.command()
"""
STEPS = """
import benchmark, resource, torch
def work():
    for _ in range(5):
        [torch.zeros(4, 2**20) for _ in range(2)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
faults = [work() for _ in range(3)]
print(min(b - a for a, b in zip(faults, faults[1:])))  # the system may have needed some pages back
"""
AUDIT = "import benchmark.audit.run, attacks.density, attacks.distances"
SCIPY = {f"scipy.{name}" for name in scipy.__all__}  # all that it has; by itself it is a shell
PLOTS, TORCH = {"matplotlib", "jinja2"}, {"torch", "sklearn", *SCIPY}
TRAINING = {"pytorch_lightning", "torchvision", "torchmetrics", "diffusers", "lpips", "zuko"}


def loaded_by(*words: str) -> set[str]:
    """Modules that `python -m benchmark` loads with these words."""
    return set(started(COMMAND.format(words=[*words])).stdout.splitlines()[-1].split())


def test_help_loads_no_heavy_package() -> None:
    loaded = loaded_by("--help")
    assert "hydra" in loaded
    assert not loaded & ({"pandas"} | TORCH | TRAINING | PLOTS)


@pytest.mark.slow
def test_a_stored_job_loads_no_heavy_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["scale=smoke", "attack=[discriminator]", "calibration=none", "logger=none"]
    words += [f"machine.store={tmp_path}/store", f"machine.outputs={tmp_path}/outputs"]
    monkeypatch.setattr("sys.argv", ["benchmark", *words])
    with pytest.raises(SystemExit):
        program.command()
    loaded = loaded_by(*words)
    assert "pandas" in loaded
    assert not loaded & (TORCH | TRAINING | PLOTS)
    assert len(list(tmp_path.glob("outputs/*/index.html"))) == 2


@pytest.mark.slow
def test_an_audit_loads_nothing_that_trains_and_its_idle_threads_sleep() -> None:
    done = started(AUDIT, OMP_DISPLAY_ENV="TRUE")
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "torch" in loaded
    assert not loaded & (TRAINING | PLOTS)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr  # libgomp's own words
    assert "ACTIVE'" not in done.stderr.replace("PASSIVE'", "")


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "1000"}])
def test_a_way_of_waiting_that_a_user_chose_stays(own: dict[str, str]) -> None:
    shown = "import benchmark, os; print(os.environ.get('OMP_WAIT_POLICY'))"
    expected = own.get("OMP_WAIT_POLICY", "None")
    assert started(shown, **own).stdout.splitlines()[0] == expected


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only glibc hands memory back so eagerly")
def test_memory_that_a_step_frees_serves_the_next_step() -> None:
    kept, usual = (
        int(started(STEPS, **own).stdout.splitlines()[0])
        for own in ({}, {"MALLOC_TRIM_THRESHOLD_": "131072"})
    )
    assert kept < 1000  # pages of 4 KiB, where a step takes 8192
    assert usual > 5 * 8000  # a user's own setting stays
