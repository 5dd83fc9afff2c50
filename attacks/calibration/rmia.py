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

from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from victims.errors import UserError

Evidence = Callable[[np.ndarray], np.ndarray]
"""Log p(x) (n,) from log p(x|reference) (r, n)."""

A = 0.3
"""The authors' code's `a` where it does not tune it."""


class _Pairwise:
    """What both share.

    gamma: at least 1, how clearly x must dominate z.
    temperature: in standard deviations of the scores.
    """

    def __init__(
        self, gamma: Annotated[float, Field(ge=1)] = 1.0, temperature: PositiveFloat = 2.0
    ) -> None:
        self.gamma, self.temperature = gamma, temperature

    def share_dominated(
        self, victim: np.ndarray, references: np.ndarray, evidence: Evidence
    ) -> np.ndarray:
        """Share (n,) in [0, 1] of the other queries that each dominates."""
        scale = self.temperature * (references.std() or 1.0)
        top = max(victim.max(), references.max())
        ratio = (victim - top) / scale - evidence((references - top) / scale)
        # How many ratios lie below: as all pairs at once, in n log n.
        dominated = np.searchsorted(np.sort(ratio), ratio - np.log(self.gamma), side="left")
        return dominated / max(1, len(ratio) - 1)


class OnlineRMIA(_Pairwise):
    """p(x) from models that have seen x and models that have not: half the sum of their means."""

    inside, outside = 1, 1

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) in [0, 1] from victim (n,), references (r, n), inside (r, n)."""

        def mean_of_both(log_p: np.ndarray) -> np.ndarray:
            both = np.logaddexp(_log_mean(log_p, inside), _log_mean(log_p, ~inside))
            return both - np.log(2)

        return self.share_dominated(victim, references, mean_of_both)


class OfflineRMIA(_Pairwise):
    """p(x) from the models that have not seen x: ((1 + a) * their mean + 1 - a) / 2.

    a: in [0, 1]; a model that has seen x is taken to give it a * mean + 1 - a. None: the tenth that
    gives the best AUROC with each reference model in the victim's place, as the authors' code tunes
    it on one; where no reference model has seen a query, A.
    """

    inside, outside = 0, 1

    def __init__(
        self,
        a: float | None = None,
        gamma: Annotated[float, Field(ge=1)] = 1.0,
        temperature: PositiveFloat = 2.0,
    ) -> None:
        super().__init__(gamma, temperature)
        if a is not None and not 0 <= a <= 1:
            raise UserError(f"calibration a={a}: allowed is 0 to 1, or null")
        self.a = a

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) in [0, 1] from victim (n,), references (r, n), inside (r, n)."""
        a = self.tune_a(references, inside) if self.a is None else self.a
        return self.share_dominated(victim, references, partial(_offline_evidence, inside, a))

    def tune_a(self, references: np.ndarray, inside: np.ndarray) -> float:
        """The best `a` where membership is known: references (r, n), inside (r, n)."""
        mixed = [j for j, saw in enumerate(inside) if 0 < saw.sum() < len(saw)]
        if not mixed or (~inside).sum(0).min() < 2:  # one more is needed than the one left out
            return A

        def mean_auroc(a: float) -> float:
            areas = []
            for j in mixed:
                others = np.arange(len(inside)) != j
                evidence = partial(_offline_evidence, inside[others], a)
                score = self.share_dominated(references[j], references[others], evidence)
                areas.append(roc_auc_score(inside[j], score))
            return float(np.mean(areas))

        return max((tenth / 10 for tenth in range(11)), key=mean_auroc)


def _offline_evidence(inside: np.ndarray, a: float, log_p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # a = 1
        out, rest = np.log((1 + a) / 2), np.log((1 - a) / 2)
    return np.logaddexp(out + _log_mean(log_p, ~inside), rest)


def _log_mean(log_p: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Log of the mean of each column's chosen rows: (r, n), (r, n) bool -> (n,)."""
    return np.asarray(logsumexp(log_p, axis=0, b=chosen)) - np.log(chosen.sum(0))
