"""From numbers of several seeds to one number with an interval, and to a p-value.

Each seed draws its own members, non-members and weights, so that seeds are taken as independent
repetitions of the whole experiment. Two errors are known of their mean: how much the seeds differ
(Student's t), and how uncertain each seed's own number is for its queries (DeLong). The first is
poorly known with few seeds and can vanish by accident, the second leaves out that another training
gives another model. The wider one is taken, for the interval and for the p-value.
Limits: seeds draw from one finite data set, so that their splits overlap; and a mean over the
victims of a study speaks about these victims, not about all there could be. A claim about kinds of
victims also has the error of how much families of one kind differ, see `measures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata, t, ttest_ind

from benchmark.measures.metrics import Difference

LEVEL = 0.95
Z = float(norm.ppf((1 + LEVEL) / 2))
POWER = 0.8
"""Chance with which a planned number of repetitions shall decide."""
ROUNDING = 1e-12
"""Half-widths up to this are what is left of 0 by adding and dividing."""
MOST = 999
"""Repetitions that are planned for at most."""


class Estimate(NamedTuple):
    """A mean over seeds, its 95% interval, the p-value of "not above 0", and how many seeds.

    victims: names of those that it is about. aside: of those that lack a seed which others have,
    and are not in it. freedom: fewest degrees of freedom of an error in it, where that is fewer
    than the seeds leave. p_below: exact p-value of "not below 0", where there
    is one. error: standard error of the mean that the interval rests on; NaN where more seeds would
    not make it smaller.
    """

    mean: float
    low: float
    high: float
    p_value: float
    seeds: int
    victims: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    freedom: float = np.inf
    p_below: float = 0.0
    error: float = np.nan

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def has_error(self) -> bool:
        """Whether its error is known: one of 0, but for rounding, knows nothing of other seeds.

        >>> over_seeds([0.0] * 3, [0.0] * 3).has_error, over_seeds([0.2] * 3).has_error
        (False, False)
        """
        return bool(self.half > ROUNDING)

    def within_unit(self) -> Estimate:
        """The same with the interval cut to [0, 1], for shares: of few repetitions it is beyond.

        >>> Estimate(0.9, 0.4, 1.4, 0.1, 2).within_unit()[:3]
        (0.9, 0.4, 1.0)
        """
        return self._replace(low=max(self.low, 0.0), high=min(self.high, 1.0))

    def p_at_least(self, margin: float) -> float:
        """P-value of "`margin` or more", above 0: 0.025 where the interval ends there, or p_below
        if that is more; NaN without an interval, or with one of no width.

        The interval does not say from which of its errors it comes: the largest p-value counts.
        """
        if not self.has_error:
            return np.nan
        side = self.high - self.mean
        if not side > 0:  # a rank correlation of 1
            return float(self.mean >= margin)
        away, few = (self.mean - margin) / side, min(max(1, self.seeds - 1), self.freedom)
        found = norm.cdf(away * Z), t.cdf(away * t.ppf((1 + LEVEL) / 2, few), few)
        return float(max(*found, self.p_below))


def over_seeds(
    values: Sequence[float], halves: Sequence[float] | None = None, between: bool = True
) -> Estimate:
    """The mean of one number a seed, with the wider of the two errors.

    values: (s,). halves: (s,) half-widths of the seeds' own 95% intervals; None where a seed has
    none. between: False leaves out how much the seeds differ. Where no error is left (one seed
    without an interval) the interval and the p-value are NaN.
    """
    found = np.asarray(values, float)
    n, mean = len(found), float(found.mean()) if len(found) else np.nan
    errors = []
    if n > 1 and between:
        errors.append((float(found.std(ddof=1) / np.sqrt(n)), n - 1.0))
    if halves is not None and n:
        errors.append((float(np.sqrt(np.square(np.asarray(halves, float)).sum()) / n / Z), np.inf))
    return _with_widest(mean, errors, n)


def over_strata(values: Sequence[Mapping[int, float]], half: float) -> Estimate:
    """The mean over strata of each one's mean: about these strata, whatever others there are.

    Only what lies within a stratum is drawn anew, as seeds of one victim are. Three errors of the
    mean are known, and the widest counts:

    - how much the values of a stratum spread (Welch's, with Satterthwaite's degrees of freedom; a
      stratum of one value is taken to spread as the others do on average);
    - how much repetitions spread, which several strata may share: what a repetition does to all of
      them adds up (clusters of Liang and Zeger, Biometrika 1986, with Student's t);
    - how uncertain the values are.

    values: of each stratum, repetition -> value; one or more. half: half-width of the mean's 95%
    interval for how uncertain the values are; who calls knows which of them err together.
    """
    mean = float(np.mean([np.mean([*own.values()]) for own in values]))
    errors = [(half / Z, np.inf)]
    if any(len(own) > 1 for own in values):
        errors += [_within_strata(values), _between_repetitions(values)]
    return _with_widest(mean, errors, min(map(len, values)))


def _within_strata(values: Sequence[Mapping[int, float]]) -> tuple[float, float]:
    """Standard error of the mean over strata for the spread in each, and degrees of freedom."""
    counts = np.array([len(own) for own in values])
    free = counts - 1
    spread = np.array([np.var([*own.values()], ddof=min(1, len(own) - 1)) for own in values])
    spread[free == 0] = (free * spread).sum() / free.sum()
    parts = spread / counts / len(counts) ** 2
    known = free > 0
    below = float((parts[known] ** 2 / free[known]).sum())
    freedom = min(parts.sum() ** 2 / below, free.sum()) if below else free.sum()
    return float(np.sqrt(parts.sum())), float(freedom)


def _between_repetitions(values: Sequence[Mapping[int, float]]) -> tuple[float, float]:
    """The same for the spread between repetitions: each one's part in all strata is added up."""
    table = pd.DataFrame([dict(own) for own in values])
    apart = table.sub(table.mean(axis=1), axis=0).div(table.count(axis=1), axis=0)
    parts = apart[table.count(axis=1) > 1].dropna(axis=1, how="all").sum() / len(table)
    n = len(parts)
    return float(np.sqrt(np.square(parts).sum() * n / (n - 1))), n - 1.0


def _with_widest(mean: float, errors: Sequence[tuple[float, float]], n: int) -> Estimate:
    """A mean with the widest of its standard errors, each with its degrees of freedom."""
    sides = [(_quantile(freedom) * error, error) for error, freedom in errors]
    p_value = max((_tail_chance(mean, *own) for own in errors), default=np.nan)
    margin, error = max(sides, default=(np.nan, np.nan))
    return Estimate(mean, mean - margin, mean + margin, p_value, n, error=error)


def _quantile(freedom: float) -> float:
    return Z if np.isinf(freedom) else float(t.ppf((1 + LEVEL) / 2, freedom))


def seeds_to_tell(gain: float, estimate: Estimate, level: float) -> int | None:
    """How many seeds tell with a chance of POWER that a mean is above 0; None: more than MOST.

    gain: the mean that is taken to be true. estimate: what its error is read from, one seed's error
    is taken to stay as it is. level: of the one-sided t-test, over 0 and under 0.5.
    Source: the usual normal approximation of a t-test's power, exact enough for a plan.

    >>> seeds_to_tell(0.1, over_seeds([0.0, 0.1, 0.2]), 0.05)
    8
    """
    if not gain > 0 or estimate.seeds < 2 or not estimate.error > 0:
        return None
    n = np.arange(2, MOST + 1)
    distance = gain / (estimate.error * np.sqrt(estimate.seeds / n))
    enough = distance >= t.ppf(1 - level, n - 1) + norm.ppf(POWER)
    return int(n[enough.argmax()]) if enough.any() else None


def difference_between(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Mean of a minus mean of b, of two values or more each: Welch's t-test; `seeds` is 0."""
    mean = float(np.mean(a) - np.mean(b))
    error = float(np.sqrt(sum(np.var(own, ddof=1) / len(own) for own in (a, b))))
    if not error:
        return Estimate(mean, mean, mean, _tail_chance(mean, error), 0)
    test = ttest_ind(a, b, equal_var=False)
    low, high = test.confidence_interval(LEVEL)
    p_value = _tail_chance(mean, error, test.df)
    return Estimate(mean, float(low), float(high), p_value, 0, freedom=float(test.df))


def widen_by(estimate: Estimate, error: Estimate) -> Estimate:
    """An estimate with another error of the same mean, where that is wider."""
    half, p_value = max(estimate.half, error.half), max(estimate.p_value, error.p_value)
    low, high = estimate.mean - half, estimate.mean + half
    seeds_help = estimate.error if estimate.half >= error.half else np.nan
    return estimate._replace(
        low=low, high=high, p_value=p_value, freedom=error.freedom, error=seeds_help
    )


def wider_side(value: float, low: float, high: float) -> float:
    """Half-width of an interval that need not be symmetric: one that ends at 1 is not narrow."""
    return max(high - value, value - low)


def _tail_chance(mean: float, error: float, freedom: float = np.inf) -> float:
    """Chance of a mean at least as large where the truth is 0."""
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    return float(t.sf(mean / error, freedom))


def of_auroc(rows: pd.DataFrame) -> Estimate:
    """The AUROC over the seeds of a table row; rows: auroc, auroc_low, auroc_high."""
    known = rows.dropna(subset=["auroc"])
    columns = (known[name].tolist() for name in ("auroc", "auroc_low", "auroc_high"))
    halves = [wider_side(*own) for own in zip(*columns, strict=True)]
    found = over_seeds(known["auroc"].tolist(), halves)
    if len(known) == 1:  # its own interval is not symmetric
        found = found._replace(low=known["auroc_low"].iloc[0], high=known["auroc_high"].iloc[0])
    return found


def combine_differences(found: Sequence[Difference], between: bool = True) -> Estimate:
    """One paired difference a seed, combined; between=False: for these models, not for others."""
    halves = [wider_side(d.difference, d.low, d.high) for d in found]
    return over_seeds([d.difference for d in found], halves, between)


def spearman(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Rank correlation (n,), (n,) with its exact one-sided permutation p-values.

    The interval is Fisher's with Fieller's variance 1.06 / (n - 3); a perfect order counts as half
    a step less than one, where the interval would vanish. Up to 8 values every order is tried,
    beyond that the normal approximation of the correlation is used.
    """
    x, y = rankdata(a), rankdata(b)
    n, rho = len(x), float(np.corrcoef(x, y)[0, 1])
    most = 1 - 6 / (n * (n**2 - 1))
    margin = Z * np.sqrt(1.06 / (n - 3))
    centre = np.arctanh(np.clip(rho, -most, most))
    low, high = np.tanh([centre - margin, centre + margin])
    if n <= 8:
        tried = (np.array(list(permutations(y))) - y.mean()) @ (x - x.mean())
        ours = (y - y.mean()) @ (x - x.mean())
        above, below = float((tried >= ours - 1e-9).mean()), float((tried <= ours + 1e-9).mean())
    else:
        above, below = (float(norm.sf(sign * rho * np.sqrt(n - 1))) for sign in (1, -1))
    low, high = min(rho, float(low)), max(rho, float(high))
    return Estimate(rho, low, high, above, n, p_below=below)
