"""How well scores tell members from non-members: pure functions, numpy in, floats out.

Everywhere `members` (m,) and `non_members` (n,) are scores, larger = more likely a member. Empty
arrays, other shapes and non-finite scores raise ValueError. Intervals are two-sided.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import scipy  # whose packages load where they are used: a stored result is shown without them
from numpy.typing import ArrayLike

from benchmark.measures.rates import clopper_pearson, counts_of, scores_of


class Difference(NamedTuple):
    """AUROC of attack a minus AUROC of attack b, its interval, and the two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float


def auroc(members: ArrayLike, non_members: ArrayLike) -> float:
    """Chance that a member scores above a non-member, ties half; in [0, 1].

    >>> auroc([0.9, 0.7], [0.8, 0.1])  # three of the four pairs are in order
    0.75
    """
    below, above = _place_scores(*scores_of(members, non_members))
    return float(below.sum() / (len(below) * len(above)))


def aurocs(scores: np.ndarray, labels: np.ndarray) -> list[float]:
    """AUROC of each row of scores (s, n) by the same row of labels (s, n), True = member.

    >>> aurocs(np.array([[0.9, 0.7, 0.8, 0.1]]), np.array([[True, True, False, False]]))
    [0.75]
    """
    members = labels.sum(axis=1)
    ranks = scipy.stats.rankdata(scores, axis=1)
    below = (ranks * labels).sum(axis=1) - members * (members + 1) / 2
    return [float(area) for area in below / (members * (labels.shape[1] - members))]


