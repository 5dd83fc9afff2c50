"""A study's numbers, each with the error that every query adds to it.

Two AUROCs on the same queries share a part of their errors. Each number therefore keeps its error
query by query, and a mean, a difference or a slope adds these up before they are squared: of two
AUROCs that is DeLong's covariance (Biometrics 1988), of many it is the same form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from benchmark.measures.estimate import Estimate, Z, over_seeds, wider_side
from benchmark.measures.metrics import auroc_errors
from benchmark.measures.numbers import count_of
from benchmark.measures.rates import FPR_COLUMNS
from benchmark.report.collect import Group, Outcome, Row, Study, setting_of, victim_numbers
from victims.access import ordered_pairs

Score = Literal["auroc", "tpr_at_1"]

CHANCE: dict[Score, float] = {"auroc": 0.5, "tpr_at_1": FPR_COLUMNS["tpr_at_1"]}
"""What guessing gets."""

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


def difference_of(a: Number, b: Number) -> Number:
    """a - b."""
    return weighted_sum([a, b], [1, -1])


def balanced(found: BySeed) -> tuple[list[Group], BySeed]:
    """Victims that share seeds, and their part of what was found.

    A victim with fewer seeds than ENOUGH is left aside, where others have more. Then seeds go that
    one of the others lacks: a victim with many seeds takes none from a mean over several.
    """
    seeds = Counter(where for own in found.values() for where in own)
    least = min(max(seeds.values(), default=0), ENOUGH)
    both = [where for where, count in seeds.items() if count >= least]
    shared = {
        seed: {where: own[where] for where in both}
        for seed, own in found.items()
        if both and own.keys() >= {*both}
    }
    return (both if shared else []), shared


def mean_over(found: BySeed, what: str) -> Estimate:
    """The mean over victims, then over seeds; of the victims and seeds that are `balanced`."""
    both, shared = balanced(found)
    if not both:
        raise Lacking(f"no victim has {what} for every seed")
    return of_seeds([mean_of([*own.values()]) for own in shared.values()], both, found)


def at_each_size(study: Study, found: BySeed, what: str) -> dict[str, Estimate]:
    """`mean_over` of each size of the training set: what holds at one need not hold at another.

    Of the sizes that share seeds.
    """

    def size_of(group: Group) -> int:
        job = next(iter(study.groups[group].values())).job
        return int(setting_of(job, str(study.x)))

    sizes = sorted({size_of(group) for group in balanced(found)[0]})
    if not sizes:
        raise Lacking(f"no victim has {what} for every seed")
    parts = {
        size: {
            seed: {at: number for at, number in own.items() if size_of(at) == size}
            for seed, own in found.items()
        }
        for size in sizes
    }
    return {f"{size} {study.axis}": mean_over(part, what) for size, part in parts.items()}


def of_seeds(numbers: Sequence[Number], both: Sequence[Group], found: BySeed) -> Estimate:
    """One number a seed, combined; both: what it is about, of all that was found."""
    halves = [number.half for number in numbers]
    known = halves if np.isfinite(halves).all() else None
    estimate = over_seeds([number.value for number in numbers], known)
    victims = dict.fromkeys(where.victim for where in both)
    others = dict.fromkeys(where.victim for own in found.values() for where in own)
    return estimate._replace(
        victims=tuple(victims), aside=tuple(name for name in others if name not in victims)
    )


@dataclass(frozen=True)
class Evidence:
    """What a study says about leaks, in one score.

    The leak under an access is that of one attack: of those that this access allows, the one that
    does best on the reference models, where these were trained on known halves of the queries
    (`reference=halves`); else the first one that is made for this access. Neither choice looks at
    who is a member.
    """

    study: Study
    score: Score = "auroc"

    @cached_property
    def families(self) -> dict[str, str]:
        """Victim -> family: victims of one share their objective and how they are trained."""
        return {
            group.victim: outcome.record.result.family or group.victim
            for group, seeds in self.study.groups.items()
            for outcome in seeds.values()
            if outcome.record
        }

    @cached_property
    def choice(self) -> str:
        """How the attacks were chosen, in a sentence."""
        column = f"{self.score}_reference"
        known = sum(
            any(np.isfinite(row.get(column, np.nan)) for row in outcome.numbers.values())
            for outcome in self.study.done
        )
        if not known:
            return (
                "Attacks: the first made for each access, for no reference model was trained on "
                "known halves of the queries (reference=halves)."
            )
        return (
            f"Attacks: of those that an access allows, the best on the reference models; so in "
            f"{known} of {count_of(len(self.study.done), 'results')}, else the first made for it."
        )

    def leaks(self, access: str) -> BySeed:
        """The score of the attack under an access, by seed and group, without calibration."""
        return self.by_seed(lambda outcome: self._leak_of(outcome, access))

    def gains(self, a: tuple[str, str], b: tuple[str, str]) -> BySeed:
        """The score with a minus that with b, (access, calibration) each, on the same queries."""

        def gain(outcome: Outcome) -> Number | None:
            rows = [self._row_for(outcome, *own) for own in (a, b)]
            return self._gain_of(outcome, rows[0], rows[1]) if rows[0] and rows[1] else None

        return self.by_seed(gain)

    def between(self, a: Row, b: Row) -> BySeed:
        """The score of attack a minus that of attack b, each with its calibration, likewise."""

        def gain(outcome: Outcome) -> Number | None:
            there = {a, b} <= outcome.numbers.keys()
            return self._gain_of(outcome, a, b) if there else None

        return self.by_seed(gain)

    def by_seed(self, value: Callable[[Outcome], Number | None]) -> BySeed:
        """A number of each job by seed and group; those that are finite."""
        found: BySeed = {}
        for group, seeds in self.study.groups.items():
            for seed, outcome in seeds.items():
                number = value(outcome)
                if number is not None and np.isfinite(number.value):
                    found.setdefault(seed, {})[group] = number
        return found

    def _row_for(self, outcome: Outcome, access: str, calibrated: str) -> Row | None:
        attack = attack_for(outcome, access, self.score)
        row = Row(attack, calibrated)
        return row if attack and row in outcome.numbers else None

    def _leak_of(self, outcome: Outcome, access: str) -> Number | None:
        row = self._row_for(outcome, access, "none")
        if row is None:
            return None
        names = (self.score, f"{self.score}_low", f"{self.score}_high")
        value, low, high = (float(outcome.numbers[row][name]) for name in names)
        half = wider_side(value, low, high)
        if self.score != "auroc":
            return Number(value, rest=half)
        return _with_half_width(value, half, _errors_by_query(outcome, row))

    def _gain_of(self, outcome: Outcome, a: Row, b: Row) -> Number | None:
        if a == b:
            return Number(0.0)
        if self.score != "auroc":
            halves = [
                wider_side(*(outcome.numbers[row][f"{self.score}{end}"] for end in ENDS))
                for row in (a, b)
            ]
            values = [float(outcome.numbers[row][self.score]) for row in (a, b)]
            return Number(values[0] - values[1], rest=sum(halves))
        found = outcome.differences.get((a, b))
        if found is None:
            return None
        errors = _errors_by_query(outcome, a).sub(_errors_by_query(outcome, b), fill_value=0)
        return _with_half_width(found.difference, wider_side(*found[:3]), errors)


ENDS = ("", "_low", "_high")


def attack_for(outcome: Outcome, access: str, score: Score) -> str:
    """The attack that stands for an access, see `Evidence`; "" where the victim grants it not."""
    rows = [own for own in outcome.numbers.values() if own["calibrated"] == "none"]
    declared = next((str(row["attack"]) for row in rows if row["access"] == access), "")
    column, allowed = f"{score}_reference", accesses_within(access)
    known = [
        row for row in rows if row["access"] in allowed and np.isfinite(row.get(column, np.nan))
    ]
    if declared and known:
        return str(max(known, key=lambda row: row[column])["attack"])
    return declared


def accesses_within(access: str) -> tuple[str, ...]:
    """The accesses that one allows: who has the generator's gradient can do all that needs less."""
    return (*(less for less, more in ordered_pairs() if more == access), access)


