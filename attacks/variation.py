"""Variations of a record that a diffusion model returns: they lie near it if it is known."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from attacks.base import refuse_level
from victims.access import VariationApi


class ReDiffuse:
    """Score = minus the distance of the record to the mean of its variations.

    Source: Li, Dong, He, Zhang 2025, arXiv 2405.20771: noised to t = 200, denoised in steps of 100,
    the mean of ten variations. Deviations: the distance is Euclidean, where the published figures
    seem to learn one from known members; noises are drawn from the seed and shared by all queries.
    t: level that records are noised to.
    steps: back from it.
    variations: how many are averaged.
    seed: of the noise.
    """

    access = VariationApi

    def __init__(
        self, t: PositiveInt, steps: PositiveInt, variations: PositiveInt, seed: NonNegativeInt
    ) -> None:
        self.t, self.steps = t, steps
        words = np.random.SeedSequence(seed).generate_state(variations)
        self.seeds = [int(word) for word in words]

    def refuse_levels(self, levels: int) -> None:
        """Raise Unsuited where t is not in the schedule."""
        refuse_level(self.t, levels)

    @torch.no_grad()
    def score(self, view: VariationApi, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> minus the distances (n,). Unsuited where t is no level."""
        self.refuse_levels(view.timesteps)
        found = []
        for block in queries.to(torch.float32).split(view.batch_size):
            x = block.to(view.device)
            made = [view.vary(x, self.t, self.steps, seed) for seed in self.seeds]
            found.append((x - torch.stack(made).mean(0)).flatten(1).double().norm(dim=1))
        return -torch.cat(found).cpu().numpy()
