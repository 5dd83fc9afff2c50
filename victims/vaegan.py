"""VAE-GANs: autoencoders of images whose output a discriminator judges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam, Optimizer, RMSprop

from victims.base import Adversarial
from victims.losses import passing, telling_apart
from victims.networks import ConvDiscriminator, ConvGenerator, dcgan_init
from victims.vae import Encoding, code, kl


class VAEGAN(Encoding, Adversarial):
    """Autoencoder with one discriminator for images and one for codes, as the attacks' paper uses.

    Source: Rosca, Lakshminarayanan, Warde-Farley, Mohamed 2017, arXiv 1706.04987 (alpha-GAN), with
    the losses of the code published with Chen et al. 2020, arXiv 1909.03935: hinge loss with margin
    0.5 and spectral normalisation for images, L1 reconstruction summed over the image with weight
    0.005, a perceptron for codes against the prior; Adam with beta1 0, beta2 0.9.
    Deviations from that code: reconstructions *and* samples count as generated in both the
    discriminator's and the generator's step, as in alpha-GAN (there, samples in one and
    reconstructions in the other); one discriminator step to one of the generator, not two; no
    self-attention; no spectral normalisation in the generator; the encoder's last hidden layer is
    convolutional; larger discriminator output = more real (there the sign is reversed).

    width: channels next to the image; code_width: hidden units of the code discriminator.
    reconstruction: weight of the L1 distance, a sum over the image, between record and output.
    margin: of the hinge loss. learning_rate: of encoder and generator; discriminator_rate and
    code_rate: of the two discriminators.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: int,
        width: int,
        code_width: int,
        steps: int,
        batch_size: int,
        reconstruction: float,
        margin: float,
        learning_rate: float,
        discriminator_rate: float,
        code_rate: float,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        self.encoder = ConvDiscriminator(shape, width, outputs=2 * z_dim).apply(dcgan_init)
        self.generator = ConvGenerator(shape, z_dim, width).apply(dcgan_init)
        self.discriminator = spectral(ConvDiscriminator(shape, width, norm=None).apply(dcgan_init))
        self.code_discriminator = nn.Sequential(
            nn.Linear(z_dim, code_width),
            nn.LeakyReLU(0.01),
            nn.Linear(code_width, code_width),
            nn.LeakyReLU(0.01),
            nn.Linear(code_width, 1),
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
        n, prior = len(real), self.prior(len(real))
        codes = code(*self.encode(real), self.prior(n))
        fake = self.generator(torch.cat([codes, prior]))  # reconstructions, then samples

        d_loss = hinge(self.discriminator(real), self.discriminator(fake.detach()), self.margin)
        self.descend(optimize_d, d_loss, "discriminator")
        on_prior, on_codes = map(self.code_discriminator, (prior, codes.detach()))
        c_loss = telling_apart(on_prior, on_codes)
        self.descend(optimize_c, c_loss, "code discriminator")

        judges = nn.ModuleList([self.discriminator, self.code_discriminator]).requires_grad_(False)
        on_codes = self.code_discriminator(codes)
        error = (real - fake[:n]).abs().flatten(1).sum(1).mean()
        loss = -self.discriminator(fake).mean() + self.reconstruction * error
        loss = loss + passing(on_codes)
        self.descend(optimize_g, loss, "generator")
        self.losses["reconstruction"] = error.item()
        judges.requires_grad_(True)


class LarsenVAEGAN(Encoding, Adversarial):
    """VAE whose reconstruction error is measured in the features of a GAN's discriminator.

    Source: Larsen, Sonderby, Larochelle, Winther 2016, arXiv 1512.09300: the encoder minimises
    feature error and KL divergence, the decoder `gamma` times the feature error and the adversarial
    loss of reconstructions and samples, the discriminator the adversarial loss; RMSprop 3e-4.
    Deviations: DCGAN's networks; the features are those of the last hidden layer; the decoder's
    adversarial loss is the non-saturating one; no network is held back when another falls behind.

    width: channels next to the image. gamma: weight of the feature error in the decoder's loss.
    learning_rate: RMSprop's.
    """

    discriminator: ConvDiscriminator

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: int,
        width: int,
        steps: int,
        batch_size: int,
        gamma: float,
        learning_rate: float,
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
        n = len(real)
        mean, log_variance = self.encode(real)
        codes = code(mean, log_variance, self.prior(n))
        both = torch.cat([codes.detach(), self.prior(n)])
        fake = self.generator(both)  # reconstructions, then samples

        on_real, on_fake = self.discriminator(real), self.discriminator(fake.detach())
        d_loss = telling_apart(on_real, on_fake)
        self.descend(optimize_d, d_loss, "discriminator")

        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            target = self.discriminator.features(real)
        self.generator.requires_grad_(False)  # the encoder's step leaves the generator alone
        error = feature_error(self.discriminator.features(self.generator(codes)), target)
        self.descend(optimize_e, error + kl(mean, log_variance).mean(), "encoder")
        self.generator.requires_grad_(True)

        features = self.discriminator.features(fake)
        on_fake = self.discriminator.head(features).flatten()
        loss = self.gamma * feature_error(features[:n], target)
        self.descend(optimize_g, loss + passing(on_fake), "generator")
        self.discriminator.requires_grad_(True)


def hinge(on_real: Tensor, on_fake: Tensor, margin: float) -> Tensor:
    """The discriminator's hinge loss, zero once real > margin and fake < -margin; outputs (n,)."""
    return relu(margin - on_real).mean() + relu(margin + on_fake).mean()


def feature_error(features: Tensor, target: Tensor) -> Tensor:
    """Minus the log-likelihood, up to a constant, under N(features, 1); mean over the batch."""
    return 0.5 * (features - target).square().flatten(1).sum(1).mean()


def spectral(network: ConvDiscriminator) -> ConvDiscriminator:
    """The network with every convolution's weight divided by its largest singular value.

    Source: Miyato, Kataoka, Koyama, Yoshida 2018, arXiv 1802.05957.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            spectral_norm(module)
    return network
