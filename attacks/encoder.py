"""Accessible encoder: how well the victim's own encoder and decoder bring a query back."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from attacks.distances import Compares, Distance
from victims.access import AccessibleEncoder


class EncoderReconstruction(Compares):
    """Score = minus the mean distance to the query over stochastic encode-decode passes.

    Source: Hilprecht, Haerterich, Bernau 2019, PETS (the reconstruction attack on VAEs). Deviation:
    the distance is any of `attacks.distances`; the passes' draws are the same for every query.
    distance: how reconstruction and query are compared.
    draws: how many passes a query gets.
    seed: of what the passes draw.
    """

    access = AccessibleEncoder

    def __init__(self, distance: Distance, draws: PositiveInt, seed: int) -> None:
        self.distance = distance
        self.evaluations = draws
        self.seeds = [int(word) for word in np.random.SeedSequence(seed).generate_state(draws)]

    @torch.no_grad()
    def reconstruct(self, view: AccessibleEncoder, queries: Tensor) -> tuple[np.ndarray, Tensor]:
        """Mean losses (n,) and what the first pass makes of each query (n, *shape)."""
        losses, shown, distance = [], [], self.distance.of(view)
        for block in queries.to(torch.float32).split(view.batch_size):
            block = block.to(view.device)
            targets, total = distance.targets(block), np.zeros(len(block))
            for i, seed in enumerate(self.seeds):
                found = view.reconstruct(block, seed)
                total += distance(targets, found).double().cpu().numpy()
                if i == 0:
                    shown.append(found.cpu())
            losses.append(total / len(self.seeds))
        return np.concatenate(losses), torch.cat(shown)

    def score(self, view: AccessibleEncoder, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> minus the mean reconstruction loss (n,)."""
        return -self.reconstruct(view, queries)[0]
