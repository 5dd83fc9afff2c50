"""DP-GAN: a Wasserstein GAN with clipped weights, made to be trained with noise in the critic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from victims.wgan_gp import WGANGP


class DPGAN(WGANGP):
    """Wasserstein GAN whose critic's weights are clipped; with dp=on its gradients are noised.

    With dp=off it is the WGAN that it becomes without noise.

    n_critic: critic steps to one of the generator.
    weight_limit: the critic's weights are kept in [-weight_limit, weight_limit].
    learning_rate: RMSprop's.
    The rest is as for `WGANGP`, without penalty.

    Source: Xie, Lin, Wang, Wang, Zhou 2018, arXiv 1802.06739, on the WGAN of Arjovsky, Chintala,
    Bottou 2017, arXiv 1701.07875; rates and limits as in the code published with the former.
    Deviations: the source infers a bound on gradients from that on the weights, and its code noises
    gradients that nothing bounds. Here each record's gradient is clipped (dp.max_grad_norm), as the
    accountant assumes, and all parameters are noised. There are no extra critic steps at the
    beginning, and no L1 regularisation.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        generator: Callable[..., nn.Module],
        critic: Callable[..., nn.Module],
        z_dim: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        n_critic: PositiveInt,
        weight_limit: PositiveFloat,
        learning_rate: PositiveFloat,
    ) -> None:
        super().__init__(
            shape=shape,
            generator=generator,
            critic=critic,
            z_dim=z_dim,
            steps=steps,
            batch_size=batch_size,
            n_critic=n_critic,
            penalty=0.0,
            learning_rate=learning_rate,
            beta1=0.0,
            beta2=0.0,
        )
        self.weight_limit = weight_limit

    def configure_optimizers(self) -> list[Optimizer]:
        """One RMSprop for each network: critic, generator."""
        return [
            RMSprop(network.parameters(), self.learning_rate)
            for network in (self.discriminator, self.generator)
        ]

    def critic_step(self, optimizer: Optimizer | Any, real: Tensor, fake: Tensor) -> None:
        """One critic step on pairs of records (n, *shape), and its weights back into their limits.

        Weights are private after their noise, so clipping them costs nothing.
        """
        self.learn(optimizer, self.paired_losses, (real, fake), "critic")
        with torch.no_grad():
            for weight in self.discriminator.parameters():
                weight.clamp_(-self.weight_limit, self.weight_limit)

    def paired_losses(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss (n,) for each real record and its generated one."""
        return self.discriminator(fake) - self.discriminator(real)
