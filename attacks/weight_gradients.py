"""Weight gradients: members' losses are flat in the weights, and reference models tell how flat."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from attacks.base import Learns, Learnt, features_on_shadows
from attacks.noise import own_noise
from victims.access import Gradients, WeightGradientsWithShadows

TINY = 1e-30


class GSA(Learns):
    """Score = log-odds of membership from the gradient norms of a record's loss, tensor by tensor.

    Learnt on reference models ("shadow models") whose members are known, and applied to the victim.
    Source: Pang, Wang, Kang, Huai, Zhang 2025, PoPETs, arXiv 2308.06405: ten even levels, one noise
    a record. Deviations: a logistic regression on logarithms of the norms, instead of 200 boosted
    trees; features are standardised by the reference models' records alone, where the public code
    uses the queries', so that a score depended on its company; other victims than diffusion models
    have one level.
    variant: 1 (GSA1) takes the norms of the gradient of the mean loss over levels; 2 (GSA2) takes
        the mean of the norms at each.
    levels: how many.
    regularisation: scikit-learn's C, smaller = stronger.
    seed: of the noise.
    """

    access = WeightGradientsWithShadows

    def __init__(
        self,
        variant: Literal[1, 2],
        levels: PositiveInt,
        regularisation: PositiveFloat,
        seed: NonNegativeInt,
    ) -> None:
        self.variant, self.levels = variant, levels
        self.regularisation, self.seed = regularisation, seed

    def learn(self, view: WeightGradientsWithShadows, work: Path) -> Learnt:
        """Weights of the regression, and what features are standardised by."""
        found, labels = features_on_shadows(
            view.shadows, lambda own: partial(self.measure_log_norms, view, own.view.gradient_norms)
        )
        mean, deviation = found.mean(0), np.maximum(found.std(0), 1e-9)
        model = LogisticRegression(C=self.regularisation, max_iter=5000)
        model.fit((found - mean) / deviation, labels)
        own = {"mean": mean, "deviation": deviation, "weights": model.coef_[0]}
        return own | {"intercept": np.array(model.intercept_, np.float64)}

    def judge(
        self, learnt: Learnt, view: WeightGradientsWithShadows, queries: Tensor
    ) -> np.ndarray:
        """Queries (n, *shape) -> log-odds (n,)."""
        features = self.measure_log_norms(view, view.gradient_norms, queries)
        scaled = (features - learnt["mean"]) / learnt["deviation"]
        return scaled @ learnt["weights"] + learnt["intercept"][0]

    def measure_log_norms(
        self, view: WeightGradientsWithShadows, norms: Gradients, records: Tensor
    ) -> np.ndarray:
        """Logarithms of the norms, (n, tensors) float64."""
        count = min(self.levels, view.levels)
        levels = [view.levels * (i + 1) // count - 1 for i in range(count)]
        questions = [levels] if self.variant == 1 else [[level] for level in levels]
        found = []
        for block in records.to(torch.float32).split(view.batch_size):
            noise = own_noise(block, self.seed, shape=view.noise_shape)
            asked = [norms(block, question, noise).double() for question in questions]
            found.append(torch.stack(asked).mean(0).clamp(min=TINY).log().cpu())
        return torch.cat(found).numpy()
