"""How commands start: what they load, how OpenMP's idle threads wait, what memory is kept."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HELP = """
sys.argv[1:] = ["--help"]
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
STORED = "import benchmark.__main__, benchmark.job.record, benchmark.show.output"
AUDIT = "import benchmark.audit.run, attacks.density, attacks.distances"
PLOTS, TORCH = {"matplotlib", "jinja2"}, {"torch", "sklearn", "scipy"}
TRAINING = {"pytorch_lightning", "torchvision", "torchmetrics", "diffusers", "lpips", "zuko"}


def started(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new process that prints the packages it loaded in its last line."""
    packages = "print(*{name.partition('.')[0] for name in sys.modules})"
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    return subprocess.run(
        [sys.executable, "-c", f"import contextlib, sys\n{code}\n{packages}"],
        env=clean | environment, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "spared"),
    [(HELP, {"pandas"} | TORCH | TRAINING | PLOTS), (STORED, TORCH | TRAINING | PLOTS)],
)
def test_what_needs_no_heavy_package_loads_none(code: str, spared: set[str]) -> None:
    loaded = set(started(code).stdout.splitlines()[-1].split())
    assert "hydra" in loaded
    assert not loaded & spared


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
