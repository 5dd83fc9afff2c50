"""Members in the top half: who is called a member is the half of the queries that scores highest.

An older measure than the AUROC, in which figures are published. With as many members as
non-members, the share of members in the top half is the accuracy of these calls; guessing has 0.5.
A set of members is told from one of non-members where more than half of the top half are its own.

Source: Hilprecht, Haerterich, Bernau 2019, PETS 2019(4), arXiv 1906.03006, and its evaluation code,
which repeats both with 100 members and 100 non-members drawn anew. Deviations: equal scores count
by their chance in the share, where the code shuffles them once; and the share is that of all
queries together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from benchmark.measures.rates import clopper_pearson, scores_of

SET = 100
"""Records in a set, as published."""

DRAWS, BLOCK = 4000, 500
"""Pairs of sets that are drawn, and so many at a time."""


class Accuracy(NamedTuple):
    """A share of right calls, and its interval."""

    value: float
    low: float
    high: float


def share_in_top_half(members: ArrayLike, non_members: ArrayLike, level: float = 0.95) -> Accuracy:
    """Share of members among the highest scores, as many as there are members.

    members (n,), non_members (n,): scores, larger = more likely a member.
    level: of the interval, which is that of 2n calls (Clopper and Pearson, Biometrika 1934). If
    scores say nothing, the number of members in the top half has just this variance.
    Raises ValueError where the two groups differ in size.

    >>> round(share_in_top_half([3.0, 2.0, 0.5], [1.0, 0.0, -1.0]).value, 3)
    0.667
    """
    x, y = _equal_groups(members, non_members)
    limit = np.sort(np.concatenate([x, y]))[len(x)]  # the lowest score of the top half
    above = int((x > limit).sum())
    places = len(x) - above - int((y > limit).sum())
    tied_members, tied = int((x == limit).sum()), int((x == limit).sum() + (y == limit).sum())
    right = above + places * tied_members / tied
    return Accuracy(right / len(x), *clopper_pearson(2 * right, 2 * len(x), level))


def judge_sets_by_top_half(
    members: ArrayLike,
    non_members: ArrayLike,
    size: int = SET,
    level: float = 0.95,
    seed: int = 0,
) -> Accuracy:
    """How often a set of members is told from a set of non-members; half of the queries at most.

    members (n,), non_members (n,): scores, as for `share_in_top_half`.
    size: records in each set; sets are drawn without replacement, DRAWS pairs of them.
    level: of the interval. It carries that of the share over: in a pair of sets, the number of
    members in the top half is taken for normal.
    seed: of the draws, and of the order of equal scores.
    Raises ValueError where the two groups differ in size, or hold fewer than `size` records.
    """
    x, y = _equal_groups(members, non_members)
    if len(x) < size:
        raise ValueError(f"{len(x)} members cannot make a set of {size}")
    rng, right = np.random.default_rng(seed), 0.0
    for _ in range(DRAWS // BLOCK):
        pairs = np.concatenate([_draw_sets(x, size, rng), _draw_sets(y, size, rng)], axis=1)
        order = np.lexsort((rng.random(pairs.shape), pairs), axis=1)
        own = (order[:, size:] < size).sum(axis=1)
        right += float((own > size / 2).sum() + (own == size / 2).sum() / 2)
    value, share = right / DRAWS, share_in_top_half(x, y, level)
    spread = 0.5 / np.sqrt(2 * size)
    low, high = norm.cdf((np.array([share.low, share.high]) - 0.5) / spread)
    return Accuracy(value, min(value, float(low)), max(value, float(high)))


def _draw_sets(scores: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of BLOCK sets drawn without replacement: (BLOCK, size)."""
    keys = rng.random((BLOCK, len(scores)), dtype=np.float32)
    return scores[np.argpartition(keys, size - 1, axis=1)[:, :size]]


def _equal_groups(members: ArrayLike, non_members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = scores_of(members, non_members)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} members and {len(y)} non-members: equal numbers are needed")
    return x, y
