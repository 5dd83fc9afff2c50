"""How much privacy an attack shows to be lost: lower bounds on epsilon, numpy in, floats out.

A promise of (epsilon, delta) bounds what any attack can do; what an attack does bounds epsilon from
below. A bound above the promise means that the promise is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, binom

SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Shares of the canaries that `one_run` guesses about; few and sure guesses or many."""

STEPS = 40
"""Bisections: epsilon to 12 digits."""


def from_scores(
    members: ArrayLike, non_members: ArrayLike, delta: float, level: float = 0.95, seed: int = 0
) -> float:
    """What an attack's scores show epsilon to be at least, at a confidence of `level`; >= 0.

    (epsilon, delta) privacy allows at most TPR <= exp(epsilon) * FPR + delta at any threshold, and
    the same of the complements (Kairouz, Oh, Viswanath 2015, arXiv 1311.0776). The threshold is
    chosen on a random half of the scores; TPR and FPR on the other half enter as the ends of
    Clopper and Pearson's intervals (Biometrika 1934), each of level (1 + level) / 2.
    members (m,), non_members (n,): scores, larger = more likely a member.
    The intervals take the queries for independent trials. Those of one victim share its training,
    so the figure is what repeated trainings would show if they were like this one; `one_run` needs
    no such assumption.

    >>> round(from_scores(range(100, 200), range(100), delta=1e-5), 2)  # wholly apart
    2.5
    """
    (choose_in, test_in), (choose_out, test_out) = split_in_halves(members, non_members, seed)
    if min(len(choose_in), len(choose_out)) == 0:
        return 0.0
    thresholds = np.unique(np.concatenate([choose_in, choose_out]))
    bounds = _lower_bounds(choose_in, choose_out, thresholds, delta, level)
    side, best = np.unravel_index(np.argmax(bounds), bounds.shape)
    found = _lower_bounds(test_in, test_out, thresholds[best : best + 1], delta, level)
    return max(0.0, float(found[side, 0]))


def one_run(
    scores: ArrayLike, included: ArrayLike, delta: float, level: float = 0.95, seed: int = 0
) -> float:
    """Epsilon's lower bound from canaries that a coin put into one training run or not; >= 0.

    The highest scores are guessed to be in, as many of the lowest to be out, the others not at all.
    All SHARES are tried, each at a confidence that keeps `level` for the best of them.
    scores (m,): of every canary, larger = more likely in. included (m,) bool: the coins, which must
    be fair and independent. Source: see `p_value`.

    >>> coins = [False] * 50 + [True] * 50
    >>> round(one_run(range(100), coins, delta=1e-5), 2)  # every guess is right
    3.05
    """
    each = 1 - (1 - level) / len(SHARES)
    counts = shares_of_guesses(scores, included, seed)
    return max((at_least(*count, delta, each) for count in counts), default=0.0)


def shares_of_guesses(
    scores: ArrayLike, included: ArrayLike, seed: int = 0
) -> list[tuple[int, int, int]]:
    """(correct guesses, guesses, canaries) for each of SHARES that has a guess on either side.

    The highest scores are guessed to be in, as many of the lowest to be out.
    """
    scores, included = np.asarray(scores, np.float64), np.asarray(included, bool)
    if scores.shape != included.shape or scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape} and coins {included.shape}: (m,) each is needed")
    order = np.random.default_rng(seed).permutation(len(scores))  # ties fall as they may
    ranked = included[order][np.argsort(-scores[order], kind="stable")]
    sides = [side for share in SHARES if (side := int(share * len(ranked) / 2))]
    return [
        (int(ranked[:side].sum() + (~ranked[-side:]).sum()), 2 * side, len(ranked))
        for side in sides
    ]


@cache  # simulations, and many attacks, ask about the same few counts
def at_least(correct: int, guesses: int, canaries: int, delta: float, level: float = 0.95) -> float:
    """The largest epsilon that so many correct guesses refute at `level`; 0 where none is.

    >>> round(at_least(60, 64, 100, delta=1e-5), 2), at_least(32, 64, 100, delta=1e-5)
    (1.84, 0.0)
    """
    return largest_refuted(lambda e: p_value(correct, guesses, canaries, e, delta) < 1 - level)


def largest_refuted(is_refuted: Callable[[float], bool], cap: float = np.inf) -> float:
    """The largest number >= 0 that is refuted, by bisection; 0 where none is.

    cap: above it nothing is looked for. What is refuted must be all up to some number.
    """
    low, high = 0.0, 1.0
    if not is_refuted(low):
        return 0.0
    while is_refuted(high):
        low, high = high, 2 * high
        if high > cap:
            return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_refuted(middle) else (low, middle)
    return low


def p_value(correct: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """Chance of at least so many correct guesses if training is (epsilon, delta) private.

    At most that of randomised response with the same epsilon, plus what delta adds: delta times
    twice the canaries times the largest mean chance of falling short by 1 to i, over all i.
    Source: Steinke, Nasr, Jagielski 2023, arXiv 2305.08846, for add-or-remove neighbours.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} of {guesses} guesses about {canaries} canaries")
    right = 1 / (1 + np.exp(-epsilon))
    short = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, right))
    worst = (short / np.arange(1, correct + 1)).max(initial=0.0)
    return float(min(1.0, binom.sf(correct - 1, guesses, right) + 2 * canaries * delta * worst))


def split_in_halves(
    members: ArrayLike, non_members: ArrayLike, seed: int
) -> list[list[np.ndarray]]:
    """Of either group a random half to choose a threshold on, and the other to test it on."""
    return [_split_group(scores, i, seed) for i, scores in enumerate((members, non_members))]


def _split_group(scores: ArrayLike, group: int, seed: int) -> list[np.ndarray]:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(f"scores of shape {scores.shape}: finite ones, (n,), are needed")
    order = np.random.default_rng([seed, group]).permutation(len(scores))
    return np.array_split(scores[order], 2)


def _lower_bounds(
    members: np.ndarray, non_members: np.ndarray, thresholds: np.ndarray, delta: float, level: float
) -> np.ndarray:
    """Lower bounds (2, t): scores >= threshold called members; those below called non-members."""
    m, n = len(members), len(non_members)
    found = m - np.searchsorted(np.sort(members), thresholds)
    accused = n - np.searchsorted(np.sort(non_members), thresholds)
    tail = (1 - level) / 2
    return np.stack(
        [
            _log_ratio(_lower_ends(found, m, tail) - delta, high_end(accused, n, tail)),
            _log_ratio(_lower_ends(n - accused, n, tail) - delta, high_end(m - found, m, tail)),
        ]
    )


def _lower_ends(successes: np.ndarray, trials: int, tail: float) -> np.ndarray:
    """Clopper and Pearson's lower ends, one-sided at `tail`."""
    ends = beta.ppf(tail, np.maximum(successes, 1), trials - np.maximum(successes, 1) + 1)
    return np.where(successes > 0, ends, 0.0)


def high_end(successes: np.ndarray, trials: int, tail: float) -> np.ndarray:
    """Clopper and Pearson's upper ends, one-sided at `tail`."""
    return 1.0 - _lower_ends(trials - successes, trials, tail)


def _log_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above > 0, np.log(np.maximum(above, 1e-300) / below), -np.inf)
