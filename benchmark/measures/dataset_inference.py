"""Was this set of records used for training? A p-value for a set, from all attacks together.

A data owner suspects that a model was trained on their records and has others of the same kind that
nobody can have used. One record proves little; a difference between the two sets, in whatever
direction the attacks' scores show it, proves that the set was used.

Source: the question is that of Maini et al. 2021, arXiv 2104.10706, and of Dubinski et al. 2024
(CDI), arXiv 2411.12858, who fit a logistic regression to four fifths of both sets, score the last
fifth and compare with a t-test. Deviations: the test is an exact permutation test, as pooled scores
of folds are not independent; a ridge regression stands for the logistic one, because its scores
under every permutation of the labels are one matrix product; scores become normal scores first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import rankdata

from benchmark.measures.pairs import scores_by_row

PERMUTATIONS = 1999
"""The smallest p-value is 1 / 2000."""

BLOCK = 100
"""Permutations that are judged together: memory is that of BLOCK numbers a record."""

RIDGE = 0.1
"""Penalty on the weights, as a share of the number of records: fixed beforehand, not chosen."""

SIZES = (2, 5, 10, 20, 50, 100, 200)
"""Records in a set, for a curve."""

RANKED = 10
"""Sets whose scores are ranked together: memory is that of RANKED copies of all scores."""

LEVEL = 0.01
"""A set is detected with a p-value below it."""

DETECTION = ["access", "size", "detected"]


class SetPower(NamedTuple):
    """Of sets of `size` suspects, the share that is detected at the level of `set_power`."""

    size: int
    detected: float


class Shuffles:
    """Random labels of n records, `ones` of them 1: PERMUTATIONS rows, BLOCK at a time.

    Blocks are made when they are first asked for and kept, for tests of other sets of that size.
    """

    def __init__(self, ones: int, n: int, seed: int) -> None:
        self.rng, self.made = np.random.default_rng(seed), list[np.ndarray]()
        self.labels = np.arange(n) < ones

    def __iter__(self) -> Iterator[np.ndarray]:
        """Blocks (<= BLOCK, n) bool."""
        for block in range(-(-PERMUTATIONS // BLOCK)):
            if block == len(self.made):
                count = min(BLOCK, PERMUTATIONS - block * BLOCK)
                drawn = np.tile(self.labels, (count, 1))
                self.made.append(self.rng.permuted(drawn, axis=1))
            yield self.made[block]


def set_p_value(
    suspects: ArrayLike,
    unseen: ArrayLike,
    seed: int = 0,
    *,
    enough: float = 1.0,
    shuffles: Shuffles | None = None,
) -> float:
    """P-value of "suspects and unseen records are alike", in (0, 1].

    suspects (s, f), unseen (u, f): scores of f attacks, or any other features. Both sets must be
    drawn alike: the test sees any other difference too, so print the p-value of a blind feature
    beside it. enough: permutations end where p is known to be at least this; what is returned then
    is less than p, but not less than this. shuffles: of these sizes, to be used instead of the
    seed's own.
    Raises ValueError for fewer than 2 records in a set and for values that are not finite.

    >>> rng = np.random.default_rng(0)
    >>> set_p_value(rng.normal(size=(40, 3)) + 1, rng.normal(size=(60, 3)))
    0.0005
    """
    a, b = (np.asarray(x, np.float64) for x in (suspects, unseen))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"suspects {a.shape}, unseen {b.shape}: (s, f) and (u, f) are needed")
    scores = _normal_scores(np.concatenate([a, b]))
    return _permuted_p_value(scores, shuffles or Shuffles(len(a), len(scores), seed), enough)


def _permuted_p_value(scores: np.ndarray, shuffles: Shuffles, enough: float) -> float:
    """The p-value of `set_p_value`, from normal scores (n, f), the suspects' first."""
    separation = _Separation(scores)
    found, as_far = float(separation(shuffles.labels[None].astype(float))[0]), 0
    for labels in shuffles:
        as_far += int((separation(labels.astype(float)) >= found - 1e-12).sum())
        if (1 + as_far) / (1 + PERMUTATIONS) >= enough:
            break
    return (1 + as_far) / (1 + PERMUTATIONS)


