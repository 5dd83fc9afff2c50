"""Records found at a low false positive rate: pure functions, numpy in, floats out.

Everywhere `members` (m,) and `non_members` (n,) are scores, larger = more likely a member. Empty
arrays, other shapes and non-finite scores raise ValueError. Intervals are two-sided.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # whose packages load where they are used: a stored result is shown without them
from numpy.typing import ArrayLike

FPR_COLUMNS = {"tpr_at_10": 0.1, "tpr_at_1": 0.01, "tpr_at_0p1": 0.001}
"""Column of the table of attacks -> false positive rate at which it has the true positive rate."""

DEVIATES = 60.0
"""Normal deviates within which the ends of `tpr_interval` are looked for."""

POINTS, WEIGHTS = np.polynomial.legendre.leggauss(64)
"""Of the quadrature over the threshold's false positive rate."""


class TprAtFpr(NamedTuple):
    """True positive rate, and the threshold: score >= threshold is a member."""

    tpr: float
    threshold: float


def tpr_at_fpr(members: ArrayLike, non_members: ArrayLike, fpr: float) -> TprAtFpr:
    """Largest true positive rate whose false positive rate is at most `fpr`; no interpolation.

    Tied scores fall on one side together. All NaN when one non-member is already more than `fpr`.

    >>> tpr_at_fpr([5.0, 4.0, 1.0, 0.0], [3.0, 2.0], fpr=0.5)  # one false alarm is allowed
    TprAtFpr(tpr=0.5, threshold=3.0)
    """
    x, y = scores_of(members, non_members)
    allowed = _allowed_alarms(y, fpr)
    if allowed < 1:
        return TprAtFpr(np.nan, np.nan)
    thresholds, false, true = counts_of(x, y)
    best = int(np.searchsorted(false, allowed, side="right")) - 1
    return TprAtFpr(float(true[best] / len(x)), float(thresholds[best]))


