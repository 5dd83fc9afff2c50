"""A job's time with several workers over that with one: the default job, and eight references.

    python bench/workers.py [--steps 200] [--repeats 1] [--slurm] [key=value ...]

With `--slurm` the job with references runs as tasks of a SLURM job, on a cluster that is up: one
task with all cores, and as many tasks as cores. `tests/cluster/slurm.sh up DIR` starts a cluster.

Both train with the same threads in all. Each run starts from an empty store; they take turns, so
that a busy machine disturbs both alike, but only an idle one shows what workers gain. The job with
references trains its models for fewer steps and attacks fewer queries: it would take an hour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from goals import note

JOBS: dict[str, tuple[list[str], float]] = {
    "default job": ([], 0.65),
    "eight models on halves": (["reference=halves", "reference.count=8", "split.queries=16"], 0.58),
}
SLURM = ["machine=slurm", "machine.accelerator=cpu", "hydra.launcher.gpus_per_node=null"]
SLURM += ["hydra.launcher.mem_gb=6", "-m"]
BY_SLURM = 0.6
LARGEST = 1.1
"""GiB of a worker at most; of what processes share, such as libraries, it is charged its part."""


def main() -> None:
    """A line for each job, and one for the memory of a process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="a model of the job with references")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--slurm", action="store_true", help="tasks of a SLURM job instead")
    parser.add_argument("settings", nargs="*")
    wanted = parser.parse_args()
    many, largest = os.cpu_count() or 1, 0.0
    for name, (words, goal) in JOBS.items():
        own = [*words, *wanted.settings, *([f"victim.steps={wanted.steps}"] if words else [])]
        if wanted.slurm:
            if words:
                measure(f"{name}, {many} SLURM tasks", own, many, wanted.repeats, BY_SLURM, SLURM)
            continue
        memory = measure(f"{name}, {many} workers", own, many, wanted.repeats, goal)
        largest = max(largest, memory)
    if not wanted.slurm:
        note("memory of a worker, GiB", "none", largest, f"<= {LARGEST}")


def measure(
    name: str, words: list[str], many: int, repeats: int, goal: float, cluster: Sequence[str] = ()
) -> float:
    """Note the time of many workers over that of one; returns the GiB of the largest."""
    ratios, largest = [], 0.0
    whole, part = ([f"machine.threads={n}"] if cluster else [] for n in (many, 1))  # of a task
    for _ in range(repeats):
        alone, _ = run(1, *words, *cluster, *whole)
        together, memory = run(many, *words, *cluster, *part)
        ratios.append(together / alone)
        largest = max(largest, memory)
        print(f"{name}: 1 worker {alone:.0f} s, {many} workers {together:.0f} s", flush=True)
    note(name, "1 worker", ratios, f"<= {goal}")
    return largest


def run(workers: int, *words: str) -> tuple[float, float]:
    """Seconds of a job from an empty store, and the GiB of the largest of its workers."""
    with TemporaryDirectory() as folder:
        places = [f"machine.store={folder}/store", f"machine.outputs={folder}/outputs"]
        command = [sys.executable, "-m", "benchmark", *words, *places, f"machine.workers={workers}"]
        start, peaks = time.perf_counter(), [0.0]
        process = subprocess.Popen(
            [*command, "logger=none", "machine.progress=false"], stdout=subprocess.DEVNULL
        )
        watch = threading.Thread(target=_watch, args=(process, peaks))
        watch.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        watch.join()
    if code:
        sys.exit(f"{' '.join(command)} ended with code {code}")
    return seconds, max(peaks)


def _watch(process: subprocess.Popen[bytes], peaks: list[float]) -> None:
    """Note the memory (GiB) of the workers that a process has started, every half second; Linux."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        time.sleep(0.5)
        try:
            for child in children.read_text().split():
                lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
                peaks += [int(x.split()[1]) / 2**20 for x in lines if x.startswith("Pss:")]
        except OSError:
            continue


if __name__ == "__main__":
    main()