def _normal_scores(features: np.ndarray) -> np.ndarray:
    """Features (..., n, f) by their ranks among n, mean 0 and variance 1; zeros where all tie."""
    if not np.isfinite(features).all():
        raise ValueError("suspects and unseen records need finite features")
    scores = ndtri((rankdata(features, axis=-2) - 0.5) / features.shape[-2])
    spread = scores.std(axis=-2, keepdims=True)
    return (scores - scores.mean(axis=-2, keepdims=True)) / np.where(spread > 0, spread, 1.0)


class _Separation:
    """How far a regression without each record tells the ones of some labels from the zeros.

    Nothing that is kept depends on the labels. Predictions without a record follow from those with
    it (Allen 1974, Technometrics: PRESS).

    scores: normal scores (n, f).
    """

    def __init__(self, scores: np.ndarray) -> None:
        n, self.scores = len(scores), scores
        inner = self.scores.T @ self.scores + RIDGE * n * np.eye(self.scores.shape[1])
        self.weights = np.linalg.solve(inner, self.scores.T)
        self.own = np.einsum("nf,fn->n", self.scores, self.weights) + 1 / n

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Mean prediction of the ones less that of the zeros, for each row of labels (p, n)."""
        with_it = labels @ self.scores @ self.weights + labels.mean(axis=1, keepdims=True)
        predicted = (with_it - self.own * labels) / (1 - self.own)
        ones = labels.sum(axis=1)
        inside = (predicted * labels).sum(axis=1)
        return inside / ones - (predicted.sum(axis=1) - inside) / (labels.shape[1] - ones)


def set_power(
    members: ArrayLike,
    non_members: ArrayLike,
    sizes: tuple[int, ...] = SIZES,
    level: float = LEVEL,
    draws: int = 100,
    seed: int = 0,
) -> list[SetPower]:
    """How large a set must be to be detected: the share of random sets with p < level, by size.

    members (m, f), non_members (n, f): scores of all attacks. Each set of members is compared with
    all non-members. Sizes above half of the members are left out: such sets are nearly the same
    records. One record alone has no p-value. Sets of one size are tested with the same shuffles.
    """
    a, b = (np.asarray(group, np.float64) for group in (members, non_members))
    rng, found = np.random.default_rng(seed), []
    for size in sizes:
        if not 2 <= size <= len(a) // 2:
            continue
        chosen = [rng.choice(len(a), size, replace=False) for _ in range(draws)]
        shuffles = Shuffles(size, size + len(b), seed)
        p_values: list[float] = []
        for some in np.array_split(chosen, max(1, draws // RANKED)):
            others = np.broadcast_to(b, (len(some), *b.shape))
            scores = _normal_scores(np.concatenate([a[some], others], axis=1))
            p_values += [_permuted_p_value(own, shuffles, level) for own in scores]
        found.append(SetPower(size, float(np.mean(np.array(p_values) < level))))
    return found


def set_detection(rows: pd.DataFrame, scores: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How large a set of members must be to be detected, from the scores of a job: DETECTION.

    rows, scores: as in `JobResult`. A curve for who has the released samples alone, one for who has
    records or reference models of their own beside them, and one for all attacks together; of the
    queries that each of their rows judges.
    """
    columns, member = scores_by_row(scores)
    ok = rows[rows["status"] == "ok"]
    access = dict(zip(zip(ok["attack"], ok["calibrated"], strict=True), ok["access"], strict=True))
    alone = [row for row in columns if access.get(row) == "full_black_box" and row[1] == "none"]
    samples = [row for row in columns if str(access.get(row, "")).startswith("full_black_box")]
    curves = {
        "released samples": alone,
        "released samples, and what attackers bring": samples if samples != alone else [],
        "all attacks": list(columns),
    }
    found: list[list[object]] = []
    for name, chosen in curves.items():
        if chosen:
            features = np.stack([columns[row] for row in chosen], axis=1)
            judged = ~np.isnan(features).any(axis=1)
            inside, outside = features[judged & member], features[judged & ~member]
            found += [[name, *point] for point in set_power(inside, outside, seed=seed)]
    return pd.DataFrame(found, columns=DETECTION)