def frechet_distance(outcome: Outcome) -> Number | None:
    """The Frechet distance of a victim's samples."""
    return first_number(outcome, "Frechet distance", "FID")


def first_number(outcome: Outcome, *starts: str) -> Number | None:
    """The first number about the victim whose name starts so; it has no interval."""
    assert outcome.record is not None
    numbers = victim_numbers(outcome.record.result)
    found = [value for name, value in numbers.items() if name.startswith(starts)]
    return Number(found[0], rest=np.nan) if found else None


def _errors_by_query(outcome: Outcome, row: Row) -> pd.Series:
    """What each query adds to the error of a row's AUROC; by data and number of the record."""
    scores = outcome.scored[row]
    member = scores["member"].to_numpy(bool)
    values = scores["score"].to_numpy(float)
    errors = np.empty(len(values))
    errors[member], errors[~member] = auroc_errors(values[member], values[~member])
    data = outcome.job.choices.get("data", "")
    return pd.Series(errors, index=[f"{data} {query}" for query in scores["query"]])


def _with_half_width(value: float, half: float, errors: pd.Series) -> Number:
    """A number with a given half-width, which its errors share out among the queries.

    Where all errors are zero, as when members and non-members are wholly apart, it is the rest.
    """
    own = Number(value, errors).half
    return Number(value, errors * (half / own)) if own > 0 else Number(value, rest=half)
