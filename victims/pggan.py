"""PGGAN: a GAN that grows from 4x4 images to the full resolution while it trains."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.optim import Adam, Optimizer

from victims.base import Adversarial, Momentum
from victims.errors import UserError
from victims.networks import stages_of
from victims.progressive import (
    GrowingCritic,
    GrowingGenerator,
    NoDeviation,
    double_side,
    halve_side,
)
from victims.training.ema import follow_model, make_average
from victims.training.losses import gradient_penalty, mixing_draws

Critic = Callable[[Tensor], Tensor]


class PGGAN(Adversarial):
    """Progressively grown GAN with the WGAN-GP loss; the generator's moving average is released.

    Training starts with 4x4 images. After `stable_images` of them the next resolution is faded in
    over `fade_images`, trained for `stable_images`, and so on. The full resolution is trained for
    whatever is left of the steps * batch_size images.

    width: channels next to the full-size image, doubled at each halving of the side.
    max_channels: channels at any stage, at most.
    stable_images: images for which a stage is trained before the next.
    fade_images: images over which a stage is faded in.
    decay: of the generator's moving average, at each step.
    penalty: weight of the gradient penalty in the critic's loss.
    drift: weight of the critic's squared output on real records, in its loss.
    learning_rate: Adam's.
    beta1, beta2: Adam's, in [0, 1).
    Raises UserError where the steps do not suffice to reach the full resolution.

    Source: Karras, Aila, Laine, Lehtinen 2018, arXiv 1710.10196: penalty 10, drift 0.001, Adam 1e-3
    with betas (0, 0.99), average 0.999, one critic step per generator step.
    Deviations: one batch size at all resolutions. Adam's moments are kept when a stage begins. The
    latent code is not normalised (nor is it in the attacks' paper). Released images are clipped to
    [-1, 1]. In evaluation the minibatch deviation is the training records' typical one, so that a
    record's score does not depend on the others in its batch.
    """

    family = "PGGAN"

    reached = ("discriminator",)
    discriminator: GrowingCritic
    images_shown: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        width: PositiveInt,
        max_channels: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        stable_images: PositiveInt,
        fade_images: PositiveInt,
        decay: float,
        penalty: float,
        drift: float,
        learning_rate: PositiveFloat,
        beta1: Momentum,
        beta2: float,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        self.top = stages_of(shape)
        self.stable_images, self.fade_images = stable_images, fade_images
        self._refuse_a_schedule_too_long()
        self.generator = GrowingGenerator(shape, z_dim, width, max_channels)
        self.discriminator = GrowingCritic(shape, width, max_channels)
        self.average = make_average(self.generator)
        self.decay, self.penalty, self.drift = decay, penalty, drift
        self.learning_rate, self.betas = learning_rate, (beta1, beta2)
        # A buffer: stage and fade follow from it, also when training is resumed.
        self.register_buffer("images_shown", torch.zeros((), dtype=torch.int64))

    def make_private(self) -> None:
        """The critic without minibatch deviation: it would judge a record by the others too."""
        super().make_private()
        self.discriminator.deviation = NoDeviation()

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to images (n, c, h, w) at full resolution."""
        return self.average(z).clamp(-1.0, 1.0)

    def configure_optimizers(self) -> list[Optimizer]:
        """One Adam for each network: critic, generator."""
        return [
            Adam(network.parameters(), self.learning_rate, betas=self.betas)
            for network in (self.discriminator, self.generator)
        ]

    def growth_after(self, shown: int) -> tuple[int, float]:
        """Stage (0 is 4x4) and share in [0, 1] of its newest layers after `shown` images."""
        if shown < self.stable_images:
            return 0, 1.0
        period = self.fade_images + self.stable_images
        grown, within = divmod(shown - self.stable_images, period)
        if grown >= self.top:
            return self.top, 1.0
        return grown + 1, min(1.0, within / self.fade_images)

    def training_step(self, real: Tensor, _: int) -> None:
        """One critic and one generator step on a batch (n, c, h, w) at the stage's resolution."""
        optimize_critic, optimize_g = self.optimizers()  # type: ignore[attr-defined]
        stage, alpha = self.growth_after(int(self.images_shown))
        critic = partial(self.discriminator, stage=stage, alpha=alpha)
        real = self.shrink_images(real, stage, alpha)

        with torch.no_grad():
            fake = self.generator(self.prior(self.batch_size), stage, alpha)
        self.discriminator.requires_grad_(False)
        self.discriminator.used_layers(stage, alpha).requires_grad_(True)
        pairs = real, self.partners(fake, real), mixing_draws(real)
        self.learn(optimize_critic, partial(self.critic_losses, critic), pairs, "critic")

        self.discriminator.requires_grad_(False)  # saves half of the generator's backward pass
        fake = self.generator(self.prior(self.batch_size), stage, alpha)
        self.descend(optimize_g, -critic(fake).mean(), "generator")
        self.discriminator.requires_grad_(True)
        follow_model(self.average, self.generator, self.decay)
        self.images_shown += self.batch_size

    def critic_losses(self, critic: Critic, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
        """The critic's loss (n,) for each real record and its generated one, penalty included."""
        on_real = critic(real)
        self.discriminator.deviation.remember_deviation()
        loss = critic(fake) - on_real + self.drift * on_real.square()
        return loss + self.penalty * gradient_penalty(critic, real, fake, share)

    def shrink_images(self, real: Tensor, stage: int, alpha: float) -> Tensor:
        """Full-size images (n, c, h, w) at a stage's resolution, as sharp as its fade-in allows."""
        real = avg_pool2d(real, 2 ** (self.top - stage))
        return real if alpha == 1.0 else torch.lerp(double_side(halve_side(real)), real, alpha)

    def _refuse_a_schedule_too_long(self) -> None:
        needed = self.top * (self.stable_images + self.fade_images)
        available = self.steps * self.batch_size
        if needed >= available:
            raise UserError(
                f"growing to {self.shape[1]}x{self.shape[2]} takes {needed} images, but "
                f"victim.steps * victim.batch_size shows {available}: raise victim.steps or lower "
                "victim.stable_images and victim.fade_images"
            )
