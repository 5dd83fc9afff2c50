"""VAE-GANs: autoencoders of images whose output a discriminator judges."""

from __future__ import annotations

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam, Optimizer, RMSprop

from victims.base import Adversarial
from victims.networks import ConvDiscriminator, ConvGenerator, dcgan_init
from victims.training.losses import passing_losses, telling_apart
from victims.vae import Encoding, draw_code, kl_from_prior


class VAEGAN(Encoding, Adversarial):
    """Autoencoder with one discriminator for images and one for codes, as the attacks' paper uses.

    width: channels next to the image.
    code_width: hidden units of the code discriminator.
    reconstruction: weight of the L1 distance, a sum over the image, between record and output.
    margin: of the hinge loss.
    learning_rate: Adam's, of encoder and generator.
    discriminator_rate: Adam's, of the discriminator of images.
    code_rate: Adam's, of the discriminator of codes.

    Source: Rosca, Lakshminarayanan, Warde-Farley, Mohamed 2017, arXiv 1706.04987 (alpha-GAN), with
    the losses of the code published with Chen et al. 2020, arXiv 1909.03935. Images: hinge loss
    with margin 0.5, spectral normalisation, L1 reconstruction with weight 0.005. Codes: a
    perceptron against the prior. Adam has beta1 0 and beta2 0.9.
    Deviations from that code: reconstructions *and* samples count as generated in both the
    discriminator's and the generator's step, as in alpha-GAN (there, samples in one and
    reconstructions in the other). One discriminator step is taken to one of the generator, not two.
    There is no self-attention, and no spectral normalisation in the generator. The encoder's last
    hidden layer is convolutional. A larger discriminator output means more real (there the sign is
    reversed).
    """

    grants = (*Encoding.grants, "discriminate")

    family = "VAE-GAN"

    reached = ("encoder", "generator", "discriminator", "code_discriminator")
    queries = 3

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        width: PositiveInt,
        code_width: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        reconstruction: float,
        margin: float,
        learning_rate: PositiveFloat,
        discriminator_rate: float,
        code_rate: float,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        self.encoder = ConvDiscriminator(shape, width, outputs=2 * z_dim).apply(dcgan_init)
        self.generator = ConvGenerator(shape, z_dim, width).apply(dcgan_init)
        self.discriminator = normalise_spectrum(
            ConvDiscriminator(shape, width, norm=None).apply(dcgan_init)
        )
        self.code_discriminator = nn.Sequential(
            nn.Linear(z_dim, code_width),
            nn.LeakyReLU(0.01),
            nn.Linear(code_width, code_width),
            nn.LeakyReLU(0.01),
            nn.Linear(code_width, 1),
            nn.Flatten(0),
        )
        self.reconstruction, self.margin = reconstruction, margin
        self.rates = (discriminator_rate, code_rate, learning_rate)

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to images (n, c, h, w)."""
        return self.generator(z)

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam for the image discriminator, the code discriminator, and encoder with generator."""
        both = nn.ModuleList([self.encoder, self.generator])
        networks = (self.discriminator, self.code_discriminator, both)
        return [
            Adam(network.parameters(), rate, betas=(0.0, 0.9))
            for network, rate in zip(networks, self.rates, strict=True)
        ]

    def training_step(self, real: Tensor, _: int) -> None:
        """One step of each discriminator, then one of encoder and generator, on (n, c, h, w)."""
        optimize_d, optimize_c, optimize_g = self.optimizers()  # type: ignore[attr-defined]
        prior, noise = self.prior(len(real)), self.prior(len(real))
        codes, fake = self.autoencode(real, noise, prior)

        judged = real, *in_blocks(fake.detach(), real)
        self.learn(optimize_d, self.discriminator_losses, judged, "discriminator")
        self.learn(optimize_c, self.code_losses, (prior, codes.detach()), "code discriminator")

        judges = nn.ModuleList([self.discriminator, self.code_discriminator]).requires_grad_(False)
        batch = real, noise, prior
        self.learn(optimize_g, self.generator_losses, batch, "generator", made=(codes, fake))
        judges.requires_grad_(True)

    def autoencode(self, real: Tensor, noise: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (n, z_dim) of records, and (2n, ...) reconstructions, then samples from `prior`."""
        codes = draw_code(*self.encode(real), noise)
        return codes, self.generator(torch.cat([codes, prior]))

    def discriminator_losses(self, real: Tensor, reconstruction: Tensor, sample: Tensor) -> Tensor:
        """The image discriminator's loss (n,) for each record and what was generated for it."""
        on_real = self.discriminator(real)
        on_fake = self.discriminator(torch.cat([reconstruction, sample]))
        return hinge_losses(on_real, on_fake, self.margin)

    def code_losses(self, prior: Tensor, codes: Tensor) -> Tensor:
        """The code discriminator's loss (n,) for each draw from the prior and record's code."""
        return telling_apart(*map(self.code_discriminator, (prior, codes)))

    def generator_losses(self, real: Tensor, noise: Tensor, prior: Tensor, *made: Tensor) -> Tensor:
        """The loss (n,) of encoder and generator for each record; `made` by `autoencode`."""
        codes, fake = made or self.autoencode(real, noise, prior)
        on_codes = self.code_discriminator(codes)
        error = (real - in_blocks(fake, real)[0]).abs().flatten(1).sum(1)
        self.note(reconstruction=error)
        on_fake = in_blocks(self.discriminator(fake), real).mean(0)
        return passing_losses(on_codes) + self.reconstruction * error - on_fake


class LarsenVAEGAN(Encoding, Adversarial):
    """VAE whose reconstruction error is measured in the features of a GAN's discriminator.

    width: channels next to the image.
    gamma: weight of the feature error in the decoder's loss.
    learning_rate: RMSprop's.

    Source: Larsen, Sonderby, Larochelle, Winther 2016, arXiv 1512.09300; RMSprop 3e-4. The encoder
    minimises feature error and KL divergence. The decoder minimises `gamma` times the feature error
    and the adversarial loss of reconstructions and samples; the discriminator the adversarial loss.
    Deviations: DCGAN's networks; the features are those of the last hidden layer. The decoder's
    adversarial loss is the non-saturating one. No network is held back when another falls behind.
    """

    grants = (*Encoding.grants, "discriminate")

    family = "VAE-GAN"

    reached = ("encoder", "generator", "discriminator")
    queries = 3
    discriminator: ConvDiscriminator

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        width: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        gamma: float,
        learning_rate: PositiveFloat,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        self.encoder = ConvDiscriminator(shape, width, outputs=2 * z_dim).apply(dcgan_init)
        self.generator = ConvGenerator(shape, z_dim, width).apply(dcgan_init)
        self.discriminator = ConvDiscriminator(shape, width).apply(dcgan_init)
        self.gamma, self.learning_rate = gamma, learning_rate

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to images (n, c, h, w)."""
        return self.generator(z)

    def configure_optimizers(self) -> list[Optimizer]:
        """One RMSprop for each network: discriminator, encoder, generator."""
        return [
            RMSprop(network.parameters(), self.learning_rate, alpha=0.9)
            for network in (self.discriminator, self.encoder, self.generator)
        ]

    def training_step(self, real: Tensor, _: int) -> None:
        """One step of each network on a batch (n, c, h, w)."""
        optimize_d, optimize_e, optimize_g = self.optimizers()  # type: ignore[attr-defined]
        noise, prior = self.prior(len(real)), self.prior(len(real))
        encoded = self.encode(real)
        codes = draw_code(*encoded, noise)
        both = torch.cat([codes.detach(), prior])
        fake = self.generator(both)  # reconstructions, then samples

        judged = real, *in_blocks(fake.detach(), real)
        self.learn(optimize_d, self.discriminator_losses, judged, "discriminator")

        self.discriminator.requires_grad_(False)
        target = self.target_features(real)
        self.generator.requires_grad_(False)  # the encoder's step leaves the generator alone
        made = *encoded, codes, target
        self.learn(optimize_e, self.encoder_losses, (real, noise), "encoder", made=made)
        self.generator.requires_grad_(True)

        batch = real, codes.detach(), prior
        self.learn(optimize_g, self.generator_losses, batch, "generator", made=(fake, target))
        self.discriminator.requires_grad_(True)

    @torch.no_grad()
    def target_features(self, real: Tensor) -> Tensor:
        """The features (n, ...) of real records that reconstructions should have."""
        return self.discriminator.features(real)

    def discriminator_losses(self, real: Tensor, reconstruction: Tensor, sample: Tensor) -> Tensor:
        """The discriminator's loss (n,) for each record and what was generated for it."""
        on_real = self.discriminator(real)
        return telling_apart(on_real, self.discriminator(torch.cat([reconstruction, sample])))

    def encoder_losses(self, real: Tensor, noise: Tensor, *made: Tensor) -> Tensor:
        """The encoder's loss (n,) for each record; `made`: its encoding, code and target."""
        if not made:
            encoded = self.encode(real)
            made = *encoded, draw_code(*encoded, noise), self.target_features(real)
        mean, log_variance, codes, target = made
        error = feature_errors(self.discriminator.features(self.generator(codes)), target)
        return error + kl_from_prior(mean, log_variance)

    def generator_losses(self, real: Tensor, codes: Tensor, prior: Tensor, *made: Tensor) -> Tensor:
        """The generator's loss (n,) for each record; `made`: what was generated, its target."""
        fake, target = made or (
            self.generator(torch.cat([codes, prior])),
            self.target_features(real),
        )
        features = self.discriminator.features(fake)
        on_fake = self.discriminator.head(features).flatten()
        loss = self.gamma * feature_errors(in_blocks(features, real)[0], target)
        return loss + in_blocks(passing_losses(on_fake), real).mean(0)


def in_blocks(values: Tensor, real: Tensor) -> Tensor:
    """Two blocks of n rows, one row for each of n real records: (2n, ...) -> (2, n, ...)."""
    return values.unflatten(0, (2, len(real)))


def hinge_losses(on_real: Tensor, on_fake: Tensor, margin: float) -> Tensor:
    """The discriminator's hinge losses (n,), zero once real > margin and fake < -margin.

    on_real: (n,). on_fake: (2n,), two generated records to a real one; their mean counts.
    """
    return relu(margin - on_real) + in_blocks(relu(margin + on_fake), on_real).mean(0)


def feature_errors(features: Tensor, target: Tensor) -> Tensor:
    """Minus the log-likelihoods (n,), up to a constant, under N(features, 1)."""
    return 0.5 * (features - target).square().flatten(1).sum(1)


def normalise_spectrum(network: ConvDiscriminator) -> ConvDiscriminator:
    """The network with every convolution's weight divided by its largest singular value.

    Source: Miyato, Kataoka, Koyama, Yoshida 2018, arXiv 1802.05957.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)
    return network
