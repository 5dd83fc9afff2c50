"""How much of its speed a job keeps beside other work, by how idle OpenMP threads wait.

And what it gains because freed memory stays with the process.

    python bench/busy.py [--seconds 5] [--rounds 2] [--every-way]

Training is that of the default victim; the attack is the white box on it, untrained. Each runs with
1 and 2 threads, alone and beside one process that keeps a core busy. The ways of waiting take turns
within a round, so that whatever else the machine does hits all of them alike. A speed alone is the
best of the rounds: other work can only lower it. The fair share of two cores is 2/3 of that speed
for 2 threads beside one, and all of it for 1 thread. Without `--every-way` three ways are tried:
libgomp's, this project's, and this project's with memory as glibc treats it.

No way of waiting reaches both goals with 2 threads on 2 cores: threads that sleep cost a quarter of
the training alone, threads that spin lose most of it beside other work. Training with 2 threads, as
a share of libgomp's speed alone (medians of 2 to 8 rounds of 4 seconds; half the fair share: 0.33):

    way of waiting   alone   beside
    as libgomp does  1.00    0.27
    passive          0.75    0.43
    spins 1000       0.79    0.41
    spins 3000       0.76    0.35
    spins 10000      0.84    0.23
    spins 30000      0.82    0.15
    spins 100000     0.94    0.11

So threads sleep. A job with two models does not pay for it: it trains them in two processes of one
thread. Together these take 1.16 times as many steps a second as two threads that spin (three rounds
on idle cores: 1.15, 1.16, 1.73). The last line of training compares the two.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from goals import note

WAYS: dict[str, dict[str, str]] = {
    "as libgomp does": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spins 1000": {"GOMP_SPINCOUNT": "1000"},
    "spins 10000": {"GOMP_SPINCOUNT": "10000"},
    "passive, glibc": {"OMP_WAIT_POLICY": "PASSIVE", "MALLOC_PERTURB_": "0"},
}
USUAL = "as libgomp does"
OWN = "passive"
"""What `benchmark/__init__.py` sets, beside memory."""
GLIBC = "passive, glibc"
"""The same with freed memory handed back: any setting of malloc switches ours off."""
FAIR = {1: 1.0, 2: 2 / 3}


class Over(Exception):
    """The seconds are over."""


def main() -> None:
    """Print speeds of every way, relative to the usual one alone; then the goals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--every-way", action="store_true")
    wanted = parser.parse_args()
    ways = [*WAYS] if wanted.every_way else [USUAL, OWN, GLIBC]
    for work in ("training", "attack"):
        for threads in (1, 2):
            table(work, threads, ways, wanted.seconds, wanted.rounds)


def table(work: str, threads: int, ways: list[str], span: float, rounds: int) -> None:
    """A line for each way."""
    idle: dict[str, list[float]] = {way: [] for way in ways}
    busy: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            idle[way].append(speed(work, threads, span, way))
            with competitor():
                busy[way].append(speed(work, threads, span, way))
    usual = max(idle[USUAL])
    for way in ways:
        alone, beside = max(idle[way]) / usual, median(busy[way]) / usual
        print(
            f"{work}, {threads} threads, {way:16} alone {alone:.2f}  beside {beside:.2f}",
            flush=True,
        )
    kept = [own / usual / FAIR[threads] for own in busy[OWN]]
    note(f"{work}, {threads} threads, alone", "libgomp's way", max(idle[OWN]) / usual, ">= 0.97")
    kept_memory = max(idle[OWN]) / max(idle[GLIBC])
    note(f"{work}, {threads} threads, memory kept", "memory handed back", kept_memory, ">= 1")
    note(f"{work}, {threads} threads, beside a busy process", "fair share", kept, ">= 0.5")
    if threads == 2:
        both = [together(work, span) / usual for _ in range(rounds)]
        note(f"{work}, 2 processes of 1 thread", "2 threads, libgomp's way", both, ">= 1")


def together(work: str, span: float) -> float:
    """Units of work a second that two processes of one thread do at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda _: speed(work, 1, span, OWN), range(2)))


def speed(work: str, threads: int, span: float, way: str) -> float:
    """Units of work a second, in a process of its own."""
    ours = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
    clean = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("MALLOC_")}
    environment = clean | {"OMP_NUM_THREADS": str(threads)} | WAYS[way]
    command = [sys.executable, __file__, work, str(span)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


@contextmanager
def competitor() -> Iterator[None]:
    """One more process, which keeps a core busy."""
    busy = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    process = subprocess.Popen([sys.executable, "-c", busy])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measured(work: str, span: float) -> float:
    """Units a second, from the second unit on: training steps, or attacks on 4 queries."""
    import torch  # only now: the environment is this process' own
    from defaults import SHAPE, build_victim, compose_job

    from benchmark.config.build import build
    from victims.access import WhiteBox
    from victims.training.train import Training, fit_victim

    config = compose_job("machine.progress=false", "victim.steps=100000")
    victim = build_victim(config)
    records = torch.rand(128, *SHAPE) * 2 - 1
    times: list[float] = []

    def tick() -> None:
        times.append(time.perf_counter())
        if len(times) > 2 and times[-1] - times[0] > span:
            raise Over

    def read(rows: Any) -> torch.Tensor:
        tick()
        return records[rows]

    attack = build(config.attack.white_box, "attack")
    with TemporaryDirectory() as name:
        try:
            if work == "training":
                folder = Path(name)
                fit_victim(
                    victim,
                    read,
                    size=128,
                    folder=folder,
                    work=folder / "work",
                    seed=0,
                    training=Training(checkpoint_every_s=1e9),
                )
            attack.distance.load()
            victim.freeze_for_release()
            codes = torch.randn(1000, victim.z_dim)
            view = victim.view(WhiteBox, victim.generate(codes).numpy(), codes.numpy(), 256)
            while True:
                tick()
                attack.reconstruct(view, records[:4])
        except Over:
            pass
    return (len(times) - 2) / (times[-1] - times[1])


if __name__ == "__main__":
    if sys.argv[1:2] in (["training"], ["attack"]):
        print(measured(sys.argv[1], float(sys.argv[2])))
    else:
        main()