def tpr_interval(
    members: ArrayLike, non_members: ArrayLike, fpr: float, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the true positive rate where the false positive rate of all there are is `fpr`.

    The non-members choose the threshold, so its true false positive rate u is random: of n, k lie
    above it, and u follows Beta(k + 1, n - k). Around `fpr` the ROC curve is taken for a line of
    slope b in normal deviates (the binormal model). The members found are binomial, averaged over
    u; the ends are the rates at which so many, or so few, have a chance of (1 - level) / 2.
    Deviation from the model of equal spreads, b = 1: b is what the scores show around the
    threshold where that is more. For a guess b is 1, and the lower end is above `fpr` just where
    `found_p_value` is under (1 - level) / 2.
    Measured, 95% intervals, 128 to 4000 of each: they miss in 1 to 5% of cases for normal, Laplace,
    Cauchy and exponential scores and for copies. They miss in up to 12% where members' scores are
    three times as narrow as the non-members' and end at the threshold. Taking the threshold as
    given misses in up to half. NaN where `tpr_at_fpr` is.
    """
    special, root = scipy.special, scipy.optimize.brentq
    x, y = scores_of(members, non_members)
    allowed = _allowed_alarms(y, fpr)
    if allowed < 1:
        return np.nan, np.nan
    if allowed == len(y):
        return 1.0, 1.0
    limit, tail = _score_limit(y, allowed), (1 - level) / 2
    rates = special.betaincinv(allowed + 1, len(y) - allowed, (1 + POINTS) / 2)
    shift = _slope_of_curve(x, y, allowed) * (special.ndtri(rates) - special.ndtri(fpr))
    above, not_below = int((x > limit).sum()), int((x >= limit).sum())

    def mean(chances: np.ndarray) -> float:
        return float(WEIGHTS @ chances) / 2

    # Binomial tails as incomplete beta functions: scipy.stats takes 25 times as long for them.
    def chance_of_more(z: float) -> float:
        found = special.ndtr(z + shift)
        return mean(special.betainc(above, len(x) - above + 1, found)) - tail

    def chance_of_fewer(z: float) -> float:
        found = special.ndtr(z + shift)
        return mean(special.betaincc(not_below + 1, len(x) - not_below, found)) - tail

    low = special.ndtr(root(chance_of_more, -DEVIATES, DEVIATES)) if above else 0.0
    high = special.ndtr(root(chance_of_fewer, -DEVIATES, DEVIATES)) if not_below < len(x) else 1.0
    return float(low), float(high)


def found_p_value(members: ArrayLike, non_members: ArrayLike, fpr: float) -> float:
    """P-value of "the attack guesses" for the true positive rate at a false positive rate.

    If scores say nothing, members and non-members are in random order, and the members above the
    (k + 1)-th non-member, k = fpr * n, follow the negative hypergeometric distribution: exact for
    every continuous score, conservative where scores tie. fpr = 0: members above all non-members.
    1 where the rate is not resolved: 0 < fpr * n < 1.

    >>> round(found_p_value([3.0, 2.0], [1.0, 0.0], fpr=0), 3)  # one of the six orders
    0.167
    """
    x, y = scores_of(members, non_members)
    allowed = _allowed_alarms(y, fpr)
    found = int((x > _score_limit(y, allowed)).sum())
    if (allowed < 1 and fpr > 0) or allowed == len(y) or found == 0:
        return 1.0
    return float(scipy.stats.nhypergeom.sf(found - 1, len(x) + len(y), len(x), allowed + 1))


def clopper_pearson(successes: float, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper and Pearson, Biometrika 1934).

    >>> low, high = clopper_pearson(0, 10)
    >>> low, round(high, 3)
    (0.0, 0.308)
    """
    tail = (1 - level) / 2
    quantile = scipy.stats.beta.ppf
    low = 0.0 if successes <= 0 else quantile(tail, successes, trials - successes + 1)
    high = 1.0 if successes >= trials else quantile(1 - tail, successes + 1, trials - successes)
    return float(low), float(high)


def scores_of(members: ArrayLike, non_members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 arrays (m,) and (n,); raises ValueError for what are no scores."""
    pair = []
    for name, scores in {"members": members, "non_members": non_members}.items():
        scores = np.asarray(scores, dtype=np.float64)
        if scores.ndim != 1 or len(scores) == 0:
            raise ValueError(f"scores of {name} have shape {scores.shape}; (n,), n > 0, is needed")
        if bad := int((~np.isfinite(scores)).sum()):
            raise ValueError(f"{bad} of {len(scores)} scores of {name} are not finite")
        pair.append(scores)
    return pair[0], pair[1]


def _allowed_alarms(y: np.ndarray, fpr: float) -> int:
    """How many of the non-members are at most a share of `fpr`."""
    return int(fpr * len(y) * (1 + 1e-12))  # 0.29 * 100 is a little under 29


def _slope_of_curve(x: np.ndarray, y: np.ndarray, allowed: int) -> float:
    """Slope of the ROC curve in normal deviates where the threshold may lie, at least 1."""
    rates = scipy.special.betaincinv(allowed + 1, len(y) - allowed, [0.025, 0.975])
    found = (x > np.quantile(y, 1 - rates)[:, None]).sum(1)
    low, high = scipy.special.ndtri((found + 0.5) / (len(x) + 1))
    return max(1.0, float((high - low) / np.diff(scipy.special.ndtri(rates))[0]))


def _score_limit(y: np.ndarray, allowed: int) -> float:
    """Score above which lie at most so many non-members."""
    return float(np.sort(y)[::-1][allowed]) if allowed < len(y) else -np.inf


def counts_of(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores descending after +inf; non-members and members at or above each (t,)."""
    scores = np.concatenate([x, y])
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    true = np.cumsum(order < len(x))[last]
    false = last + 1 - true
    zero = np.zeros(1, dtype=np.int64)
    thresholds = np.concatenate([[np.inf], ranked[last]])
    return thresholds, np.concatenate([zero, false]), np.concatenate([zero, true])
