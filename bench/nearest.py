"""Nearest neighbours: seconds, and ratios to scikit-learn, FAISS and a plain matrix product.

Run `python bench/nearest.py` (10 minutes or less on 2 cores, 3 GB of memory). The searches and the
product are timed in turns and repeated, so that a busy machine disturbs all of them alike.

FAISS multiplies by OpenBLAS, PyTorch by MKL. On an AMD EPYC, one thread, PyTorch's bare product of
1 000 queries and 4 096 samples took 1.14 s of processor time, FAISS' whole search 1.00 s, and the
product by numpy's OpenBLAS 1.01 s. So no search by PyTorch's products can reach FAISS there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from goals import note
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from attacks.search.nearest import find_nearest
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
    ours, theirs, plain, flat = [], [], [], []
    search = faiss_search(released, options.threads)
    for _ in range(options.repeats):
        plain.append(seconds(lambda: product(view, queries))[0])
        time_ours, (_, found) = seconds(lambda: find_nearest(view.blocks(), queries, K))
        ours.append(time_ours)
        time_theirs, _ = seconds(lambda: ten_at_a_time(neighbours, queries[:few].numpy()))
        theirs.append(time_theirs * len(queries) / few)
        if search is not None:
            flat.append(seconds(lambda: search(queries.numpy()))[0])
    checked = min(options.checked, len(queries))
    same = sum(np.array_equal(found[i], brute(released, queries[i])) for i in range(checked))
    report(options, ours, theirs, plain, flat)
    print(f"same {K} neighbours as a float64 search: {same} of {checked} queries")


def faiss_search(released: np.ndarray, threads: int) -> Callable[[np.ndarray], Any] | None:
    """FAISS' exact search, whose index is built beforehand; None without the package."""
    try:
        import faiss
    except ImportError:
        print("FAISS is not installed: pip install faiss-cpu")
        return None
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatL2(released.shape[1])
    index.add(released)
    return lambda queries: index.search(queries, K)


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
    options: argparse.Namespace,
    ours: list[float],
    theirs: list[float],
    plain: list[float],
    flat: list[float],
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
    peers = {"scikit-learn, ten at a time": (theirs, ">= 10"), "plain product": (plain, ">= 0.6")}
    if flat:
        peers["FAISS, exact index"] = flat, ">= 1"
    for peer, (times, goal) in peers.items():
        ratios = [other / own for other, own in zip(times, ours, strict=True)]
        note("nearest neighbours, speed", peer, ratios, goal)


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
