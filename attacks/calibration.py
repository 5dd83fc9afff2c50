"""Calibration: compare a query's score under the victim with its scores under reference models.

A calibration wraps any attack without touching it: the raw scores under the victim and under each
reference model are computed (and stored) once, and combined here.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Calibration(Protocol):
    """Turns raw scores under the victim and under reference models into calibrated scores."""

    def combine(self, victim: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Victim (n,), references (r, n) -> (n,) float64, larger = more likely a member."""
        ...


class Difference:
    """Score under the victim minus the mean score under the reference models.

    Source: Chen, Yu, Zhang, Fritz 2020, arXiv 1909.03935, section 5: minus the calibrated loss
    L(x, R(x|G_victim)) - L(x, R(x|G_reference)). Deviation: of several reference models, the mean.
    """

    def combine(self, victim: np.ndarray, references: np.ndarray) -> np.ndarray:
        """Victim (n,), references (r, n) -> (n,)."""
        return victim - references.mean(0)
