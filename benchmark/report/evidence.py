"""What a study says about leaks, in one of two scores, and the attack that stands for an access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmark.measures.estimate import wider_side
from benchmark.measures.metrics import auroc_errors
from benchmark.measures.numbers import count_of
from benchmark.measures.rates import FPR_COLUMNS
from benchmark.report.collect import Outcome, Row, Study, victim_numbers
from benchmark.report.means import BySeed, Number, with_half_width
from victims.access import ordered_pairs

Score = Literal["auroc", "tpr_at_1"]

CHANCE: dict[Score, float] = {"auroc": 0.5, "tpr_at_1": FPR_COLUMNS["tpr_at_1"]}
"""What guessing gets."""


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
        data = data_set_of(outcome)
        return number_of(outcome.numbers[row], outcome.scored[row], data, self.score)

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
        errors = _errors_of(outcome, a).sub(_errors_of(outcome, b), fill_value=0)
        return with_half_width(found.difference, wider_side(*found[:3]), errors)


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


def data_set_of(outcome: Outcome) -> str:
    """The name of the data set of an outcome's job."""
    return str(outcome.job.choices.get("data", ""))


def _errors_of(outcome: Outcome, row: Row) -> pd.Series:
    return errors_by_query(outcome.scored[row], data_set_of(outcome))


def number_of(row: Mapping[str, Any], scores: pd.DataFrame, data: str, score: Score) -> Number:
    """A score of a row with its error; of an AUROC query by query.

    row, scores: of an attack, with its calibration. data: the name of the data set.
    """
    value, low, high = (float(row[f"{score}{end}"]) for end in ENDS)
    half = wider_side(value, low, high)
    if score != "auroc":
        return Number(value, rest=half)
    return with_half_width(value, half, errors_by_query(scores, data))


def errors_by_query(scores: pd.DataFrame, data: str) -> pd.Series:
    """What each query adds to the error of an AUROC; by data and number of the record.

    scores: query, member and score of each. data: the name of the data set.
    """
    member = scores["member"].to_numpy(bool)
    values = scores["score"].to_numpy(float)
    errors = np.empty(len(values))
    errors[member], errors[~member] = auroc_errors(values[member], values[~member])
    return pd.Series(errors, index=[f"{data} {query}" for query in scores["query"]])
