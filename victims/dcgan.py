"""DCGAN: the plain convolutional GAN."""

from __future__ import annotations

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.optim import Adam, Optimizer

from victims.base import Adversarial, Momentum
from victims.networks import ConvDiscriminator, ConvGenerator, dcgan_init
from victims.training.losses import passing_losses, telling_apart


class DCGAN(Adversarial):
    """Deep convolutional GAN with the non-saturating loss.

    A generator and a discriminator of convolutions play against each other: one makes images, the
    other tells them from training records.

    width: channels next to the image, doubled at each halving of the side.
    learning_rate: Adam's.
    beta1: Adam's, in [0, 1).

    Source: Radford, Metz, Chintala 2016, arXiv 1511.06434: Adam 2e-4, beta1 0.5, batch
    normalisation in both networks, weights from N(0, 0.02).
    Deviations: depth follows the resolution (4x4 doubled up to it). The latent prior is the
    standard normal, as in the attacks' paper, not uniform. The discriminator sees real and
    generated records in two batches, each with its own batch statistics.
    """

    family = "DCGAN"

    reached = ("discriminator",)

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        width: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        learning_rate: PositiveFloat,
        beta1: Momentum,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        self.generator = ConvGenerator(shape, z_dim, width).apply(dcgan_init)
        self.discriminator = ConvDiscriminator(shape, width).apply(dcgan_init)
        self.learning_rate, self.beta1 = learning_rate, beta1

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to images (n, c, h, w)."""
        return self.generator(z)

    def configure_optimizers(self) -> list[Optimizer]:
        """One Adam for each network: discriminator, generator."""
        return [
            Adam(network.parameters(), self.learning_rate, betas=(self.beta1, 0.999))
            for network in (self.discriminator, self.generator)
        ]

    def training_step(self, real: Tensor, _: int) -> None:
        """One discriminator and one generator step on a batch (n, c, h, w)."""
        optimize_d, optimize_g = self.optimizers()  # type: ignore[attr-defined]
        fake = self.generator(self.prior(self.batch_size))
        pairs = real, self.partners(fake.detach(), real)
        self.learn(optimize_d, self.discriminator_losses, pairs, "discriminator")

        self.discriminator.requires_grad_(False)  # saves half of the generator step's backward pass
        on_fake = self.discriminator(fake)
        self.descend(optimize_g, passing_losses(on_fake).mean(), "generator")
        self.discriminator.requires_grad_(True)

    def discriminator_losses(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss (n,) for each real record and its generated one."""
        return telling_apart(self.discriminator(real), self.discriminator(fake))
