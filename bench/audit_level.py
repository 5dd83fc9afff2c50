"""How often audits claim a leak that is not there, and how often they find one that is.

    python bench/audit_level.py [null audits, 1000] [audits of each leak, 50] [of each drift, 50]

Records are drawn from known distributions, so that the truth is known. In a null audit the
generator never saw the members: it was fitted to other records, whatever it then did with them.
Each null audit draws one of `RELEASES`, one of `INPUTS` and one of `SIZES` by its seed. At most 5%
of them may say "leak". `LEAKS` are fitted to the members: each should be found. `DRIFTS` are null
audits whose non-members are of a later year: that is no leak either, however far they have drifted.
So are `SPREADS`, whose non-members are only wider, in all columns.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm import tqdm

from benchmark.audit import Audit, audit
from victims.errors import UserError

Frame = pd.DataFrame
SIZES = ((600, 600), (1000, 300), (300, 1500), (1500, 120), (400, 15))
"""Members and non-members."""
RELEASED = 2000


def people(rng: np.random.Generator, n: int) -> Frame:
    """Continuous columns and categories that depend on one another."""
    age = rng.normal(50, 15, n)
    columns = {
        "age": age,
        "income": np.exp(rng.normal(8 + age / 100, 1, n)),
        "weight": rng.normal(75, 12, n).round(1),
        "smokes": (rng.random(n) < 0.3).astype(int),
        "town": rng.choice(["north", "south", "west"], n, p=[0.5, 0.3, 0.2]),
    }
    return pd.DataFrame(columns)


def visits(rng: np.random.Generator, n: int) -> Frame:
    """Counts: many rows are equal by chance."""
    rate = rng.gamma(2, 1.5, n)
    return pd.DataFrame({f"visits_{i}": rng.poisson(rate) for i in range(5)})


KINDS = (people, visits)


def fresh(train: Frame, draw: Callable[[int], Frame], rng: np.random.Generator) -> Frame:
    """An independent sample of the truth."""
    return draw(RELEASED)


def resampled(train: Frame, draw: Callable[[int], Frame], rng: np.random.Generator) -> Frame:
    """Training rows with replacement."""
    return train.iloc[rng.integers(0, len(train), RELEASED)]


def blurred(train: Frame, draw: Callable[[int], Frame], rng: np.random.Generator) -> Frame:
    """Training rows, their continuous columns a little moved."""
    moved = resampled(train, draw, rng).copy()
    for column in moved.select_dtypes("float"):
        moved[column] += rng.normal(0, 0.3 * train[column].std(), RELEASED)
    return moved


def filtered(train: Frame, draw: Callable[[int], Frame], rng: np.random.Generator) -> Frame:
    """An independent sample without the 30% of its rows that lie closest to a training row."""
    drawn = draw(RELEASED * 10 // 7)
    names = list(train.select_dtypes("number"))
    scale = train[names].std()
    distances, _ = cKDTree(train[names] / scale).query(drawn[names] / scale)
    return drawn.iloc[np.argsort(distances)[-RELEASED:]]


def few_copies(train: Frame, draw: Callable[[int], Frame], rng: np.random.Generator) -> Frame:
    """An independent sample, and 1% of the training rows word for word."""
    return pd.concat(
        [draw(RELEASED), train.sample(frac=0.01, random_state=int(rng.integers(9999)))]
    )


RELEASES = (fresh, resampled, blurred, filtered, few_copies)

Given = dict[str, Frame]


def as_they_are(given: Given, draw: Callable[[int], Frame], rng: np.random.Generator) -> Given:
    """Nothing is wrong with the inputs."""
    return given


def sorted_rows(given: Given, draw: Callable[[int], Frame], rng: np.random.Generator) -> Given:
    """Every input is sorted by its first column."""
    return {name: frame.sort_values(frame.columns[0]) for name, frame in given.items()}


def with_reference(given: Given, draw: Callable[[int], Frame], rng: np.random.Generator) -> Given:
    """Reference records, some of which are non-members too."""
    shared = given["non_members"].sample(frac=0.18, random_state=0)
    return given | {"reference": pd.concat([draw(800), shared])}


def overlapping(given: Given, draw: Callable[[int], Frame], rng: np.random.Generator) -> Given:
    """A few records are in both inputs, a few twice in one."""
    members, others = given["members"], given["non_members"]
    return given | {
        "members": pd.concat([members, members.iloc[:9]]),
        "non_members": pd.concat([others, members.iloc[20:22]]),
    }


INPUTS = (as_they_are, sorted_rows, with_reference, overlapping)
LEAKS = (resampled, blurred, filtered, few_copies)


def run(given: Given, seed: int, store: str) -> Audit:
    """One audit with the default settings."""
    words = [f"machine.store={store}", "machine.progress=false", f"seed={seed}"]
    return audit(given.pop("members"), given.pop("non_members"), settings=words, **given)


def null(seed: int, store: str) -> tuple[str, str]:
    """What was tried, and the verdict on a generator that never saw the members."""
    rng = np.random.default_rng([1, seed])
    kind, release = KINDS[rng.integers(len(KINDS))], RELEASES[rng.integers(len(RELEASES))]
    change, (m, n) = INPUTS[rng.integers(len(INPUTS))], SIZES[rng.integers(len(SIZES))]

    def draw(count: int) -> Frame:
        return kind(rng, count)

    given = {"members": draw(m), "non_members": draw(n), "samples": release(draw(m), draw, rng)}
    title = f"{kind.__name__} {release.__name__} {change.__name__} {m}+{n}"
    try:
        return title, run(change(given, draw, rng), seed, store).verdict.word
    except UserError as error:
        return title, f"refused: {str(error)[:60]}"


DRIFTS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
"""By how much the non-members have become older and heavier, in standard deviations."""


def drifted(drift: float, seed: int, store: str) -> Audit:
    """An audit of an independent sample of the members' distribution; non-members differ."""
    rng = np.random.default_rng([3, seed])
    size = (300, 1000)[seed % 2]
    members, others = people(rng, size), people(rng, size)
    others["age"] += 15 * drift
    others["weight"] = (others["weight"] + 12 * drift).round(1)
    given = {"members": members, "non_members": others, "samples": people(rng, RELEASED)}
    if seed % 4 > 1:
        given["reference"] = people(rng, 800)
    return run(given, seed, store)


