"""LiRA: how likely is the victim's score if it was trained on the query, and if it was not?

Source: Carlini, Chien, Nasr, Song, Terzis, Tramer 2022, arXiv 2112.03570. The scores of one query
under the reference models that have seen it, and under those that have not, are two Gaussians.
Deviations: the score is any attack's raw score, where the paper takes a classifier's confidence on
a logit scale, so nothing makes it Gaussian; means are means, where the authors' code takes medians.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import norm

from attacks.calibration.difference import mean_where

Variance = Literal["shrunken", "pooled", "common", "per_query"]
TINY = 1e-6
"""Smallest standard deviation, as a share of that of all scores: those of a query may be equal."""

LEAST = 1e-5
"""Smallest variance that counts in a prior, as a share of the median: its logarithm is taken."""


class Gaussians(NamedTuple):
    """One Gaussian a query: mean (n,), sd (n,), and from how many models (n,)."""

    mean: np.ndarray
    sd: np.ndarray
    models: np.ndarray


class _Fits:
    """variance: "pooled" over all queries, or "per_query" (many reference models); "shrunken", each
    query's own, drawn towards the pooled one (see `moderate_variance`); "common" is pooled over
    both kinds of models as well.

    A pooled variance is that around each query's own mean. Deviation: the authors' code, for few
    models, takes the variance over all queries at once, which holds the spread between them too.
    """

    def __init__(self, variance: Variance) -> None:
        self.variance = variance

    def fit_gaussians(self, references: np.ndarray, *chosen: np.ndarray) -> list[Gaussians]:
        """Gaussians of the chosen (r, n) bool of the references (r, n), for each choice."""
        means = [mean_where(references, mask) for mask in chosen]
        counts = [mask.sum(0) for mask in chosen]
        squares = [
            np.where(mask, (references - mean) ** 2, 0.0).sum(0)
            for mask, mean in zip(chosen, means, strict=True)
        ]
        free = [count - 1 for count in counts]
        if self.variance == "shrunken":
            moved = [moderate_variance(own / n, n) for own, n in zip(squares, free, strict=True)]
            squares = [variance * n for variance, n in zip(moved, free, strict=True)]
        elif self.variance != "per_query":
            squares = [np.full_like(own, own.sum()) for own in squares]
            free = [np.full_like(own, own.sum()) for own in free]
        if self.variance == "common":
            squares, free = [sum(squares)] * len(chosen), [sum(free)] * len(chosen)
        least = TINY * (references.std() or 1.0)
        sds = [np.maximum(np.sqrt(own / n), least) for own, n in zip(squares, free, strict=True)]
        return [Gaussians(*fit) for fit in zip(means, sds, counts, strict=True)]


class OnlineLiRA(_Fits):
    """Log-likelihood ratio of "trained on the query" to "not trained on it".

    shrink: draw each query's gap between the two means towards the mean gap of all queries, by as
    much as the scatter of the gaps is that of estimating them (empirical Bayes). Deviation, for few
    reference models: with many it changes nothing.
    """

    inside, outside = 2, 2

    def __init__(self, variance: Variance = "pooled", shrink: bool = False) -> None:
        super().__init__(variance)
        self.shrink = shrink

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) from victim (n,), references (r, n), inside (r, n)."""
        seen, unseen = self.fit_gaussians(references, inside, ~inside)
        if self.shrink:
            seen, unseen = _shrink_means(seen, unseen)
        return norm.logpdf(victim, *seen[:2]) - norm.logpdf(victim, *unseen[:2])


class OfflineLiRA(_Fits):
    """Minus the log of the chance that a model that has not seen the query scores as high.

    The paper's one-sided test 1 - Pr[Z > score] (equation 4), which orders queries in the same
    way; the logarithm keeps the smallest chances apart. Deviations: the authors' code takes the
    density, which would also call a query a member whose score is extremely low; variances are
    shrunken by default. With a pooled one, and equally many models for each query, the order is
    that of `Difference`: one attack under two names. It is so, too, where shrinking finds no sign
    that variances differ.
    """

    inside, outside = 0, 2

    def __init__(self, variance: Variance = "shrunken") -> None:
        super().__init__(variance)

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) from victim (n,), references (r, n), inside (r, n)."""
        (unseen,) = self.fit_gaussians(references, ~inside)
        return -norm.logsf(victim, *unseen[:2])


def moderate_variance(variance: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Variances (n,) drawn towards their prior's centre, by as much as they scatter by chance.

    (d0 s0^2 + d s^2) / (d0 + d) for estimates s^2 of d = `free` (n,) degrees of freedom each, with
    s0^2 and d0, the prior's degrees of freedom, from mean and variance of log s^2. Where these
    scatter no more than estimates of one variance do, that one: the pooled.
    Source: Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3(1), article 3
    (limma).
    """
    known = np.maximum(variance, LEAST * np.median(variance))
    pooled = np.full_like(variance, (free * variance).sum() / free.sum())
    if len(known) < 2 or not known.min() > 0:
        return pooled
    half = free / 2
    logs = np.log(known) - digamma(half) + np.log(half)
    surplus = logs.var(ddof=1) - polygamma(1, half).mean()
    if surplus <= 0:
        return pooled
    prior = _inverse_trigamma(surplus)  # d0 / 2
    centre = np.exp(logs.mean() + digamma(prior) - np.log(prior))
    return (2 * prior * centre + free * variance) / (2 * prior + free)


def _inverse_trigamma(value: float) -> float:
    """x > 0 with trigamma(x) = value > 0, which lies between 1 / x and 1 / x + 1 / x^2."""
    most = (1 + np.sqrt(1 + 4 * value)) / (2 * value)
    return float(brentq(lambda x: polygamma(1, x) - value, 1 / value, most, rtol=1e-12))


def _shrink_means(seen: Gaussians, unseen: Gaussians) -> tuple[Gaussians, Gaussians]:
    """Both with their means as far apart as can be believed, around the same middle."""
    middle, gap = (seen.mean + unseen.mean) / 2, seen.mean - unseen.mean
    noise = seen.sd**2 / seen.models + unseen.sd**2 / unseen.models
    real = max(0.0, gap.var() - noise.mean())
    weight = real / (real + noise)
    gap = weight * gap + (1 - weight) * gap.mean()
    return seen._replace(mean=middle + gap / 2), unseen._replace(mean=middle - gap / 2)
