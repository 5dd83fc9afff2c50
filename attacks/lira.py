"""LiRA: how likely is the victim's score if it was trained on the query, and if it was not?

Source: Carlini, Chien, Nasr, Song, Terzis, Tramer 2022, arXiv 2112.03570. The scores of one query
under the reference models that have seen it, and under those that have not, are two Gaussians.
Deviations: the score is any attack's raw score, where the paper takes a classifier's confidence on
a logit scale, so nothing makes it Gaussian; means are means, where the authors' code takes medians.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from attacks.calibration import mean_where
from victims.access import UserError

VARIANCES = ("pooled", "per_query")
TINY = 1e-6
"""Smallest standard deviation, as a share of that of all scores: those of a query may be equal."""


class _Gaussians:
    """variance: "pooled" over all queries (for few reference models), or "per_query".

    The pooled variance is that around each query's own mean. Deviation: the authors' code, for few
    models, takes the variance over all queries at once, which holds the spread between them too.
    """

    def __init__(self, variance: str = "pooled") -> None:
        if variance not in VARIANCES:
            allowed = ", ".join(VARIANCES)
            raise UserError(f"calibration variance={variance}: allowed are {allowed}")
        self.variance = variance

    def standardised(
        self, victim: np.ndarray, references: np.ndarray, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The victim's scores in units of each query's Gaussian, and its sd: (n,) each.

        victim: (n,); the Gaussian is that of the chosen (r, n) of the references (r, n).
        """
        mean, count = mean_where(references, chosen), chosen.sum(0)
        squares = np.where(chosen, (references - mean) ** 2, 0.0).sum(0)
        if self.variance == "pooled":
            squares, count = np.full_like(mean, squares.mean()), count.mean()
        sd = np.maximum(np.sqrt(squares / (count - 1)), TINY * (references.std() or 1.0))
        return (victim - mean) / sd, sd


class OnlineLiRA(_Gaussians):
    """Log-likelihood ratio of "trained on the query" to "not trained on it"."""

    inside, outside = 2, 2

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) from victim (n,), references (r, n), inside (r, n)."""
        z_in, sd_in = self.standardised(victim, references, inside)
        z_out, sd_out = self.standardised(victim, references, ~inside)
        return norm.logpdf(z_in) - np.log(sd_in) - (norm.logpdf(z_out) - np.log(sd_out))


class OfflineLiRA(_Gaussians):
    """Minus the log of the chance that a model that has not seen the query scores as high.

    The paper's one-sided test 1 - Pr[Z > score] (equation 4), which orders queries in the same
    way; the logarithm keeps the smallest chances apart. Deviation from the authors' code, which
    takes the density: that would also call a query a member whose score is extremely low.
    """

    inside, outside = 0, 2

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) from victim (n,), references (r, n), inside (r, n)."""
        z_out, _ = self.standardised(victim, references, ~inside)
        return -norm.logsf(z_out)
