"""What each row of an audit's table proves, at a level that holds for all statements together.

A row makes up to four statements: its AUROC (an interval, two-sided), the members found at the
false alarm rate of the page (an interval), at a tenth of it, and without any false alarm (exact
tests). Those that the number of non-members cannot resolve are not made, and not paid for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.measures import metrics, rates
from benchmark.measures.result import JobResult
from benchmark.show.texts import row_name

STRICTER = 0.1
"""The second false alarm rate, as a share of the page's: 0.1% where that is 1%."""


class EitherSign:
    """What an AUROC with its interval, low to high, says of attackers who may turn the sign."""

    auroc: float
    low: float
    high: float

    @property
    def turned(self) -> bool:
        """Members surely score lower: an attacker turns the sign and wins."""
        return self.high < 0.5

    @property
    def gain(self) -> tuple[float, float, float]:
        """AUROC, low, high for an attacker who turns the sign where that helps."""
        if self.turned:
            return 1 - self.auroc, 1 - self.high, 1 - self.low
        return self.auroc, self.low, self.high

    @property
    def upper(self) -> float:
        """No attacker's AUROC is higher with these scores, whatever sign it takes."""
        return max(self.high, 1 - self.low)


@dataclass(frozen=True)
class Evidence(EitherSign):
    """What one row of the table proves; intervals at the simultaneous level.

    low, high: of the AUROC. found: share of the members found at the false alarm rate, NaN where it
    is not resolved; its interval is about that rate among all non-members there could be, not among
    the given ones; p_found: of the hypothesis that this is guessing, p_stricter: at the stricter
    rate. first: share of the members that score above every non-member, its interval, and p_first.
    alarms_high: upper end of the false alarm rate of such a threshold. beaten: what found_low must
    exceed to be better than guessing.
    """

    attack: str
    calibrated: str
    access: str
    auroc: float
    low: float
    high: float
    found: float
    found_low: float
    found_high: float
    p_found: float
    p_stricter: float
    first: float
    first_low: float
    first_high: float
    p_first: float
    alarms_high: float
    members: int
    non_members: int
    beaten: float
    level: float

    @property
    def name(self) -> str:
        """The attack, and its calibration if it has one."""
        return row_name(pd.Series({"attack": self.attack, "calibrated": self.calibrated}))

    @property
    def finds(self) -> bool:
        """More members are found at the false alarm rate than guessing finds."""
        return bool(self.found_low > self.beaten)

    @property
    def finds_first(self) -> bool:
        """More members score above every non-member than guessing explains."""
        return self.p_first < 1 - self.level

    @property
    def proves(self) -> bool:
        """Whether any of the row's statements proves a leak, with the attack's own sign."""
        return self.low > 0.5 or self.finds or self.finds_first or self.p_stricter < 1 - self.level


def evidence_of(result: JobResult, confidence: float, fpr: float, others: int) -> list[Evidence]:
    """Every row's evidence. others: statements made beside those of the rows."""
    rows = [(row, scores[member], scores[~member]) for row, scores, member in result.scored()]
    made = others + sum(count_statements(len(non_members), fpr) for _, _, non_members in rows)
    level = 1 - (1 - confidence) / made
    return [_evidence_of_row(*row, fpr, level) for row in rows]


def count_statements(non_members: int, fpr: float) -> int:
    """How many statements a row makes with so many non-members."""
    return 2 + sum(rate * non_members >= 1 for rate in (fpr, STRICTER * fpr))


def _evidence_of_row(
    row: pd.Series, x: np.ndarray, y: np.ndarray, fpr: float, level: float
) -> Evidence:
    low, high = metrics.auroc_interval(x, y, level)
    found_low, found_high = rates.tpr_interval(x, y, fpr, level)
    first = int((x > y.max()).sum())
    first_low, first_high = rates.clopper_pearson(first, len(x), level)
    return Evidence(
        attack=str(row["attack"]),
        calibrated=str(row["calibrated"]),
        access=str(row["access"]),
        auroc=float(row["auroc"]),
        low=low,
        high=high,
        found=rates.tpr_at_fpr(x, y, fpr).tpr,
        found_low=found_low,
        found_high=found_high,
        p_found=rates.found_p_value(x, y, fpr),
        p_stricter=rates.found_p_value(x, y, STRICTER * fpr),
        first=first / len(x),
        first_low=first_low,
        first_high=first_high,
        p_first=rates.found_p_value(x, y, 0),
        alarms_high=rates.clopper_pearson(0, len(y), level)[1],
        members=len(x),
        non_members=len(y),
        beaten=fpr,
        level=level,
    )
