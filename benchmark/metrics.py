"""How well scores tell members from non-members: pure functions, numpy in, floats out.

Everywhere `members` (m,) and `non_members` (n,) are scores, larger = more likely a member. Empty
arrays, other shapes and non-finite scores raise ValueError. Intervals are two-sided.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import beta, binom, mannwhitneyu, nhypergeom, norm, rankdata

FPR_COLUMNS = {"tpr_at_10": 0.1, "tpr_at_1": 0.01, "tpr_at_0p1": 0.001}
"""Column of `summary` -> false positive rate at which it gives the true positive rate."""


class TprAtFpr(NamedTuple):
    """True positive rate, and the threshold: score >= threshold is a member."""

    tpr: float
    threshold: float


class Difference(NamedTuple):
    """AUROC of attack a minus AUROC of attack b, its interval, and the two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float


def summary(members: ArrayLike, non_members: ArrayLike) -> dict[str, float]:
    """Every figure of a table's row by its flat name; NaN where it cannot be resolved."""
    x, y = _scores(members, non_members)
    low, high = auroc_interval(x, y)
    row = {
        "auroc": auroc(x, y),
        "auroc_low": low,
        "auroc_high": high,
        "average_precision": average_precision(x, y),
        "balanced_accuracy": best_balanced_accuracy(x, y),
        "advantage": advantage(x, y),
    }
    for column, fpr in FPR_COLUMNS.items():
        low, high = tpr_interval(x, y, fpr)
        row |= {column: tpr_at_fpr(x, y, fpr).tpr, f"{column}_low": low, f"{column}_high": high}
    return row | {"n_members": len(x), "n_non_members": len(y)}


def auroc(members: ArrayLike, non_members: ArrayLike) -> float:
    """Chance that a member scores above a non-member, ties half; in [0, 1]."""
    below, above = _placements(*_scores(members, non_members))
    return float(below.sum() / (len(below) * len(above)))


