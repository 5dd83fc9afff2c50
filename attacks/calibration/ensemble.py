"""Several attacks as one: a logistic regression that is trained where membership is known."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression

from attacks.calibration.difference import mean_where
from victims.errors import UserError


class Ensemble(Protocol):
    """Turns the raw scores of several attacks, also under reference models, into one score."""

    inside: ClassVar[int]
    """How many reference models must have been trained on each query."""

    outside: ClassVar[int]
    """How many reference models must not have been trained on each query."""

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Scores (n,) float64, larger = more likely a member.

        victim: (a, n) and references: (a, r, n), raw scores of a attacks on the same n queries.
        inside: (r, n) bool, whether the reference model was trained on the query.
        """
        ...


class LogisticEnsemble:
    """Log-odds of membership from the scores of several attacks.

    The attacker trained the reference models and knows what each has seen: there, the scores of all
    attacks and the membership are the training data; the result is applied to the victim's scores.
    Each attack gives two features: its score, and its score minus the mean score under (other)
    models that have not seen the query. Scores are centred within each model first and features
    standardised, because scores of two models may lie on different levels.
    regularisation: scikit-learn's C, smaller = stronger.
    """

    inside, outside = 1, 2

    def __init__(self, regularisation: float = 1.0) -> None:
        if regularisation <= 0:
            raise UserError(f"ensemble regularisation={regularisation}: it must be positive")
        self.regularisation = regularisation

    def combine(self, victim: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Log-odds (n,) from victim (a, n), references (a, r, n), inside (r, n)."""
        training = []
        for j in range(len(inside)):
            others = np.arange(len(inside)) != j
            training.append(_features_of(references[:, j], references[:, others], inside[others]))
        model = LogisticRegression(C=self.regularisation, max_iter=1000)
        model.fit(np.concatenate(training), inside.ravel())
        return model.decision_function(_features_of(victim, references, inside))


def _features_of(model: np.ndarray, references: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Standardised features (n, 2 * a) of a model's scores (a, n) beside references (a, r, n)."""
    model, references = (scores - scores.mean(-1, keepdims=True) for scores in (model, references))
    differences = [s - mean_where(r, ~inside) for s, r in zip(model, references, strict=True)]
    features = np.concatenate([model, differences]).T
    return (features - features.mean(0)) / np.maximum(features.std(0), np.finfo(float).tiny)