def auroc_interval(
    members: ArrayLike, non_members: ArrayLike, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the AUROC from DeLong's variance, on the logit scale.

    DeLong, DeLong, Clarke-Pearson (Biometrics 1988), by midranks as Sun and Xu (IEEE Signal
    Processing Letters 2014); the logit keeps it inside [0, 1]. Quantiles are Student's, with the
    degrees of freedom of Brunner and Munzel (Biometrical Journal 2000): with 10 non-members, the
    normal ones claim an AUROC above 0.5 twice as often as they may, Student's never too often.
    Deviation: where that variance is zero (perfect separation either way, or all scores equal) or
    not defined (a single member or non-member) the interval would vanish. It is then that of
    Clopper and Pearson (Biometrika 1934) for AUROC * k successes in k = min(m, n) trials; for
    perfect separation of 200 + 200 queries [0.982, 1].
    Between the two it is a little short: measured on normal scores, 128 or 200 of each, the 95%
    interval misses an AUROC of 0.995 to 0.999 in 6 to 8% of cases, mostly because it lies above it.
    Where one score is shared by many queries, a group may hold it alone and seem to have no
    variance. The interval then reaches 0.5 unless a permutation test excludes 0.5 at this level.
    """
    x, y = scores_of(members, non_members)
    below, above = _place_scores(x, y)
    area = below.sum() / (len(x) * len(y))
    if min(len(x), len(y)) == 1 or (_is_constant(below) and _is_constant(above)):
        k = min(len(x), len(y))
        return clopper_pearson(area * k, k, level)
    error, freedom = _delong_error(below, above)
    # Student's quantile by scipy.special: scipy.stats takes 50 times as long for it.
    margin = scipy.special.stdtrit(freedom, (1 + level) / 2) * error / (area * (1 - area))
    middle = scipy.special.logit(area)
    low, high = (float(scipy.special.expit(middle + side)) for side in (-margin, margin))
    if (low > 0.5 or high < 0.5) and _is_guessing(x, y, 1 - level):
        return min(low, 0.5), max(high, 0.5)
    return low, high


def score_interval(
    area: float, members: int, non_members: int, level: float
) -> tuple[float, float]:
    """Interval of an AUROC from few scores; it lies above 0.5 where Mann and Whitney's test does.

    The ends are the AUROCs under which `area` is just as far off as the level allows, by the
    variance that the AUROC has there. Source: Newcombe 2006, Statistics in Medicine 25(4), 559-573,
    method 5.

    >>> low, high = score_interval(1.0, 16, 16, 0.95)
    >>> round(low, 3), high
    (0.873, 1.0)
    """
    z, m, n = scipy.stats.norm.ppf((1 + level) / 2), members, non_members
    others = (m + n) / 2 - 1

    def beyond(a: float) -> float:
        spread = a * (1 - a) * (1 + others * ((1 - a) / (2 - a) + a / (1 + a))) / (m * n)
        return float(abs(area - a) - z * np.sqrt(spread))

    near = 1 - 1e-9  # of a perfect AUROC the search would end where it begins
    low = 0.0 if area <= 0 else scipy.optimize.brentq(beyond, 0.0, area * near)
    high = 1.0 if area >= 1 else scipy.optimize.brentq(beyond, 1 - (1 - area) * near, 1.0)
    return float(low), float(high)


MANY_TIES = 0.1
"""Share of all queries with one and the same score, from which on DeLong's variance may fail."""


def _is_guessing(x: np.ndarray, y: np.ndarray, risk: float) -> bool:
    """Whether scores with many ties are as far from 0.5 by chance in more than `risk` of cases.

    A permutation test, two-sided: 20 / risk times, members are drawn anew from all queries. Mann
    and Whitney's normal approximation spares it where its p-value is below the cube of the risk.
    """
    scores = np.concatenate([x, y])
    ties = np.unique(scores, return_counts=True)[1]
    if ties.max() < MANY_TIES * len(scores) or auroc_p_value(x, y) < risk**3:
        return False
    ranks, fewer = scipy.stats.rankdata(scores), min(len(x), len(y))
    expected = fewer * (len(scores) + 1) / 2
    group = ranks[: len(x)] if len(x) == fewer else ranks[len(x) :]
    rng, draws = np.random.default_rng(0), int(np.ceil(20 / risk))
    sums = np.array([rng.choice(ranks, fewer, replace=False).sum() for _ in range(draws)])
    as_far = np.abs(sums - expected) >= abs(group.sum() - expected)
    return bool((1 + as_far.sum()) / (1 + draws) > risk)


def auroc_errors(members: ArrayLike, non_members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """What each query adds to the AUROC's error: members' (m,), non-members' (n,).

    The squares sum to DeLong's variance, and the products with those of another attack on the same
    queries to DeLong's covariance (Biometrics 1988): the error of a sum of AUROCs is the sum of
    their errors, query by query. All zero where the variance is zero or not defined, see
    `auroc_interval`.
    """
    x, y = scores_of(members, non_members)
    below, above = _place_scores(x, y)
    return _centre_shares(below / len(y)), _centre_shares(above / len(x))


def _centre_shares(shares: np.ndarray) -> np.ndarray:
    n = len(shares)
    return (shares - shares.mean()) / np.sqrt(max(1, n * (n - 1)))


def auroc_p_value(
    members: ArrayLike,
    non_members: ArrayLike,
    alternative: Literal["two-sided", "greater", "less"] = "two-sided",
) -> float:
    """P-value of "members and non-members score alike" (AUROC 0.5): Mann and Whitney's test.

    alternative: "greater" tests for a leak, "less" for a reversed sign.

    >>> auroc_p_value([1.0, 1.0], [1.0, 1.0])
    1.0
    """
    x, y = scores_of(members, non_members)
    if _is_constant(np.concatenate([x, y])):
        return 1.0
    return float(scipy.stats.mannwhitneyu(x, y, alternative=alternative).pvalue)


def delong_test(a: ArrayLike, b: ArrayLike, labels: ArrayLike, level: float = 0.95) -> Difference:
    """Compare two attacks on the same queries: DeLong et al. 1988, paired.

    a, b: (n,) scores of the same queries; labels: (n,) bool, True = member. Quantiles are Student's
    as in `auroc_interval`.
    Deviation: where the variance of the difference is zero or not defined, the interval is the
    widest that the two attacks' own intervals allow, and p is 1 for no difference, else that of a
    sign test in which all min(members, non-members) trials agree.
    """
    labels = np.asarray(labels, dtype=bool)
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not a.shape == b.shape == labels.shape:
        raise ValueError(f"shapes differ: a {a.shape}, b {b.shape}, labels {labels.shape}")
    pairs = [scores_of(scores[labels], scores[~labels]) for scores in (a, b)]
    (below_a, above_a), (below_b, above_b) = (_place_scores(x, y) for x, y in pairs)
    below, above = below_a - below_b, above_a - above_b
    difference = float(below.sum() / (len(below) * len(above)))
    k = min(len(below), len(above))
    if k == 1 or (_is_constant(below) and _is_constant(above)):
        (low_a, high_a), (low_b, high_b) = (auroc_interval(x, y, level) for x, y in pairs)
        p_value = min(1.0, 2.0 ** (1 - k)) if difference else 1.0
        return Difference(difference, low_a - high_b, high_a - low_b, p_value)
    error, freedom = _delong_error(below, above)
    margin = float(scipy.special.stdtrit(freedom, (1 + level) / 2)) * error
    low, high = max(-1.0, difference - margin), min(1.0, difference + margin)
    p_value = float(2 * scipy.special.stdtr(freedom, -abs(difference) / error))
    return Difference(difference, low, high, p_value)


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values (n,) that hold for all n tests together: Holm 1979, Scandinavian J. of Statistics.

    statsmodels' multipletests says the same, but has Python collect its garbage in each call:
    that took a fifth of a report's time.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected


def roc_curve(members: ArrayLike, non_members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The ROC curve: fpr, tpr (t,) float64 from (0, 0) to (1, 1), a point per distinct score.

    >>> fpr, tpr = roc_curve([3.0, 2.0], [1.0, 0.0])
    >>> fpr.tolist(), tpr.tolist()
    ([0.0, 0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0, 1.0])
    """
    _, false, true = counts_of(*scores_of(members, non_members))
    return false / false[-1], true / true[-1]


def average_precision(members: ArrayLike, non_members: ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps; guessing gives m / (m + n).

    >>> average_precision([3.0, 1.0], [2.0])  # 1 / 1 and 2 / 3, each for half of the members
    0.8333333333333333
    """
    _, false, true = counts_of(*scores_of(members, non_members))
    precision = true[1:] / (true[1:] + false[1:])
    return float((np.diff(true) / true[-1] * precision).sum())


def advantage(members: ArrayLike, non_members: ArrayLike) -> float:
    """Largest true minus false positive rate over all thresholds, in [0, 1].

    The threshold is chosen on the same queries: with few of them the figure is optimistic.

    >>> advantage([0.9, 0.7], [0.8, 0.1])
    0.5
    """
    fpr, tpr = roc_curve(members, non_members)
    return float((tpr - fpr).max())


def best_balanced_accuracy(members: ArrayLike, non_members: ArrayLike) -> float:
    """Balanced accuracy at the threshold that `advantage` takes, in [0.5, 1].

    >>> best_balanced_accuracy([0.9, 0.7], [0.8, 0.1])
    0.75
    """
    return (1 + advantage(members, non_members)) / 2


def _place_scores(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Non-members below each member (m,) and members above each non-member (n,), ties half.

    Multiples of one half, so that sums and comparisons are exact.
    """
    return _count_below(np.sort(y), x), len(x) - _count_below(np.sort(x), y)


def _count_below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many of the ordered scores lie below each value, ties half."""
    return (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, "right")) / 2


def _delong_error(below: np.ndarray, above: np.ndarray) -> tuple[float, float]:
    """DeLong's standard error of the AUROC, or of a difference of two, from placements.

    With it the degrees of freedom of Satterthwaite and Welch: that of the smaller group where the
    other adds nothing.
    """
    m, n = len(below), len(above)
    a, b = float(np.var(below / n, ddof=1) / m), float(np.var(above / m, ddof=1) / n)
    freedom = (a + b) ** 2 / (a**2 / (m - 1) + b**2 / (n - 1))
    return float(np.sqrt(a + b)), freedom


def _is_constant(values: np.ndarray) -> bool:
    return bool(values.min() == values.max())