def auroc_interval(
    members: ArrayLike, non_members: ArrayLike, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the AUROC from DeLong's variance, on the logit scale.

    DeLong, DeLong, Clarke-Pearson (Biometrics 1988), by midranks as Sun and Xu (IEEE Signal
    Processing Letters 2014); the logit keeps it inside [0, 1].
    Deviation: where that variance is zero (perfect separation either way, or all scores equal) or
    not defined (a single member or non-member) the interval would vanish. It is then that of
    Clopper and Pearson (Biometrika 1934) for AUROC * k successes in k = min(m, n) trials; for
    perfect separation of 200 + 200 queries [0.982, 1].
    Between the two it is a little short: measured on normal scores, 128 or 200 of each, the 95%
    interval misses an AUROC of 0.995 to 0.999 in 6 to 8% of cases, mostly because it lies above it.
    """
    x, y = _scores(members, non_members)
    below, above = _placements(x, y)
    area = below.sum() / (len(x) * len(y))
    if min(len(x), len(y)) == 1 or (_constant(below) and _constant(above)):
        k = min(len(x), len(y))
        return clopper_pearson(area * k, k, level)
    margin = norm.ppf((1 + level) / 2) * np.sqrt(_variance(below, above)) / (area * (1 - area))
    return float(expit(logit(area) - margin)), float(expit(logit(area) + margin))


def auroc_errors(members: ArrayLike, non_members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """What each query adds to the AUROC's error: members' (m,), non-members' (n,).

    The squares sum to DeLong's variance, and the products with those of another attack on the same
    queries to DeLong's covariance (Biometrics 1988): the error of a sum of AUROCs is the sum of
    their errors, query by query. All zero where the variance is zero or not defined, see
    `auroc_interval`.
    """
    x, y = _scores(members, non_members)
    below, above = _placements(x, y)
    return _centred(below / len(y)), _centred(above / len(x))


def _centred(shares: np.ndarray) -> np.ndarray:
    n = len(shares)
    return (shares - shares.mean()) / np.sqrt(max(1, n * (n - 1)))


def auroc_p_value(
    members: ArrayLike,
    non_members: ArrayLike,
    alternative: Literal["two-sided", "greater", "less"] = "two-sided",
) -> float:
    """P-value of "members and non-members score alike" (AUROC 0.5): Mann and Whitney's test.

    alternative: "greater" tests for a leak, "less" for a reversed sign.
    """
    x, y = _scores(members, non_members)
    if _constant(np.concatenate([x, y])):
        return 1.0
    return float(mannwhitneyu(x, y, alternative=alternative).pvalue)


def delong_test(a: ArrayLike, b: ArrayLike, labels: ArrayLike, level: float = 0.95) -> Difference:
    """Compare two attacks on the same queries: DeLong et al. 1988, paired.

    a, b: (n,) scores of the same queries; labels: (n,) bool, True = member.
    Deviation: where the variance of the difference is zero or not defined, the interval is the
    widest that the two attacks' own intervals allow, and p is 1 for no difference, else that of a
    sign test in which all min(members, non-members) trials agree.
    """
    labels = np.asarray(labels, dtype=bool)
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not a.shape == b.shape == labels.shape:
        raise ValueError(f"shapes differ: a {a.shape}, b {b.shape}, labels {labels.shape}")
    pairs = [_scores(scores[labels], scores[~labels]) for scores in (a, b)]
    (below_a, above_a), (below_b, above_b) = (_placements(x, y) for x, y in pairs)
    below, above = below_a - below_b, above_a - above_b
    difference = float(below.sum() / (len(below) * len(above)))
    k = min(len(below), len(above))
    if k == 1 or (_constant(below) and _constant(above)):
        (low_a, high_a), (low_b, high_b) = (auroc_interval(x, y, level) for x, y in pairs)
        p_value = min(1.0, 2.0 ** (1 - k)) if difference else 1.0
        return Difference(difference, low_a - high_b, high_a - low_b, p_value)
    error = float(np.sqrt(_variance(below, above)))
    margin = float(norm.ppf((1 + level) / 2)) * error
    low, high = max(-1.0, difference - margin), min(1.0, difference + margin)
    return Difference(difference, low, high, float(2 * norm.sf(abs(difference) / error)))


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values (n,) that hold for all n tests together: Holm 1979, Scandinavian J. of Statistics.

    statsmodels' multipletests says the same, but has Python collect its garbage in each call:
    that took a fifth of a report's time.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected


def roc(members: ArrayLike, non_members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The ROC curve: fpr, tpr (t,) float64 from (0, 0) to (1, 1), a point per distinct score."""
    _, false, true = _counts(*_scores(members, non_members))
    return false / false[-1], true / true[-1]


def average_precision(members: ArrayLike, non_members: ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps; guessing gives m / (m + n)."""
    _, false, true = _counts(*_scores(members, non_members))
    precision = true[1:] / (true[1:] + false[1:])
    return float((np.diff(true) / true[-1] * precision).sum())


def advantage(members: ArrayLike, non_members: ArrayLike) -> float:
    """Largest true minus false positive rate over all thresholds, in [0, 1].

    The threshold is chosen on the same queries: with few of them the figure is optimistic.
    """
    fpr, tpr = roc(members, non_members)
    return float((tpr - fpr).max())


def best_balanced_accuracy(members: ArrayLike, non_members: ArrayLike) -> float:
    """Balanced accuracy at the threshold that `advantage` takes, in [0.5, 1]."""
    return (1 + advantage(members, non_members)) / 2


def tpr_at_fpr(members: ArrayLike, non_members: ArrayLike, fpr: float) -> TprAtFpr:
    """Largest true positive rate whose false positive rate is at most `fpr`; no interpolation.

    Tied scores fall on one side together. All NaN when one non-member is already more than `fpr`.
    """
    x, y = _scores(members, non_members)
    allowed = _allowed(y, fpr)
    if allowed < 1:
        return TprAtFpr(np.nan, np.nan)
    thresholds, false, true = _counts(x, y)
    best = int(np.searchsorted(false, allowed, side="right")) - 1
    return TprAtFpr(float(true[best] / len(x)), float(thresholds[best]))


def tpr_interval(
    members: ArrayLike, non_members: ArrayLike, fpr: float, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the true positive rate where the false positive rate of all there are is `fpr`.

    Low: what is found above a non-member's score that surely has at most `fpr`. Where so few
    non-members allow none: above the threshold of `tpr_at_fpr`, when alarms are ignored at random
    until false ones surely are at most `fpr`. High: what no threshold with at most `fpr` exceeds.
    At either end half of the error is allowed for the members, half for the non-members, which
    choose the threshold; both by the binomial distribution, as Clopper and Pearson (1934). Their
    interval for the members alone, with the threshold taken as given, would miss in up to half of
    all cases. NaN where `tpr_at_fpr` is.
    """
    x, y = _scores(members, non_members)
    allowed = _allowed(y, fpr)
    if allowed < 1:
        return np.nan, np.nan
    each = (1 + level) / 2
    surely, perhaps = (int(binom.ppf(p, len(y), fpr)) for p in ((1 - each) / 2, (1 + each) / 2))
    fewer = surely - 1 if surely else allowed
    alarms = clopper_pearson(fewer, len(y), each)[1]
    found, most = int((x > _limit(y, fewer)).sum()), int((x >= _limit(y, perhaps)).sum())
    low, high = (clopper_pearson(k, len(x), each)[end] for end, k in enumerate((found, most)))
    return low * min(1.0, fpr / alarms), high


def found_p_value(members: ArrayLike, non_members: ArrayLike, fpr: float) -> float:
    """P-value of "the attack guesses" for the true positive rate at a false positive rate.

    If scores say nothing, members and non-members are in random order, and the members above the
    (k + 1)-th non-member, k = fpr * n, follow the negative hypergeometric distribution: exact for
    every continuous score, conservative where scores tie. 1 where `tpr_at_fpr` is not resolved.
    """
    x, y = _scores(members, non_members)
    allowed = _allowed(y, fpr)
    found = int((x > _limit(y, allowed)).sum())
    if allowed < 1 or allowed == len(y) or found == 0:
        return 1.0
    return float(nhypergeom.sf(found - 1, len(x) + len(y), len(x), allowed + 1))


def clopper_pearson(successes: float, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper and Pearson, Biometrika 1934)."""
    tail = (1 - level) / 2
    low = 0.0 if successes <= 0 else beta.ppf(tail, successes, trials - successes + 1)
    high = 1.0 if successes >= trials else beta.ppf(1 - tail, successes + 1, trials - successes)
    return float(low), float(high)


def _scores(members: ArrayLike, non_members: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    pair = []
    for name, scores in {"members": members, "non_members": non_members}.items():
        scores = np.asarray(scores, dtype=np.float64)
        if scores.ndim != 1 or len(scores) == 0:
            raise ValueError(f"scores of {name} have shape {scores.shape}; (n,), n > 0, is needed")
        if bad := int((~np.isfinite(scores)).sum()):
            raise ValueError(f"{bad} of {len(scores)} scores of {name} are not finite")
        pair.append(scores)
    return pair[0], pair[1]


def _allowed(y: np.ndarray, fpr: float) -> int:
    """How many of the non-members are at most a share of `fpr`."""
    return int(fpr * len(y) * (1 + 1e-12))  # 0.29 * 100 is a little under 29


def _limit(y: np.ndarray, allowed: int) -> float:
    """Score above which lie at most so many non-members."""
    return float(np.sort(y)[::-1][allowed]) if allowed < len(y) else -np.inf


def _placements(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Non-members below each member (m,) and members above each non-member (n,), ties half.

    Multiples of one half, so that sums and comparisons are exact.
    """
    ranks = rankdata(np.concatenate([x, y]))
    below = ranks[: len(x)] - rankdata(x)
    above = len(x) - (ranks[len(x) :] - rankdata(y))
    return below, above


def _variance(below: np.ndarray, above: np.ndarray) -> float:
    """DeLong's variance of the AUROC, or of a difference of two, from placements."""
    m, n = len(below), len(above)
    return float(np.var(below / n, ddof=1) / m + np.var(above / m, ddof=1) / n)


def _constant(values: np.ndarray) -> bool:
    return bool(values.min() == values.max())


def _counts(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
