"""What every victim is: a LightningModule that trains by steps, samples, and grants views."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer

from victims.access import AnyView, View, grant_view, of_victim, parts_of_view, setting_of
from victims.errors import NoAccess, NonFiniteLoss, UserError
from victims.planted import GradientCanaries
from victims.private import Mechanism, Terms, make_independent
from victims.training.batches import Batches, Records

BANK = ("device", "batch_size", "released", "codes")
"""Parts of views that every victim has."""

Momentum = Annotated[float, Field(ge=0, lt=1)]
"""What an optimiser keeps of its mean gradient at each step."""


class Victim(pl.LightningModule):
    """A generative model with a standard normal latent space, trained for a number of steps.

    A subclass builds its networks, writes `training_step` and `decode`, and defines `discriminate`
    where it has a discriminator. For private training a subclass also says which networks real
    records reach, gives `learn` one loss a record, and lets nothing else depend on them: not on how
    many are in a batch either.

    shape: of one record, (c, h, w) for images in [-1, 1] or (d,) for tables.
    z_dim: dimension of the latent space.
    steps: how many training batches.
    batch_size: records in each batch.
    """

    family: ClassVar[str] = ""
    """Victims of one family share their objective and how they are trained, and differ in networks
    and settings: findings do not take them for independent. "" = a family of its own.
    """

    reached: ClassVar[tuple[str, ...]] = ()
    """Names of the networks that see a real record or a gradient that comes from one."""

    queries: ClassVar[int] = 1
    """How often `training_step` calls `learn` on one batch."""

    grants: ClassVar[tuple[str, ...]] = ("generate", "differentiate")
    """The parts that attackers may be shown, beside samples and their codes: names of methods that
    are fields of views. A victim grants every view whose parts it has.
    """

    parts: int = 1
    """Disjoint parts of the training records, of which each batch comes from one, see `part`."""

    private_steps: Tensor
    """How often `learn` has spent from the privacy budget; a buffer, only after `make_private`."""

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.shape, self.z_dim, self.steps, self.batch_size = shape, z_dim, steps, batch_size
        self.losses: dict[str, float] = {}
        self.mechanism: Mechanism | None = None
        self.canaries: GradientCanaries | None = None

    # --- what a subclass provides -------------------------------------------------------------

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to records (n, *shape), by the generator that is released."""
        raise NotImplementedError

    def begin(self, records: Records, size: int, seed: int) -> None:
        """Look at the training records before the first step; what is learnt stands in buffers.

        Not called for private training, nor where training goes on from a checkpoint.
        """

    def batches(
        self, records: Records, size: int, first: int, last: int, seed: int
    ) -> Batches | None:
        """Batches `first` to `last` of a victim that draws its own, or None for the usual ones."""
        return None

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

    def learn(
        self,
        optimizer: Optimizer | Any,
        losses: Callable[..., Tensor],
        batch: tuple[Tensor, ...],
        name: str,
        made: tuple[Tensor, ...] = (),
    ) -> None:
        """One step of a network that real records reach, down the mean of their losses.

        losses: (*batch) -> (n,), where row i depends on row i of each tensor of the batch alone, at
        least after `make_private`. made: what the caller has computed from the whole batch already,
        handed to `losses` as further arguments; private training computes it anew, per record.
        Private training clips each record's gradient and adds noise, and notes no loss: it would be
        a number about the records that no noise protects. Raises NonFiniteLoss where a weight is no
        longer finite; in private training only then, which the noised weights tell anyway.
        """
        if self.mechanism is None:
            self.descend(optimizer, losses(*batch, *made).mean(), name)
            return
        self.mechanism.take_step(self, optimizer, losses, batch)
        if not all(weight.isfinite().all() for weight in self.parameters()):
            raise NonFiniteLoss(f"weights became infinite or not a number ({name})")

    def note(self, **losses: Tensor) -> None:
        """Keep the means of parts of a loss (n,) for the loss curve; not in private training."""
        if self.mechanism is None:
            self.losses |= {name: loss.mean().item() for name, loss in losses.items()}

    def partners(self, fake: Tensor, real: Tensor) -> Tensor:
        """A generated record of `fake` (m, *shape) for each real one (n, *shape), independently.

        In private training n is secret: what is generated must not depend on it, so m is fixed, and
        each record draws its partner by itself, as a record alone in the batch would.
        """
        return fake if self.mechanism is None else fake[torch.randint(len(fake), (len(real),))]

    def make_private(self) -> None:
        """Become the version for private training; before weights are trained or loaded.

        Networks that real records reach treat each by itself: group instead of batch normalisation.
        Raises UserError for a victim that cannot be trained privately.
        """
        if not self.reached:
            raise UserError("dp=on: this model cannot be trained privately; use dp=off")
        for name in self.reached:
            setattr(self, name, make_independent(getattr(self, name)))
        self.register_buffer("private_steps", torch.zeros((), dtype=torch.int64))

    def terms_of_steps(self, size: int) -> Terms:
        """How private steps on `size` training records add up.

        Those on one batch see the same records: if one is drawn, all of them leak. So they are one
        exposure, drawn once and sqrt(queries) times as sensitive (Gaussian mechanisms compose to
        one), never exposures that each draw a batch of their own.
        """
        return Terms(self.batch_size / size, math.sqrt(self.queries), self.queries, 1)

    def part(self, batch: int) -> int:
        """Which of the `parts` of the training records a batch comes from."""
        return 0

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

    def differentiate(self, z: Tensor) -> Tensor:
        """As `generate`, part of the autograd graph of z."""
        return self.decode(z.to(self.device, torch.float32))

    def emit(self, codes: Tensor, start: int) -> Tensor:
        """Outputs (n, *shape) for codes (n, z_dim), numbers `start` on of the released samples."""
        return self.generate(codes)

    def refuse_bank(self, size: int) -> None:
        """Raise UserError where so many samples cannot be released, before it is trained."""

    def publish(self, outputs: Tensor, chances: Tensor) -> Tensor:
        """Records (n, d) of a table, as they are given away, from what `decode` puts out (n, d).

        chances: (n, d) uniform in [0, 1), for a victim that draws. Afterwards whole-number columns
        are rounded, so most victims leave this as it is.
        """
        return outputs

    def view(
        self,
        access: type[AnyView],
        released: np.ndarray,
        codes: np.ndarray,
        batch_size: int,
        **auxiliary: Any,
    ) -> AnyView:
        """Grant a view: exactly the fields of `access`, nothing else.

        released: (k, *shape) and codes: (k, z_dim), the bank of generated samples.
        auxiliary: the fields that the attacker brings along, for a view that has such.
        Raises NoAccess where this victim has no such part.
        """
        self.refuse_unless_offered(access)
        parts = {name: getattr(self, name) for name in ("device", *self.grants)}
        bank = {"released": released, "codes": codes, "batch_size": batch_size}
        return grant_view(parts | bank | auxiliary, access)

    @classmethod
    def can_grant(cls, access: type[View]) -> bool:
        """Whether victims of this class have what `access` shows."""
        return {*parts_of_view(of_victim(access))} <= {*BANK, *cls.grants}

    @classmethod
    def refuse_unless_offered(cls, access: type[View]) -> None:
        """Raise NoAccess unless victims of this class can grant `access`."""
        if not cls.can_grant(access):
            raise NoAccess(f"the victim does not grant {setting_of(of_victim(access))}")


class Adversarial(Victim):
    """A victim with a `discriminator`: (n, *shape) -> (n,), larger = more real."""

    discriminator: nn.Module

    grants = (*Victim.grants, "discriminate")

    @torch.no_grad()
    def discriminate(self, x: Tensor) -> Tensor:
        """The discriminator's output (n,) before any sigmoid: distinct scores stay distinct."""
        return self.discriminator(x.to(self.device, torch.float32))
