"""Numbers of victims and seeds, each with the error that every query adds to it, and their means.

Two AUROCs on the same queries share a part of their errors. Each number therefore keeps its error
query by query, and a mean, a difference or a slope adds these up before they are squared: of two
AUROCs that is DeLong's covariance (Biometrics 1988), of many it is the same form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.measures.estimate import Estimate, Z, over_seeds, over_strata
from benchmark.report.collect import Group, Study
from benchmark.report.wording import setting_of

ENOUGH = 3
"""Repetitions that a claim needs."""

NO_ERRORS = pd.Series(dtype=float)


class Number(NamedTuple):
    """A number of one victim and seed.

    errors: query -> what it adds to the number's error; the squares sum to its variance. rest:
    half-width of a 95% interval for what no query is known to add; NaN where there is none.
    """

    value: float
    errors: pd.Series = NO_ERRORS
    rest: float = 0.0

    @property
    def half(self) -> float:
        """Half-width of the 95% interval."""
        return Z * float(np.sqrt(np.square(self.errors.to_numpy(float)).sum())) + self.rest


BySeed = dict[int, dict[Group, Number]]
"""Seed -> what is averaged over, such as a victim under an access -> number."""


class Lacking(Exception):
    """A study does not have what a claim is about; the message says what."""


def weighted_sum(numbers: Iterable[Number], weights: Iterable[float]) -> Number:
    """The weighted sum. What is not known query by query is taken to err all in one direction."""
    pairs = list(zip(numbers, weights, strict=True))
    errors = pd.concat([number.errors * weight for number, weight in pairs])
    return Number(
        float(sum(number.value * weight for number, weight in pairs)),
        errors.groupby(level=0).sum(),
        float(sum(number.rest * abs(weight) for number, weight in pairs)),
    )


def mean_of(numbers: Sequence[Number]) -> Number:
    """The mean of several numbers."""
    return weighted_sum(numbers, [1 / len(numbers)] * len(numbers))


def with_half_width(value: float, half: float, errors: pd.Series) -> Number:
    """A number with a given half-width, which its errors share out among the queries.

    Where all errors are zero, as when members and non-members are wholly apart, it is the rest.
    """
    own = Number(value, errors).half
    return Number(value, errors * (half / own)) if own > 0 else Number(value, rest=half)


def difference_of(a: Number, b: Number) -> Number:
    """a - b."""
    return weighted_sum([a, b], [1, -1])


def balanced(found: BySeed) -> BySeed:
    """The part of what was found in which every seed has the same victims.

    A victim with fewer seeds than ENOUGH is left aside, where others have more. Then seeds go that
    one of the others lacks: a victim with many seeds takes none from a mean over several.
    """
    seeds = Counter(where for own in found.values() for where in own)
    least = min(max(seeds.values(), default=0), ENOUGH)
    both = [where for where, count in seeds.items() if count >= least]
    return {
        seed: {where: own[where] for where in both}
        for seed, own in found.items()
        if both and own.keys() >= {*both}
    }


def victims_in(shared: BySeed) -> list[Group]:
    """The victims of what is `balanced`: those of any seed."""
    return [*next(iter(shared.values()), {})]


def mean_over(found: BySeed, what: str) -> Estimate:
    """The mean over victims, then over seeds; of the victims and seeds that are `balanced`."""
    shared = balanced(found)
    if not shared:
        raise Lacking(f"no victim has {what} for every seed")
    return of_seeds([mean_of([*own.values()]) for own in shared.values()], shared, found)


def over_victims(found: Mapping[str, Mapping[int, Number]]) -> Estimate:
    """The mean over these victims of the mean over each one's seeds; about these victims.

    Within a seed all victims are asked about the same queries, so that what these add to the error
    of one adds up with what they add to the others'. Seeds draw queries of their own. So does what
    else a seed draws for all victims, such as the attacker's records: seeds are repetitions.
    found: victim -> seed -> number.
    """
    if not found:
        return over_seeds([])
    by_seed: dict[int, list[tuple[Number, float]]] = {}
    for own in found.values():
        for seed, number in own.items():
            by_seed.setdefault(seed, []).append((number, 1 / len(found) / len(own)))
    halves = [weighted_sum(*zip(*own, strict=True)).half for own in by_seed.values()]
    values = [{seed: n.value for seed, n in own.items()} for own in found.values()]
    return over_strata(values, float(np.sqrt(np.square(halves).sum())))


def at_each_size(study: Study, found: BySeed, what: str) -> dict[str, Estimate]:
    """`mean_over` of each size of the training set: what holds at one need not hold at another.

    Of the sizes that share seeds.
    """

    sizes = sorted({size_of(study, group) for group in victims_in(balanced(found))})
    if not sizes:
        raise Lacking(f"no victim has {what} for every seed")
    parts = {
        size: {
            seed: {at: number for at, number in own.items() if size_of(study, at) == size}
            for seed, own in found.items()
        }
        for size in sizes
    }
    return {f"{size} {study.axis}": mean_over(part, what) for size, part in parts.items()}


def size_of(study: Study, group: Group) -> int:
    """What the study's x is in a group, whether or not it varies."""
    job = next(iter(study.groups[group].values())).job
    return int(setting_of(job, str(study.x)))


def of_seeds(numbers: Sequence[Number], shared: BySeed, found: BySeed) -> Estimate:
    """One number a seed, combined; shared: what it is about, of all that was found."""
    halves = [number.half for number in numbers]
    known = halves if np.isfinite(halves).all() else None
    estimate = over_seeds([number.value for number in numbers], known)
    victims = tuple(dict.fromkeys(where.victim for where in victims_in(shared)))
    every = dict.fromkeys(where.victim for own in found.values() for where in own)
    aside = tuple(name for name in every if name not in victims)
    return estimate._replace(victims=victims, aside=aside)
