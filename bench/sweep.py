"""Sweeps: what two processes gain over one, what stored jobs cost, how much memory a job takes.

Run `python -m bench.sweep` (some 15 minutes on 2 idle cores). Every command starts from an empty
store but those that are said to find everything; jobs are single-threaded. Two processes are
compared with one on jobs of half a minute, still short for a sweep: each process first imports
torch, which takes 10 s. Targets: two processes take at most 0.6 of one's time; a stored job starts
in under 4 s beyond Hydra's own start; 100 stored jobs take under 60 s; a smoke job stays under
1 GiB.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMOKE = ["scale=smoke", "logger=none", "machine.threads=1", "machine.progress=false"]
VICTIMS = "victim=dcgan,vae,vaegan,wgan_gp_dcgan"
CHEAP = ["attack=[discriminator]", "calibration=none", "quality=none"]


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="of each victim in the taxonomy sweep")
    parser.add_argument("--steps", type=int, default=1000, help="of training each of its models")
    parser.add_argument("--jobs", type=int, default=100, help="stored jobs")
    wanted = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        scaling(Path(folder), wanted.seeds, wanted.steps)
        stored(Path(folder), wanted.jobs)
    print(f"load after: {os.getloadavg()[0]:.1f}")


def scaling(folder: Path, seeds: int, steps: int) -> None:
    """The taxonomy sweep of four victims with one process and with two."""
    sweep = ["+sweep=taxonomy", *SMOKE, VICTIMS, f"victim.steps={steps}"]
    sweep += ["seed=" + ",".join(map(str, range(seeds)))]
    times = {
        count: run(folder / str(count), *sweep, f"machine.processes={count}", "-m")
        for count in (1, 2)
    }
    ratio = times[2] / times[1]
    print(f"taxonomy sweep: 1 process {times[1]:.0f} s, 2 processes {times[2]:.0f} s: {ratio:.2f}")


def stored(folder: Path, jobs: int) -> None:
    """One job and many whose results are stored, against Hydra's start alone."""
    one = [*SMOKE, *CHEAP]
    run(folder / "one", *SMOKE)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    hydra = min(run(folder / "one", *SMOKE, "--cfg", "job") for _ in range(3))
    again = min(run(folder / "one", *SMOKE) for _ in range(3))
    print(f"stored job: {again:.1f} s, Hydra alone {hydra:.1f} s: {again - hydra:.1f} s beyond it")
    print(f"largest process so far, of a smoke job or a worker of the sweep: {peak:.0f} MiB")
    many = [*one, "split.queries=" + ",".join(str(n) for n in range(2, 12))]
    many += ["split.reference=" + ",".join(str(n) for n in range(24, 24 + jobs // 10)), "-m"]
    run(folder / "many", *many)
    print(f"{jobs} stored jobs: {run(folder / 'many', *many):.0f} s")


def run(folder: Path, *words: str) -> float:
    """Seconds that a command takes with a store in this folder."""
    places = [f"machine.store={folder}/store", f"machine.outputs={folder}/outputs"]
    flags = [word for word in words if word.startswith("-")]
    settings = [word for word in words if word not in flags and word != "job"]
    flags += ["job"] if "--cfg" in flags else []
    command = [sys.executable, "-m", "benchmark", *settings, *places, *flags]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
