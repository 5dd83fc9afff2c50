"""Quantile regression: does a record score above what records like it have as strangers?"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from sklearn.linear_model import QuantileRegressor
from torch import Tensor

from victims.errors import UserError

TIED = 1e-7
"""Of scores' usual spread: what lies closer to its quantile lies on it. The solver is no finer."""


class Strangers(NamedTuple):
    """Records that the victim certainly never saw: raw scores (m,) and features (m, k)."""

    scores: np.ndarray
    features: np.ndarray


class Judged(NamedTuple):
    """Scores (n,), above 0 where the attacker says member; and on how many of the strangers that
    taught nothing it says so: the false alarms that were realised."""

    scores: np.ndarray
    alarms: int
    strangers: int


def describe_records(images: Tensor) -> np.ndarray:
    """Brightness, contrast and roughness (n, 3) float64 of images (n, c, h, w).

    The mean, the standard deviation, and the mean difference between neighbouring pixels.
    """
    x = images.double()
    steps = [x.diff(dim=side).abs().flatten(1).mean(1) for side in (2, 3)]
    flat = x.flatten(1)
    found = [flat.mean(1), flat.std(1, correction=0), steps[0] + steps[1]]
    return torch.stack(found, 1).cpu().numpy()


class Quantile:
    """How far a record's score lies above its own quantile, that of strangers with its features.

    The attacker has no reference models, only records that surely are not members. Every second
    one teaches the quantile: a linear function of the features that minimises the pinball loss. The
    others tell how often a stranger lies above it. That is the false positive rate, and mostly
    more than alpha. A score does not depend on the other queries.
    alpha: share of strangers that should lie above their quantile.
    Raises UserError where there are too few strangers for alpha.
    Source: Tang, Wu, Aydore, Kearns, Roth 2023, arXiv 2312.05140 (diffusion models); Bertran,
    Tang, Kearns, Morgenstern, Roth, Wu 2023, arXiv 2307.03694. Deviations: a line through few
    features, where they train bags of networks on tens of thousands of records; the distance to the
    quantile is the score, where they count votes.
    """

    def __init__(self, alpha: Annotated[float, Field(gt=0, le=0.5)]) -> None:
        self.alpha = alpha

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError for rows of a table."""
        if len(shape) != 3:
            raise UserError(
                "calibration=quantile describes images by brightness, contrast and roughness; "
                "these records are rows of a table"
            )

    def refuse_few(self, strangers: int) -> None:
        """Raise UserError where less than one of a half is expected above its quantile."""
        needed = int(np.ceil(2 / self.alpha))
        if strangers < needed:
            raise UserError(
                f"calibration.quantile.alpha={self.alpha:g} needs {needed} records of the "
                f"attacker's, split.reference={strangers}; raise one of the two"
            )

    def judge(self, scores: np.ndarray, features: np.ndarray, strangers: Strangers) -> Judged:
        """Queries' scores (n,) and features (n, k) -> scores, and false alarms among strangers."""
        self.refuse_few(len(strangers.scores))
        teaches = np.arange(len(strangers.scores)) % 2 == 0
        known = strangers.features[teaches]
        centre, spread = known.mean(0), np.maximum(known.std(0), 1e-9)
        level, unit = _middle_and_spread(strangers.scores[teaches])
        model = QuantileRegressor(quantile=1 - self.alpha, alpha=0.0)
        model.fit((known - centre) / spread, (strangers.scores[teaches] - level) / unit)

        def above(scores: np.ndarray, features: np.ndarray) -> np.ndarray:
            found = (scores - level) / unit - model.predict((features - centre) / spread)
            return unit * np.where(np.abs(found) <= TIED, 0.0, found)

        held_out = above(strangers.scores[~teaches], strangers.features[~teaches])
        return Judged(above(scores, features), int((held_out > 0).sum()), len(held_out))


def _middle_and_spread(scores: np.ndarray) -> tuple[float, float]:
    """The median of scores (n,), and how far they usually lie from one another, never 0.

    A few that lie far off count for nothing: beside them all others would be one to the solver.
    """
    low, middle, high = np.quantile(scores, (0.25, 0.5, 0.75), method="inverted_cdf")
    return float(middle), float((high - low) or (scores - middle).std() or 1.0)


def only_by_models(setting: str, calibrations: dict[str, Any]) -> dict[str, Any]:
    """The same; raises UserError where one is by quantiles: audits score no reference records."""
    for name, calibration in calibrations.items():
        if isinstance(calibration, Quantile):
            raise UserError(f"{setting}={name}: it calibrates attacks of jobs; choose another")
    return calibrations
