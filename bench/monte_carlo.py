"""Monte Carlo attack: its time with three features over that of the nearest-neighbour search.

Run `python bench/monte_carlo.py` (3 minutes on 2 cores, 3 GB of memory). Both see the same arrays
and are timed in turns; Monte Carlo's time includes learning (components, epsilon) and computing all
features.

With `values` the attack cannot but repeat the search's product: 1.13 times the search's processor
time, for 1 000 queries and 6 000 samples. Components took 0.32, gradients 0.53 and colours 0.69.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from typing import Any

import torch
from goals import note

from attacks.features import ColourHistogram, OrientedGradients, PrincipalComponents, Values
from attacks.monte_carlo import MonteCarlo
from attacks.search.nearest import find_nearest
from victims.access import FullBlackBoxWithReference

FEATURES = {
    "values": Values(),
    "components": PrincipalComponents(40, fitted=2000),
    "gradients": OrientedGradients(),
    "colours": ColourHistogram(),
}
GOAL = 1.5


def main() -> None:
    """Time everything `--repeats` times; print medians, and ratios taken within each repeat."""
    options = arguments()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    sizes = (options.samples, options.queries, 1000)
    released, queries, reference = (
        torch.empty(n, 3, options.side, options.side).uniform_(-1, 1, generator=generator)
        for n in sizes
    )
    view = FullBlackBoxWithReference(torch.device("cpu"), 64, released.numpy(), reference.numpy())
    times: dict[str, list[float]] = {name: [] for name in ("search", *FEATURES)}
    for _ in range(options.repeats):
        times["search"].append(seconds(lambda: find_nearest(view.blocks(), queries, 5)))
        for name, feature in FEATURES.items():
            attack = MonteCarlo(feature)
            times[name].append(seconds(lambda a=attack: attacked(a, view, queries)))  # type: ignore[misc]
    print(
        f"{options.queries} queries x {options.samples} samples x {3 * options.side**2} values, "
        f"{options.threads} threads, {options.repeats} repeats"
    )
    for name, found in times.items():
        print(f"{name}: {median(found):.2f} s ({min(found):.2f} to {max(found):.2f})")
    for three in (("components", "gradients", "colours"), ("values", "components", "gradients")):
        ratios = [
            sum(times[name][i] for name in three) / times["search"][i]
            for i in range(options.repeats)
        ]
        note(f"Monte Carlo: {', '.join(three)}", "nearest neighbours", ratios, f"<= {GOAL}")


def attacked(attack: MonteCarlo, view: FullBlackBoxWithReference, queries: torch.Tensor) -> None:
    """Learn and judge, as a job does."""
    attack.judge(attack.learn(view, Path(gettempdir())), view, queries)


def seconds(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def arguments() -> argparse.Namespace:
    """The sizes, by default those of the paper's scale (64x64x3)."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("queries", 2000),
        ("samples", 20_000),
        ("side", 64),
        ("repeats", 3),
        ("threads", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