SPREADS = (1.02, 1.05, 1.1)
"""How many times as wide the non-members are."""
WIDE = 100
"""Columns of theirs: a small difference in each adds up to a large one in their distances."""


def widened(spread: float, seed: int, store: str) -> Audit:
    """An audit of an independent sample of the members' distribution; non-members are wider."""
    rng = np.random.default_rng([4, seed])

    def draw(count: int) -> Frame:
        return pd.DataFrame(rng.normal(size=(count, WIDE))).add_prefix("x")

    given = {"members": draw(1000), "non_members": spread * draw(1000), "samples": draw(RELEASED)}
    return run(given, seed, store)


def leak(kind: Callable[..., Frame], release: Callable[..., Frame], seed: int, store: str) -> Audit:
    """An audit of a generator that saw the members."""
    rng = np.random.default_rng([2, seed])

    def draw(count: int) -> Frame:
        return kind(rng, count)

    members = draw(1000)
    given = {"members": members, "non_members": draw(1000)}
    return run(given | {"samples": release(members, draw, rng)}, seed, store)


def main(nulls: int, leaks: int, drifts: int) -> None:
    """Print how often each verdict was given."""
    apart = [(f"drifted by {drift:g}", partial(drifted, drift)) for drift in DRIFTS]
    apart += [(f"{spread:g} times as wide", partial(widened, spread)) for spread in SPREADS]
    for title, audit_of in apart:
        found: Counter[str] = Counter()
        for seed in range(drifts):
            with tempfile.TemporaryDirectory() as store:
                found[audit_of(seed, store).verdict.word] += 1
        print(f"non-members {title}: {dict(found)}", flush=True)
    words: Counter[str] = Counter()
    for seed in tqdm(range(nulls), desc="null audits"):
        with tempfile.TemporaryDirectory() as store:
            title, word = null(seed, store)
        words[word] += 1
        if word == "leak":
            tqdm.write(f"false leak: {title}, seed {seed}")
    print(f"{nulls} null audits: {dict(words)}", flush=True)
    for kind in KINDS:
        for release in LEAKS:
            found = Counter()
            for seed in range(leaks):
                with tempfile.TemporaryDirectory() as store:
                    found[leak(kind, release, seed, store).verdict.word] += 1
            print(f"{kind.__name__}, {release.__name__}: {dict(found)}", flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], *("1000", "50", "50")[len(sys.argv) - 1 :]]))
