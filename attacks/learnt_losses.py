"""Losses of a denoiser at fixed noises: what they say of members, learnt on other models."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor

from attacks.base import Learns, Learnt, features_on_shadows, refuse_level
from attacks.denoising import Denoiser, losses_at, refuse_levels
from victims.access import AccessibleDenoiser, AccessibleDenoiserWithShadows

TINY = 1e-12


class LearntLosses(Learns):
    """Tartan Federer: score = log-odds of membership from many losses of a record.

    Each loss is the mean squared error of the noise that the denoiser tells, at a level, for a
    noise that all records share. A small network learns on reference models with known members
    which losses members have. Records pass through each model's own transform.
    t: levels.
    noises: how many noises, drawn once by the seed; each is put in at each level.
    hidden: units of the layers of the network that learns.
    epochs: passes over all records, each of which is one step of Adam.
    learning_rate: Adam's.
    regularisation: weight of the squared weights.
    seed: of noises and weights.
    Source: Wu, Pang, Liu, Wu 2025, arXiv 2503.12008, first of the challenge MIDST in its white box
    of one table, and its code: 300 noises at levels 5, 10, 20, 30, 40, 50 and 100, two layers
    of 200 units, 5 000 epochs.
    Deviations: logarithms of losses, standardised by the reference models' records; the source
    stretches predictions by the queries of a model, so that a score depends on its company. The
    number of epochs is a setting, not chosen on further models. Levels of categories, which the
    source's model knows as numbers, are given to the denoiser as they are.
    """

    access = AccessibleDenoiserWithShadows

    def __init__(
        self,
        t: Sequence[int],
        noises: PositiveInt,
        hidden: Sequence[PositiveInt],
        epochs: PositiveInt,
        learning_rate: PositiveFloat,
        regularisation: NonNegativeFloat,
        seed: NonNegativeInt,
    ) -> None:
        refuse_levels(t)
        self.levels, self.noises, self.hidden, self.seed = tuple(t), noises, tuple(hidden), seed
        self.training = {"max_iter": epochs, "learning_rate_init": learning_rate}
        self.training |= {"alpha": regularisation}

    def refuse_levels(self, levels: int) -> None:
        """Raise Unsuited where the highest level is not in the schedule."""
        refuse_level(max(self.levels), levels)

    def learn(self, view: AccessibleDenoiserWithShadows, work: Path) -> Learnt:
        """What losses are standardised by, and the network's weights."""
        features, labels = features_on_shadows(
            view.shadows, lambda own: partial(self.measure_log_losses, own.view)
        )
        mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-9)
        model = MLPClassifier(
            self.hidden,
            activation="tanh",
            batch_size=len(features),
            tol=0.0,
            random_state=self.seed % 2**32,
            n_iter_no_change=self.training["max_iter"],
            **self.training,
        )
        with warnings.catch_warnings():  # it takes the epochs that it is given
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit((features - mean) / deviation, labels)
        learnt = {"mean": mean, "deviation": deviation}
        for i, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            learnt |= {f"weights.{i}": weights, f"bias.{i}": bias}
        return learnt

    def judge(
        self, learnt: Learnt, view: AccessibleDenoiserWithShadows, queries: Tensor
    ) -> np.ndarray:
        """Queries (n, *shape) -> log-odds (n,)."""
        x = (self.measure_log_losses(view, queries) - learnt["mean"]) / learnt["deviation"]
        last = len(self.hidden)
        for i in range(last):
            x = np.tanh(x @ learnt[f"weights.{i}"] + learnt[f"bias.{i}"])
        return (x @ learnt[f"weights.{last}"] + learnt[f"bias.{last}"])[:, 0]

    @torch.no_grad()
    def measure_log_losses(self, view: AccessibleDenoiser, records: Tensor) -> np.ndarray:
        """Logarithms of the losses (n, noises x levels) of records (n, *shape), float64."""
        self.refuse_levels(view.timesteps)
        found = []
        for part in records.to(torch.float32).split(view.batch_size):
            block = part.to(view.device)
            x, denoiser = view.encode(block), Denoiser(view, block)
            drawn = torch.Generator().manual_seed(self.seed)
            own = []
            for noise in torch.randn(self.noises, *x.shape[1:], generator=drawn).to(x):
                own += [losses_at(denoiser, x, noise.expand(x.shape), t) for t in self.levels]
            found.append(torch.stack(own, 1).double() / x[0].numel())
        return torch.cat(found).clamp(min=TINY).log().cpu().numpy()
