"""What every victim is: a LightningModule that trains by steps, samples, and grants views."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from victims.access import (
    AccessibleDiscriminator,
    NoAccess,
    NonFiniteLoss,
    UserError,
    View,
    WhiteBox,
    of_victim,
)

AnyView = TypeVar("AnyView", bound=View)


class Victim(pl.LightningModule):
    """A generative model with a standard normal latent space, trained for a number of steps.

    shape: of one record, (c, h, w) for images in [-1, 1] or (d,) for tables.
    z_dim: dimension of the latent space.
    steps: how many training batches; batch_size: records in each.
    A subclass builds its networks, writes `training_step` and `decode`, and defines
    `discriminate` where it has a discriminator.
    """

    def __init__(self, shape: tuple[int, ...], z_dim: int, steps: int, batch_size: int) -> None:
        super().__init__()
        for name, value in {"z_dim": z_dim, "steps": steps, "batch_size": batch_size}.items():
            if value < 1:
                raise UserError(f"victim.{name}={value}: at least 1 is needed")
        self.automatic_optimization = False
        self.shape, self.z_dim, self.steps, self.batch_size = shape, z_dim, steps, batch_size
        self.losses: dict[str, float] = {}

    # --- what a subclass provides -------------------------------------------------------------

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to records (n, *shape), by the generator that is released."""
        raise NotImplementedError

    # --- training -----------------------------------------------------------------------------

    def prior(self, n: int) -> Tensor:
        """Latent codes (n, z_dim); drawn on the CPU: every device trains on the same ones."""
        return torch.randn(n, self.z_dim).to(self.device)

    def descend(self, optimizer: Optimizer | Any, loss: Tensor, name: str) -> None:
        """One optimiser step down `loss`; raises NonFiniteLoss before it spoils the weights."""
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteLoss(f"the {name} loss became {value}")
        self.losses[name] = value
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        optimizer.step()

    # --- release and access -------------------------------------------------------------------

    def freeze_for_release(self) -> Victim:
        """Evaluation mode without parameter gradients: the model as it is given away."""
        self.eval()
        self.requires_grad_(False)
        return self

    @torch.no_grad()
    def generate(self, z: Tensor) -> Tensor:
        """Records (n, *shape) for latent codes (n, z_dim), float32, detached."""
        return self.decode(z.to(self.device, torch.float32))

    def grants(self) -> dict[str, Any]:
        """Every part that a view may ask for by the name of its field."""
        return {
            "device": self.device,
            "generate": self.generate,
            "differentiate": lambda z: self.decode(z.to(self.device, torch.float32)),
        }

    @classmethod
    def offers(cls) -> tuple[type[View], ...]:
        """The largest views that a victim of this class can grant."""
        return (WhiteBox,)

    def view(
        self,
        access: type[AnyView],
        released: np.ndarray,
        codes: np.ndarray,
        batch_size: int,
        **auxiliary: np.ndarray,
    ) -> AnyView:
        """Grant a view: exactly the fields of `access`, nothing else.

        released: (k, *shape) and codes: (k, z_dim), the bank of generated samples.
        auxiliary: the fields that the attacker brings along, for a view that has such.
        Raises NoAccess where this victim has no such part.
        """
        self.refuse_unless_offered(access)
        parts = {**self.grants(), "released": released, "codes": codes, "batch_size": batch_size}
        parts |= auxiliary
        return access(**{field.name: parts[field.name] for field in fields(access)})

    @classmethod
    def can_grant(cls, access: type[View]) -> bool:
        """Whether victims of this class have what `access` shows."""
        return any(issubclass(offered, of_victim(access)) for offered in cls.offers())

    @classmethod
    def refuse_unless_offered(cls, access: type[View]) -> None:
        """Raise NoAccess unless victims of this class can grant `access`."""
        if not cls.can_grant(access):
            raise NoAccess(f"a {cls.__name__} has no {of_victim(access).__name__}")


class Adversarial(Victim):
    """A victim with a `discriminator`: (n, *shape) -> (n,), larger = more real."""

    discriminator: nn.Module

    @torch.no_grad()
    def discriminate(self, x: Tensor) -> Tensor:
        """The discriminator's output (n,) before any sigmoid: distinct scores stay distinct."""
        return self.discriminator(x.to(self.device, torch.float32))

    def grants(self) -> dict[str, Any]:
        """The generator's parts and the discriminator."""
        return {**super().grants(), "discriminate": self.discriminate}

    @classmethod
    def offers(cls) -> tuple[type[View], ...]:
        """The generator's chain and the discriminator."""
        return (*super().offers(), AccessibleDiscriminator)
