"""GS-WGAN: critics that see the records, and a generator that sees only their noised gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from victims.base import Victim
from victims.private import Terms
from victims.training.losses import mixing_draws
from victims.wgan_gp import WGANGP


class GSWGAN(WGANGP):
    """WGAN-GP with several critics, each on its own part of the records; they are never released.

    With dp=on, what passes from a critic to the generator is sanitised, not what passes from
    records to the critic: the gradient at each generated record is clipped and noised. Critics take
    turns: n_critic batches of one part, a generator step, the next part.

    parts: how many critics; each record belongs to one of them, drawn by itself.
    The rest is as for `WGANGP`.

    Source: Chen, Orekondy, Fritz 2020, arXiv 2006.08265, and its published code.
    Deviations: critics in a fixed turn, not drawn; no pretraining of the critics; no labels. The
    accounting is stricter. A record changes its critic arbitrarily, so in its turn it changes all
    of the batch's clipped gradients, each by up to twice the clipping norm. Together they are one
    Gaussian mechanism of sensitivity 2 sqrt(batch), once in `parts` generator steps. The published
    code counts each generated record as a mechanism that draws a critic of its own, though a batch
    has one critic.
    """

    grants = Victim.grants  # the critics are as secret as the records

    reached = ()  # of what is released: it sees no record, and only sanitised gradients

    def __init__(
        self,
        shape: tuple[int, ...],
        critic: Callable[..., nn.Module],
        parts: PositiveInt,
        **wgan_gp: Any,
    ) -> None:
        super().__init__(shape=shape, critic=critic, **wgan_gp)
        self.critics = nn.ModuleList([self.discriminator, *self._more_critics(critic, parts - 1)])
        del self.discriminator
        self.parts = parts

    def _more_critics(self, critic: Callable[..., nn.Module], count: int) -> list[nn.Module]:
        return [critic(shape=self.shape) for _ in range(count)]

    def part(self, batch: int) -> int:
        """Whose turn it is: the part of the records that a batch comes from."""
        return batch // self.n_critic % self.parts

    @property
    def critic(self) -> nn.Module:
        """The critic whose turn it is."""
        return self.critics[self.part(int(self.critic_steps))]

    def make_private(self) -> None:
        """Nothing changes but what passes from critics to the generator."""
        self.register_buffer("private_steps", torch.zeros((), dtype=torch.int64))

    def terms_of_steps(self, size: int) -> Terms:
        """Each record's critic has one turn in `parts` generator steps of n_critic batches."""
        return Terms(1.0, 2 * math.sqrt(self.batch_size), self.parts, self.parts * self.n_critic)

    def configure_optimizers(self) -> list[Optimizer]:
        """One Adam for the critics, moving those that have a gradient; one for the generator."""
        return [
            Adam(network.parameters(), self.learning_rate, betas=self.betas)
            for network in (self.critics, self.generator)
        ]

    def critic_step(self, optimizer: Optimizer | Any, real: Tensor, fake: Tensor) -> None:
        """One step of a critic, without noise; none where its part has no record."""
        if len(real):
            losses = self.critic_losses(real, fake[: len(real)], mixing_draws(real))
            if self.mechanism is not None:  # a stop would tell that such a record is there
                losses = losses[losses.isfinite()]
            if len(losses):
                self.descend(optimizer, losses.mean(), "critic")
        if self.mechanism is not None:
            self.losses.pop("critic", None)  # a number about the records that no noise protects

    def generator_step(self, optimizer: Optimizer | Any) -> None:
        """One generator step down the critic's gradient at each generated record."""
        fake = self.generator(self.prior(self.batch_size))
        seen = fake.detach().requires_grad_()
        critic = self.critics[self.part(int(self.critic_steps) - 1)]  # whose turn has just ended
        (slope,) = torch.autograd.grad(-critic(seen).sum(), seen)
        if self.mechanism is not None:
            slope = self.mechanism.sanitise_gradients(self, slope)
        # A loss whose gradient at each generated record is that slope.
        self.descend(optimizer, (fake * slope).flatten(1).sum(1).mean(), "generator")
