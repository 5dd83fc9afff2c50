"""VAE: a variational autoencoder for images and tables, and what its kind offers: an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.optim import Adam, Optimizer

from victims.base import Victim
from victims.errors import UserError
from victims.gradients import norms_of_gradients
from victims.networks import ConvDiscriminator, ConvGenerator, dcgan_init


class Encoding(Victim):
    """A victim with an `encoder`: (n, *shape) -> (n, 2 z_dim), means and log variances of codes."""

    encoder: nn.Module

    grants = (*Victim.grants, "reconstruct")

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Records (n, *shape) to mean and log variance of their codes, (n, z_dim) each."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance

    @torch.no_grad()
    def reconstruct(self, x: Tensor, seed: int) -> Tensor:
        """One stochastic encode-decode pass, (n, *shape) -> (n, *shape) float32, detached.

        The draw is one standard normal vector a seed, shared by all rows: what comes back for a
        record depends on the seed alone, not on the records beside it.
        """
        noise = torch.randn(self.z_dim, generator=torch.Generator().manual_seed(seed))
        mean, log_variance = self.encode(x.to(self.device, torch.float32))
        return self.decode(draw_code(mean, log_variance, noise.to(self.device)))


class VAE(Encoding):
    """Variational autoencoder with a standard normal prior.

    An encoder turns a record into a Gaussian of codes, a decoder turns a code into a record.
    Released are draws of a Bernoulli likelihood, and a Gaussian one's mean: for images that is
    usual, for numbers it is nearer to the code than a draw would be. Who chooses codes sees the
    mean of either. Private training does not standardise columns: their means and deviations are
    the members'.

    width: channels next to the image, or hidden units for a table.
    learning_rate: Adam's.
    likelihood: `bernoulli` for records in {0, 1}, `gaussian` for images, numbers and counts.
    sigma: the Gaussian's standard deviation, in units of the data for images and of the column's
    standard deviation for tables. Smaller means sharper reconstructions, and samples further from
    the data.
    Raises UserError for a Bernoulli likelihood of records outside [0, 1], unless training is
    private, which clamps them.

    Source: Kingma, Welling 2014, arXiv 1312.6114: Gaussian codes, one draw a record, for tables one
    hidden layer of tanh units on each side.
    Deviations: images use DCGAN's networks. A Gaussian likelihood has a fixed standard deviation,
    not one from the decoder. Adam stands in for Adagrad.
    """

    grants = (*Encoding.grants, "gradient_norms", "levels", "noise_shape")

    levels = 1
    """How many noise levels a record's bound has."""

    family = "VAE"

    reached = ("encoder", "decoder")

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        width: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        learning_rate: PositiveFloat,
        likelihood: str = "gaussian",
        sigma: float = 1.0,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        images = len(shape) == 3
        allowed = ("gaussian",) if images else ("gaussian", "bernoulli")
        if likelihood not in allowed:
            raise UserError(
                f"victim.likelihood={likelihood}: allowed for records of shape {tuple(shape)}: "
                f"{', '.join(allowed)}"
            )
        if sigma <= 0:
            raise UserError(f"victim.sigma={sigma}: a standard deviation is above 0")
        self.columns: Standardise | None = None
        if images:
            self.encoder = ConvDiscriminator(shape, width, outputs=2 * z_dim).apply(dcgan_init)
            self.decoder: nn.Module = ConvGenerator(shape, z_dim, width).apply(dcgan_init)
        else:
            self.encoder, self.decoder = build_perceptrons(shape[0], z_dim, width)
            self.columns = Standardise(shape[0]) if likelihood == "gaussian" else None
        self.likelihood, self.sigma, self.learning_rate = likelihood, sigma, learning_rate

    def make_private(self) -> None:
        """Columns as they are: what standardises them would be measured on the members."""
        super().make_private()
        self.columns = None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Records (n, *shape) to mean and log variance of their codes, (n, z_dim) each."""
        return super().encode(self.columns(x) if self.columns else x)

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to the likelihood's mean (n, *shape)."""
        output = self.decoder(z)
        if self.likelihood == "bernoulli":
            return output.sigmoid()
        return self.columns.undo_scaling(output) if self.columns else output

    def publish(self, outputs: Tensor, chances: Tensor) -> Tensor:
        """Zeros and ones drawn with a Bernoulli likelihood's probabilities."""
        return (chances < outputs).to(outputs) if self.likelihood == "bernoulli" else outputs

    def reconstruction_loss(self, z: Tensor, x: Tensor) -> Tensor:
        """Minus the log-likelihood (n,) of records (n, *shape) under codes (n, z_dim)."""
        if self.likelihood == "bernoulli":
            return cross_entropy(self.decoder(z), x, reduction="none").sum(1)
        spread = self.columns.deviation if self.columns else torch.ones((), device=x.device)
        spread = self.sigma * spread
        found = Normal(self.decode(z), spread, validate_args=False)  # see `Mechanism.step`
        return -found.log_prob(x).flatten(1).sum(1)

    def configure_optimizers(self) -> Optimizer:
        """One Adam for encoder and decoder."""
        return Adam(self.parameters(), self.learning_rate)

    def training_step(self, real: Tensor, _: int) -> None:
        """One step up the evidence lower bound of a batch (n, *shape)."""
        if self.likelihood == "bernoulli" and self.mechanism is not None:
            real = real.clamp(0.0, 1.0)  # an error would tell that the record is there
        elif self.likelihood == "bernoulli" and (worst := real[(real < 0) | (real > 1)]).numel():
            raise UserError(
                f"victim.likelihood=bernoulli: a record holds {worst[0].item():g}, outside [0, 1]; "
                "use victim.likelihood=gaussian"
            )
        batch = real, self.prior(len(real))
        self.learn(self.optimizers(), self.negative_elbos, batch, "negative elbo")

    @property
    def noise_shape(self) -> tuple[int]:
        """Of what each record's bound draws."""
        return (self.z_dim,)

    def gradient_norms(self, x: Tensor, levels: Sequence[int], noise: Tensor) -> Tensor:
        """Norms (n, tensors) of the gradient of each record's bound; it has one level."""
        batch = x.to(self.device, torch.float32), noise.to(self.device)[:, 0]
        weights = [*self.encoder.parameters(), *self.decoder.parameters()]
        return norms_of_gradients(self, weights, self._lower_bounds, batch)

    def negative_elbos(self, real: Tensor, noise: Tensor) -> Tensor:
        """Minus the evidence lower bound (n,) of each record, its code drawn with its noise."""
        reconstruction, divergence = self._bound_and_mean(real, noise)
        self.note(reconstruction=reconstruction, divergence=divergence)
        return reconstruction + divergence

    def _lower_bounds(self, real: Tensor, noise: Tensor) -> Tensor:
        return sum(self._bound_and_mean(real, noise), torch.zeros(()))

    def _bound_and_mean(self, real: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encode(real)
        reconstruction = self.reconstruction_loss(draw_code(mean, log_variance, noise), real)
        return reconstruction, kl_from_prior(mean, log_variance)


class Standardise(nn.Module):
    """Columns to mean 0 and variance 1, by what the training batches so far had on average.

    Shape (n, d) on both sides; in evaluation mode it is a fixed affine map.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, d: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("variance", torch.ones(d))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of each column (d,); never zero, so a constant column does no harm."""
        return (self.variance + 1e-5).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        """Records to standardised ones."""
        if self.training:
            self.batches += 1
            self.mean += (x.mean(0) - self.mean) / self.batches
            self.variance += (x.var(0, correction=0) - self.variance) / self.batches
        return (x - self.mean) / self.deviation

    def undo_scaling(self, x: Tensor) -> Tensor:
        """Standardised records to records."""
        return x * self.deviation + self.mean


def build_perceptrons(d: int, z_dim: int, width: int) -> tuple[nn.Module, nn.Module]:
    """Encoder (n, d) -> (n, 2 z_dim) and decoder (n, z_dim) -> (n, d) with one hidden layer."""
    encoder = nn.Sequential(nn.Linear(d, width), nn.Tanh(), nn.Linear(width, 2 * z_dim))
    return encoder, nn.Sequential(nn.Linear(z_dim, width), nn.Tanh(), nn.Linear(width, d))


def draw_code(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Codes (n, z_dim) drawn from N(mean, exp(log_variance)) with standard normal noise."""
    return mean + (0.5 * log_variance).exp() * noise


def kl_from_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence (n,) of N(mean, exp(log_variance)), (n, z_dim) each, from the prior N(0, 1)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
