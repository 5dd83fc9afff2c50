"""Calibration: compare a query's score under the victim with its scores under reference models.

A calibration wraps any attack without touching it: the raw scores under the victim and under each
reference model are computed (and stored) once, and combined here. The attacker trained the
reference models and knows what each has seen; the victim's membership is no argument. A calibration
may look at all queries at once (for a variance, for a population).
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np


class Calibration(Protocol):
    """Turns raw scores under the victim and under reference models into calibrated scores."""

    inside: ClassVar[int]
    """How many reference models must have been trained on each query."""

    outside: ClassVar[int]
    """How many reference models must not have been trained on each query."""

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Calibrated scores (n,) float64, larger = more likely a member.

        victim: (n,) and references: (r, n), raw scores of the same n queries.
        inside: (r, n) bool, whether the reference model was trained on the query.
        """
        ...


class Combiner(Protocol):
    """What needs models that have seen a query, and others that have not."""

    inside: ClassVar[int]
    outside: ClassVar[int]


def models_suffice(models: np.ndarray, combiner: Combiner) -> bool:
    """Whether each query is in, and out of, as many models as a calibration or ensemble needs.

    models: (r, n) bool, whether each was trained on each query.
    """
    seen, unseen = fewest_models(models)
    return seen >= combiner.inside and unseen >= combiner.outside


def fewest_models(models: np.ndarray) -> tuple[int, int]:
    """In how many models a query is at least, and out of how many.

    models: as for `models_suffice`.
    """
    return int(models.sum(0).min()), int((~models).sum(0).min())


class Difference:
    """Score under the victim minus the mean score under the models that have not seen the query.

    Source: Chen, Yu, Zhang, Fritz 2020, arXiv 1909.03935, section 5: minus the calibrated loss
    L(x, R(x|G_victim)) - L(x, R(x|G_reference)). Deviations: of several reference models, the mean;
    with the distance `l2` squares are subtracted, where the published full black box subtracts
    distances (`attacks.full_black_box`).
    Difficulty calibration (Watson, Guo, Cormode, Sablayrolles 2022, arXiv 2111.08440) is the same
    formula: its authors' code sums or averages the score's difference over models trained without
    the query. It needs no calibration of its own here.
    """

    inside, outside = 0, 1

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) from victim (n,), references (r, n), inside (r, n)."""
        return victim - mean_where(references, ~inside)


def mean_where(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean of each column's chosen rows: values (r, n), chosen (r, n) bool -> (n,).

    >>> values = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> mean_where(values, np.array([[True, True], [True, False]])).tolist()
    [2.0, 2.0]
    """
    return np.where(chosen, values, 0.0).sum(0) / chosen.sum(0)
