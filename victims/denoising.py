"""What diffusion models of any records share: what attackers may ask of the network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from victims.base import Victim
from victims.gradients import norms_of_gradients
from victims.memo import Memo
from victims.private import Losses


class Denoising(Victim):
    """A victim that learns to tell the noise in noised records, at levels 0 to T - 1.

    A subclass has the network that is released, `average`, and says what it tells and loses.
    """

    grants = (*Victim.grants, "denoise", "signal", "gradient_norms", "levels", "noise_shape")

    average: nn.Module

    def __init__(self, shape: tuple[int, ...], z_dim: int, steps: int, batch_size: int) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        self.denoise = Memo(self.told)

    @property
    @abstractmethod
    def signal(self) -> np.ndarray:
        """The share (T,) of a record's variance that is left at each level, abar in the papers."""

    @property
    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """Of what each record's loss draws."""

    @abstractmethod
    def told(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise that the released network tells in noised records (n, ...) at levels (n,)."""

    @abstractmethod
    def losses_at_levels(
        self, x: Tensor, t: Tensor, noise: Tensor
    ) -> tuple[Losses, tuple[Tensor, ...]]:
        """What gives each record's loss, a mean over m levels, and the batch that it takes.

        The losses are the released network's. x: (n, *shape). t: (n, m). noise: (n, m,
        *noise_shape), standard normal.
        """

    @property
    def timesteps(self) -> int:
        """T, how many noise levels there are."""
        return len(self.signal)

    @property
    def levels(self) -> int:
        """How many noise levels a record's loss has."""
        return self.timesteps

    def freeze_for_release(self) -> Victim:
        """The model as it is given away; what another one answered is forgotten."""
        self.denoise.forget_answers()
        return super().freeze_for_release()

    def gradient_norms(self, x: Tensor, levels: Sequence[int], noise: Tensor) -> Tensor:
        """Norms (n, tensors) of the gradient of each record's loss, a mean over its levels."""
        t = torch.tensor(list(levels), device=self.device).expand(len(x), -1)
        records = x.to(self.device, torch.float32)
        losses, batch = self.losses_at_levels(records, t, noise.to(self.device))
        return norms_of_gradients(self, list(self.average.parameters()), losses, batch)
