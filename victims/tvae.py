"""TVAE: a variational autoencoder of mixed tables."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from victims.schema import Schema
from victims.tabular import Transform, schema_of
from victims.training.batches import Records, all_records
from victims.vae import Encoding, draw_code, kl_from_prior

LEAST, MOST = 0.01, 1.0
"""Bounds of the deviations of numbers within their mode."""


class TVAE(Encoding):
    """A VAE of tables: Gaussian within a number's mode, categorical elsewhere.

    Two hidden layers stand on each side, and a deviation is learnt for each number. Who chooses
    codes sees probabilities, and numbers without the noise that a release adds. Private training
    fits no modes: numbers have one, of [0, 1], so give them in public ranges.

    width: hidden units of each layer.
    modes: of a number, at most.
    factor: weight of the reconstruction in the loss.
    learning_rate: Adam's.
    weight_decay: L2 coefficient of Adam.
    schema: what the columns are; None takes all for numbers.
    Raises UserError for images.

    Source: Xu, Skoularidou, Cuesta-Infante, Veeramachaneni 2019, arXiv 1907.00503, and its code,
    whose modes are the likeliest too.
    Deviations: levels are drawn from their probabilities, where the code takes the likeliest.
    """

    family = "VAE"

    reached = ("encoder", "decoder")

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        width: PositiveInt,
        modes: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        factor: PositiveFloat,
        learning_rate: PositiveFloat,
        weight_decay: NonNegativeFloat,
        schema: Schema | None = None,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        self.columns = Transform(schema_of(shape, schema, "tvae"), modes)
        self.encoder = nn.Sequential(
            *_perceptron_layers(self.columns.width, width, width, 2 * z_dim)
        )
        self.decoder = Decoder(z_dim, width, self.columns)
        self.factor = factor
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    def begin(self, records: Records, size: int, seed: int) -> None:
        """Find the numbers' modes."""
        self.columns.fit_modes(all_records(records, size), seed)

    def configure_optimizers(self) -> Optimizer:
        """One Adam for encoder and decoder."""
        both = nn.ModuleList([self.encoder, self.decoder]).parameters()
        return Adam(both, self.learning_rate, weight_decay=self.weight_decay)

    def training_step(self, real: Tensor, _: int) -> None:
        """One step up the evidence lower bound of a batch (n, d)."""
        chances = torch.rand(len(real), len(self.columns.numbers)).to(real)
        seen = self.columns(real, chances)
        self.learn(self.optimizers(), self.losses_of, (seen, self.prior(len(real))), "elbo")
        with torch.no_grad():
            self.decoder.deviation.clamp_(LEAST, MOST)

    def losses_of(self, seen: Tensor, noise: Tensor) -> Tensor:
        """The bound (n,), negative, for records as the network sees them (n, width)."""
        mean, log_variance = self.encoder(seen).chunk(2, 1)
        raw = self.decoder(draw_code(mean, log_variance, noise)).float()
        k = len(self.columns.numbers)
        apart = (seen[:, :k] - raw[:, :k].tanh()) / self.decoder.deviation
        numbers = (0.5 * apart.square() + self.decoder.deviation.log()).sum(1)
        wanted = seen[:, self.columns.index.clamp(min=0)] * (self.columns.index >= 0)
        levels = -(wanted * self.columns.logits_of(raw).log_softmax(-1)).sum((1, 2))
        divergence = kl_from_prior(mean, log_variance)
        self.note(reconstruction=numbers + levels, divergence=divergence)
        return self.factor * (numbers + levels) + divergence

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Records (n, d) to mean and log variance of their codes, (n, z_dim) each."""
        mean, log_variance = self.encoder(self.columns(x)).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to numbers and probabilities (n, d)."""
        return self.columns.to_records(self.decoder(z))

    def publish(self, outputs: Tensor, chances: Tensor) -> Tensor:
        """Levels drawn by their probabilities, numbers with the likelihood's noise."""
        found, places = self.columns.schema.draw_levels(outputs, chances), self.columns.numbers
        spread = self.decoder.deviation.cpu() * self.columns.cpu().mode_unit(outputs[:, places])
        noise = torch.special.ndtri(chances[:, places].clamp(1e-7, 1 - 1e-7))
        found[:, places] = outputs[:, places] + spread * noise
        self.columns.to(self.device)
        return found


class Decoder(nn.Module):
    """Codes (n, z_dim) to raw outputs (n, width), and each number's deviation within its mode."""

    def __init__(self, z_dim: PositiveInt, width: int, columns: Transform) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_perceptron_layers(z_dim, width, width, columns.width))
        self.deviation = nn.Parameter(torch.full((len(columns.numbers),), 0.1))

    def forward(self, z: Tensor) -> Tensor:
        """Codes to raw outputs."""
        return self.layers(z)


def _perceptron_layers(*sizes: int) -> list[nn.Module]:
    """Linear layers with ReLUs between them."""
    found: list[nn.Module] = []
    for before, after in pairwise(sizes):
        found += [nn.Linear(before, after), nn.ReLU()]
    return found[:-1]
