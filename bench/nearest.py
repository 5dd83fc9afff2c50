"""Nearest neighbours: seconds, and ratios to scikit-learn and to a plain matrix product.

Run `python -m bench.nearest` (10 minutes or less on 2 cores, 3 GB of memory). The searches and the
product are timed in turns and repeated, so that a busy machine disturbs all of them alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from attacks.search.nearest import nearest
from victims.access import FullBlackBox

K = 5


def main() -> None:
    """Time everything `--repeats` times and print medians; ratios are taken within each repeat."""
    options = arguments()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(options.seed)
    shape = (options.samples, options.dimensions)
    released = torch.empty(shape).uniform_(-1, 1, generator=generator).numpy()
    queries = torch.empty(options.queries, shape[1]).uniform_(-1, 1, generator=generator)
    view = FullBlackBox(torch.device("cpu"), 64, released)
    few = min(options.subset, len(queries))

    neighbours = NearestNeighbors(n_neighbors=K).fit(released)
    ours, theirs, plain = [], [], []
    for _ in range(options.repeats):
        plain.append(seconds(lambda: product(view, queries))[0])
        time_ours, (_, found) = seconds(lambda: nearest(view.blocks(), queries, K))
        ours.append(time_ours)
        time_theirs, _ = seconds(lambda: ten_at_a_time(neighbours, queries[:few].numpy()))
        theirs.append(time_theirs * len(queries) / few)
    checked = min(options.checked, len(queries))
    same = sum(np.array_equal(found[i], brute(released, queries[i])) for i in range(checked))
    report(options, ours, theirs, plain)
    print(f"same {K} neighbours as a float64 search: {same} of {checked} queries")


def product(view: FullBlackBox, queries: Tensor) -> None:
    """The plain float32 product of all queries and all samples, by the same blocks."""
    for start in range(0, len(view.released), 2048):
        queries @ torch.from_numpy(view.released[start : start + 2048]).T


def ten_at_a_time(neighbours: NearestNeighbors, queries: np.ndarray) -> None:
    """Query scikit-learn with ten records at a time, as the paper's published code does."""
    for start in range(0, len(queries), 10):
        neighbours.kneighbors(queries[start : start + 10])


def brute(released: np.ndarray, query: Tensor) -> np.ndarray:
    """The K nearest by float64 differences."""
    exact = query.double().numpy()
    d2 = [np.square(sample - exact).sum() for sample in released]
    return np.argsort(d2, kind="stable")[:K]


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def report(
    options: argparse.Namespace, ours: list[float], theirs: list[float], plain: list[float]
) -> None:
    """Print medians in seconds, the rate, and the ratios with their range over the repeats."""
    operations = 2e-9 * options.queries * options.samples * options.dimensions
    print(
        f"{options.queries} queries x {options.samples} samples x {options.dimensions} values, "
        f"{options.threads} threads, {options.repeats} repeats"
    )
    for name, times in (("nearest", ours), ("plain product", plain)):
        print(f"{name}: {median(times):.2f} s, {operations / median(times):.0f} GFLOP/s")
    print(
        f"scikit-learn, ten at a time: {median(theirs):.1f} s "
        f"(scaled linearly from {options.subset} queries)"
    )
    for name, goal, times in (
        ("times as fast as scikit-learn", 10, theirs),
        ("of the plain product's rate", 0.6, plain),
    ):
        ratios = [other / own for other, own in zip(times, ours, strict=True)]
        span = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{median(ratios):.2f} {name} ({span}; goal: at least {goal})")


def arguments() -> argparse.Namespace:
    """The sizes, by default those of the paper's scale (64x64x3)."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("queries", 2000),
        ("samples", 20_000),
        ("dimensions", 12_288),
        ("subset", 100),
        ("checked", 20),
        ("repeats", 3),
        ("threads", 2),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
