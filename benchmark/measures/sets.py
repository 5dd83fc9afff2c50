"""Set membership: are these n records all in the training set, or all out of it?

Source: the question is that of Hilprecht, Haerterich, Bernau 2019, arXiv 1906.03006. The rule here
is this benchmark's own: a set is "in" when the mean rank of its records' scores, among all queries,
is above the mean rank of all queries. It uses no label, serves any attack, does not change when an
attack's scores are stretched, and with as many members as non-members its threshold lies half way
between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import norm, rankdata

from benchmark.measures.metrics import auroc_interval

SIZES = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100)
"""Records in a set, for a curve."""

LEVELS = 4096
"""Ranks are rounded to so many levels where there are more, so that sums of them stay few."""


class SetAccuracy(NamedTuple):
    """How often a set of `size` records, in or out with equal chances, is judged rightly."""

    size: int
    accuracy: float
    low: float
    high: float


def set_accuracy(
    members: ArrayLike,
    non_members: ArrayLike,
    sizes: Iterable[int] = SIZES,
    level: float = 0.95,
) -> list[SetAccuracy]:
    """Accuracy against the number of records in a set; members (m,), non_members (n,) scores.

    Exact for records drawn with replacement from the queries: the distribution of a sum of ranks is
    that of one rank convolved with itself. A set that lies on the threshold counts half.
    The interval carries that of the AUROC over by a normal approximation. It is wide for large sets
    of few queries: how sure an attack would be of 100 records cannot be learned from 200.

    >>> one, ten = set_accuracy([3.0, 2.0, 1.5], [1.8, 1.0, 0.0], sizes=[1, 10])
    >>> round(float(one.accuracy), 3), round(float(ten.accuracy), 3)
    (0.667, 0.998)
    """
    low, high = auroc_interval(members, non_members, level)  # refuses what are no scores
    m = len(np.asarray(members))
    ranks = _integer_ranks(np.concatenate([members, non_members]))
    spread = _spread_of_ranks(ranks[:m], ranks[m:])
    found = []
    for size in sizes:
        right = _chance_above(ranks[:m], ranks, size) + 1 - _chance_above(ranks[m:], ranks, size)
        bounds = norm.cdf(np.sqrt(size) * (np.array([low, high]) - 0.5) / 2 / spread)
        accuracy = right / 2
        found.append(
            SetAccuracy(size, accuracy, min(accuracy, bounds[0]), max(accuracy, bounds[1]))
        )
    return found


def _integer_ranks(scores: np.ndarray) -> np.ndarray:
    """Midranks as integers from 0, at most LEVELS."""
    doubled = 2 * rankdata(scores) - 2
    return np.rint(doubled * min(1.0, LEVELS / max(1, 2 * len(scores) - 2))).astype(np.int64)


def _spread_of_ranks(inside: np.ndarray, outside: np.ndarray) -> float:
    """Standard deviation of a rank within its group, on the scale of the AUROC: 0 to 1."""
    top = max(inside.max(), outside.max())
    deviation = np.sqrt((inside.var() + outside.var()) / 2) / max(1, top)
    return float(deviation) or 12**-0.5  # all equal: take ranks as spread evenly


def _chance_above(group: np.ndarray, everyone: np.ndarray, size: int) -> float:
    """Chance that the mean of `size` ranks drawn from a group is above that of all; equal: half."""
    one = np.bincount(group) / len(group)
    length = size * (len(one) - 1) + 1
    fast = next_fast_len(length, real=True)
    chances = irfft(rfft(one, fast) ** size, fast)[:length]
    excess = np.arange(length) * len(everyone) - size * int(everyone.sum())
    return float(np.clip(chances[excess > 0].sum() + chances[excess == 0].sum() / 2, 0, 1))
