"""LiRA: how likely is the victim's score if it was trained on the query, and if it was not?

Source: Carlini, Chien, Nasr, Song, Terzis, Tramer 2022, arXiv 2112.03570. The scores of one query
under the reference models that have seen it, and under those that have not, are two Gaussians.
Deviations: the score is any attack's raw score, where the paper takes a classifier's confidence on
a logit scale, so nothing makes it Gaussian; means are means, where the authors' code takes medians.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from attacks.calibration import mean_where
from victims.access import UserError

VARIANCES = ("pooled", "common", "per_query")
TINY = 1e-6
"""Smallest standard deviation, as a share of that of all scores: those of a query may be equal."""


class Gaussians(NamedTuple):
    """One Gaussian a query: mean (n,), sd (n,), and from how many models (n,)."""

    mean: np.ndarray
    sd: np.ndarray
    models: np.ndarray


class _Fits:
    """variance: "pooled" over all queries (for few reference models), or "per_query"; "common" is
    pooled over both kinds of models as well.

    A pooled variance is that around each query's own mean. Deviation: the authors' code, for few
    models, takes the variance over all queries at once, which holds the spread between them too.
    """

    def __init__(self, variance: str = "pooled") -> None:
        if variance not in VARIANCES:
            allowed = ", ".join(VARIANCES)
            raise UserError(f"calibration variance={variance}: allowed are {allowed}")
        self.variance = variance

    def fit(self, references: np.ndarray, *chosen: np.ndarray) -> list[Gaussians]:
        """Gaussians of the chosen (r, n) bool of the references (r, n), for each choice."""
        means = [mean_where(references, mask) for mask in chosen]
        counts = [mask.sum(0) for mask in chosen]
        squares = [
            np.where(mask, (references - mean) ** 2, 0.0).sum(0)
            for mask, mean in zip(chosen, means, strict=True)
        ]
        free = [count - 1 for count in counts]
        if self.variance != "per_query":
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

    def __init__(self, variance: str = "pooled", shrink: bool = False) -> None:
        super().__init__(variance)
        self.shrink = shrink

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) from victim (n,), references (r, n), inside (r, n)."""
        seen, unseen = self.fit(references, inside, ~inside)
        if self.shrink:
            seen, unseen = _shrunk(seen, unseen)
        return norm.logpdf(victim, *seen[:2]) - norm.logpdf(victim, *unseen[:2])


class OfflineLiRA(_Fits):
    """Minus the log of the chance that a model that has not seen the query scores as high.

    The paper's one-sided test 1 - Pr[Z > score] (equation 4), which orders queries in the same
    way; the logarithm keeps the smallest chances apart. Deviation from the authors' code, which
    takes the density: that would also call a query a member whose score is extremely low.
    """

    inside, outside = 0, 2

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) from victim (n,), references (r, n), inside (r, n)."""
        (unseen,) = self.fit(references, ~inside)
        return -norm.logsf(victim, *unseen[:2])


def _shrunk(seen: Gaussians, unseen: Gaussians) -> tuple[Gaussians, Gaussians]:
    """Both with their means as far apart as can be believed, around the same middle."""
    middle, gap = (seen.mean + unseen.mean) / 2, seen.mean - unseen.mean
    noise = seen.sd**2 / seen.models + unseen.sd**2 / unseen.models
    real = max(0.0, gap.var() - noise.mean())
    weight = real / (real + noise)
    gap = weight * gap + (1 - weight) * gap.mean()
    return seen._replace(mean=middle + gap / 2), unseen._replace(mean=middle - gap / 2)
