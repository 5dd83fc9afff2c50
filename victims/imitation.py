"""A diffusion model that an attacker trains on what a victim released."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pydantic import NonNegativeInt
from torch import Tensor

from victims.access import AccessibleDenoiser
from victims.base import Victim
from victims.schema import Schema
from victims.training.train import Training, fit_victim

NOTHING = np.zeros((1, 1), np.float32)
"""The bank of a model that releases nothing."""


class Imitator:
    """Trains a diffusion model on released records, and shows its denoiser.

    model: makes an untrained victim of given shape and schema.
    seed: of its weights, batches and noise.
    """

    def __init__(self, model: Callable[..., Victim], seed: NonNegativeInt) -> None:
        self.model, self.seed = model, seed

    def train(
        self, released: np.ndarray, schema: Schema | None, device: torch.device, work: Path
    ) -> dict[str, np.ndarray]:
        """The weights after training on records (n, *shape); goes on from what is in `work`."""
        victim = self._untrained(released.shape[1:], schema)

        def records(rows: np.ndarray) -> Tensor:
            return torch.from_numpy(np.array(released[rows], np.float32))

        fit_victim(
            victim,
            records,
            size=len(released),
            folder=work,
            work=work,
            seed=self.seed,
            training=Training("cpu" if device.type == "cpu" else "gpu"),
            title="surrogate",
        )
        return {name: value.cpu().numpy() for name, value in victim.state_dict().items()}

    def show(
        self,
        weights: dict[str, np.ndarray],
        shape: tuple[int, ...],
        schema: Schema | None,
        device: torch.device,
        batch_size: int,
    ) -> AccessibleDenoiser:
        """The denoiser of these weights, for records of this shape."""
        victim = self._untrained(shape, schema)
        victim.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        victim.freeze_for_release().to(device)
        return victim.view(AccessibleDenoiser, NOTHING, NOTHING, batch_size)

    def _untrained(self, shape: tuple[int, ...], schema: Schema | None) -> Victim:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.model(shape=tuple(shape), schema=schema)
