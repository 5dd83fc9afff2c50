"""RMIA: does training explain the query better than it explains other records?

Source: Zarifzadeh, Liu, Shokri 2024, arXiv 2312.03262. The likelihood ratio of a query x and a
record z of the population is [p(x|victim) / p(x)] / [p(z|victim) / p(z)]; the score is the share
of z that x dominates, ratio > gamma.
Deviations: p(x|model) = exp((score - largest score) / (temperature * sd of the reference scores)),
in (0, 1], where the paper has a classifier's confidence: the raw score stands for minus a loss.
The population is the attacker's list of queries without x, unlabelled, where the paper has records
that nobody trained on. A query's score is an increasing function of its own p(x|victim) / p(x), so
the population moves thresholds and makes ties, but cannot swap two queries.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from victims.access import UserError


class _Pairwise:
    """gamma: at least 1, how clearly x must dominate z. temperature: in sd of the scores."""

    def __init__(self, gamma: float = 1.0, temperature: float = 1.0) -> None:
        if gamma < 1:
            raise UserError(f"calibration gamma={gamma}: at least 1 is needed")
        if temperature <= 0:
            raise UserError(f"calibration temperature={temperature}: it must be positive")
        self.gamma, self.temperature = gamma, temperature

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) in [0, 1] from victim (n,), references (r, n), inside (r, n)."""
        scale = self.temperature * (references.std() or 1.0)
        top = max(victim.max(), references.max())
        log_p = (references - top) / scale
        ratio = (victim - top) / scale - self.log_evidence(log_p, inside)
        # How many ratios lie below: as all pairs at once, in n log n.
        dominated = np.searchsorted(np.sort(ratio), ratio - np.log(self.gamma), side="left")
        return dominated / max(1, len(ratio) - 1)

    def log_evidence(self, log_p: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Log of p(x) (n,) from log p(x|reference) (r, n)."""
        raise NotImplementedError


class OnlineRMIA(_Pairwise):
    """p(x) from models that have seen x and models that have not: half the sum of their means."""

    inside, outside = 1, 1

    def log_evidence(self, log_p: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Log of p(x) (n,)."""
        halves = _log_mean(log_p, inside), _log_mean(log_p, ~inside)
        return np.logaddexp(*halves) - np.log(2)


class OfflineRMIA(_Pairwise):
    """p(x) from the models that have not seen x: ((1 + a) * their mean + 1 - a) / 2.

    a: in [0, 1]; a model that has seen x is taken to give it a * mean + 1 - a. The default is that
    of the authors' code, which also tunes it.
    """

    inside, outside = 0, 1

    def __init__(self, a: float = 0.3, gamma: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(gamma, temperature)
        if not 0 <= a <= 1:
            raise UserError(f"calibration a={a}: allowed is 0 to 1")
        self.a = a

    def log_evidence(self, log_p: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Log of p(x) (n,)."""
        with np.errstate(divide="ignore"):  # a = 1
            parts = np.log((1 + self.a) / 2), np.log((1 - self.a) / 2)
        return np.logaddexp(parts[0] + _log_mean(log_p, ~inside), parts[1])


def _log_mean(log_p: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Log of the mean of each column's chosen rows: (r, n), (r, n) bool -> (n,)."""
    return np.asarray(logsumexp(log_p, axis=0, b=chosen)) - np.log(chosen.sum(0))
