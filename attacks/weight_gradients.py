"""Weight gradients: members' losses are flat in the weights; reference models may tell how flat."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from attacks.base import Learns, Learnt, features_on_shadows, refuse_level
from attacks.denoising import refuse_levels
from attacks.noise import own_noise
from victims.access import (
    DenoiserWithGradients,
    DenoiserWithGradientsAndShadows,
    Gradients,
    WeightGradientsWithShadows,
)
from victims.errors import UserError

TINY = 1e-30


class GSA(Learns):
    """Score = log-odds of membership from the gradient norms of a record's loss, tensor by tensor.

    Learnt on reference models ("shadow models") whose members are known, and applied to the victim.
    Source: Pang, Wang, Kang, Huai, Zhang 2025, PoPETs, arXiv 2308.06405: ten even levels, a noise
    for each, as its public code draws them. Deviations: noise is drawn from seed and record; a
    logistic regression on logarithms of the norms, instead of 200 boosted trees; features are
    standardised by the reference models' records alone, where the public code uses the queries',
    so that a score depended on its company; other victims than diffusion models have one level.
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
        return fit_regression(found, labels, self.regularisation)

    def judge(
        self, learnt: Learnt, view: WeightGradientsWithShadows, queries: Tensor
    ) -> np.ndarray:
        """Queries (n, *shape) -> log-odds (n,)."""
        return log_odds(learnt, self.measure_log_norms(view, view.gradient_norms, queries))

    def measure_log_norms(
        self, view: WeightGradientsWithShadows, norms: Gradients, records: Tensor
    ) -> np.ndarray:
        """Logarithms of the norms, (n, tensors) float64."""
        count = min(self.levels, view.levels)
        levels = [view.levels * (i + 1) // count - 1 for i in range(count)]
        questions = [levels] if self.variant == 1 else [[level] for level in levels]
        found = []
        for block in records.to(torch.float32).split(view.batch_size):
            noise = own_noise(block, self.seed, shape=(count, *view.noise_shape))
            parts = noise.split([len(question) for question in questions], 1)
            asked = [norms(block, *both).double() for both in zip(questions, parts, strict=True)]
            found.append(torch.stack(asked).mean(0).clamp(min=TINY).log().cpu())
        return torch.cat(found).numpy()


def fit_regression(features: np.ndarray, labels: np.ndarray, regularisation: float) -> Learnt:
    """A logistic regression on features (n, k), standardised by themselves, of labels (n,)."""
    mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-9)
    model = LogisticRegression(C=regularisation, max_iter=5000)
    model.fit((features - mean) / deviation, labels)
    own = {"mean": mean, "deviation": deviation, "weights": model.coef_[0]}
    return own | {"intercept": np.array(model.intercept_, np.float64)}


def log_odds(learnt: Learnt, features: np.ndarray) -> np.ndarray:
    """What `fit_regression` found says of features (n, k): log-odds (n,)."""
    scaled = (features - learnt["mean"]) / learnt["deviation"]
    return scaled @ learnt["weights"] + learnt["intercept"][0]


class PIAGradient:
    """Score = minus the mean logarithm of the gradient's norms, of PIA's loss, tensor by tensor.

    PIA's loss is a record's own training loss with the noise that the network itself tells in the
    clean record at level 0. So nothing is drawn, and no reference model is needed. Each tensor of
    weights counts alike, however many numbers it has and however large its gradients are.
    Source: this benchmark. The noise is that of PIA (Kong et al. 2024, arXiv 2305.18355), the norms
    are those of GSA (Pang et al. 2025, arXiv 2308.06405). Deviations: the loss is the training
    loss, a squared error, where PIA takes the 4-norm; half of PIA's level; one level and no
    classifier, where GSA takes ten levels, a random noise and reference models.
    t: the level. results/README.md says on which victims its default was chosen.
    """

    access = DenoiserWithGradients

    def __init__(self, t: PositiveInt) -> None:
        self.t = t

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Images only, see `refuse_tables`."""
        refuse_tables("pia_gradient", shape)

    def refuse_levels(self, levels: int) -> None:
        """Raise Unsuited where t is not in the schedule."""
        refuse_level(self.t, levels)

    def score(self, view: DenoiserWithGradients, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> (n,); a question and a gradient each. Unsuited: t is no level."""
        self.refuse_levels(view.timesteps)
        return -measure_with_told_noise(view, [self.t], queries).mean(1)


class PIAGradientWithShadows(Learns):
    """Score = log-odds of membership from the norms of the gradient of PIA's loss.

    As `PIAGradient`, at several levels, with what norms mean learnt on reference models as in
    `GSA`. Source: this benchmark.
    t: levels, each with norms of its own.
    regularisation: scikit-learn's C, smaller = stronger.
    """

    access = DenoiserWithGradientsAndShadows

    def __init__(self, t: Sequence[PositiveInt], regularisation: PositiveFloat) -> None:
        refuse_levels(t)
        self.levels, self.regularisation = tuple(t), regularisation

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Images only, see `refuse_tables`."""
        refuse_tables("pia_gradient_shadows", shape)

    def refuse_levels(self, levels: int) -> None:
        """Raise Unsuited where the highest level is not in the schedule."""
        refuse_level(max(self.levels), levels)

    def learn(self, view: DenoiserWithGradientsAndShadows, work: Path) -> Learnt:
        """Weights of the regression, and what features are standardised by."""
        self.refuse_levels(view.timesteps)
        found, labels = features_on_shadows(
            view.shadows, lambda own: partial(measure_with_told_noise, own.view, self.levels)
        )
        return fit_regression(found, labels, self.regularisation)

    def judge(
        self, learnt: Learnt, view: DenoiserWithGradientsAndShadows, queries: Tensor
    ) -> np.ndarray:
        """Queries (n, *shape) -> log-odds (n,)."""
        return log_odds(learnt, measure_with_told_noise(view, self.levels, queries))


def measure_with_told_noise(
    view: DenoiserWithGradients, levels: Sequence[int], records: Tensor
) -> np.ndarray:
    """Logarithms of the norms (n, levels x tensors), with the noise told in the clean records."""
    found = []
    for part in records.to(torch.float32).split(view.batch_size):
        x = part.to(view.device)
        told = view.denoise(x, torch.zeros(len(x), dtype=torch.int64, device=x.device))
        norms = torch.cat([view.gradient_norms(x, [t], told[:, None]) for t in levels], 1).double()
        found.append(norms.clamp(min=TINY).log().cpu())
    return torch.cat(found).numpy()


def refuse_tables(name: str, shape: tuple[int, ...]) -> None:
    """Raise UserError for rows of a table: no network tells the noise that redraws its levels."""
    if len(shape) != 3:
        raise UserError(
            f"attack={name} is for images: it asks the network for all noise, and categories of a "
            "table are redrawn by noise that no network tells; use gsa"
        )
