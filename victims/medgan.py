"""MedGAN: a GAN of binary or count records, in the latent space of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import relu
from torch.optim import Adam, Optimizer

from victims.base import Adversarial
from victims.errors import UserError
from victims.training.losses import passing_losses, telling_apart


class MedGAN(Adversarial):
    """GAN of tables: a generator of codes, with shortcuts, behind an autoencoder's decoder.

    First the autoencoder is trained alone, then the GAN, whose generator step also tunes the
    decoder. The discriminator sees a record beside its minibatch's average. Released records are
    rounded to whole numbers; who chooses codes sees the probabilities, which have a gradient for
    the white box.

    kind: `binary` (records in {0, 1}, outputs in [0, 1]) or `count` (outputs >= 0).
    z_dim: dimension of latent code and autoencoder alike (the shortcuts need them equal).
    layers: of the generator.
    widths: hidden units of the discriminator.
    pretrain_steps: how many of `steps` train the autoencoder alone.
    discriminator_steps: discriminator steps, a batch each, to one of the generator.
    learning_rate: Adam's.
    weight_decay: L2 coefficient of Adam, on the weights that it updates.

    Source: Choi, Biswal, Malin, Duke, Stewart, Sun 2017, arXiv 1703.06490, and its code: Adam 1e-3
    with L2 0.001.
    Deviations: batch normalisation uses batch statistics in the discriminator's steps too. Both
    phases have one batch size. The average beside a single query is that of the training batches
    (see `AveragingDiscriminator`); private training does without it.
    """

    family = "medGAN"

    reached = ("encoder", "decoder", "discriminator")
    discriminator: AveragingDiscriminator
    done: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        kind: Literal["binary", "count"],
        layers: int,
        widths: Sequence[PositiveInt],
        steps: PositiveInt,
        pretrain_steps: NonNegativeInt,
        discriminator_steps: PositiveInt,
        batch_size: PositiveInt,
        learning_rate: PositiveFloat,
        weight_decay: float,
    ) -> None:
        super().__init__(shape, z_dim, steps, batch_size)
        refuse_settings(shape, steps, pretrain_steps)
        last: nn.Module = nn.Tanh() if kind == "binary" else nn.ReLU()
        self.encoder = nn.Sequential(nn.Linear(shape[0], z_dim), last)
        self.decoder = nn.Linear(z_dim, shape[0])
        hidden = [Shortcut(z_dim, nn.ReLU()) for _ in range(layers - 1)]
        self.generator = nn.Sequential(*hidden, Shortcut(z_dim, last))
        self.widths = tuple(widths)
        self.discriminator = AveragingDiscriminator(shape[0], self.widths)
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self.kind, self.pretrain_steps = kind, pretrain_steps
        self.discriminator_steps = discriminator_steps
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    def make_private(self) -> None:
        """The discriminator without the average: it would show it the other records too."""
        super().make_private()
        self.discriminator = AveragingDiscriminator(self.shape[0], self.widths, averaging=False)

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to probabilities or expected counts (n, d)."""
        output = self.decoder(self.generator(z))
        return output.sigmoid() if self.kind == "binary" else relu(output)

    def configure_optimizers(self) -> list[Optimizer]:
        """One Adam each: autoencoder, discriminator, generator with decoder."""
        groups = (self.encoder, self.decoder), (self.discriminator,), (self.generator, self.decoder)
        return [
            Adam(
                nn.ModuleList(group).parameters(),
                self.learning_rate,
                weight_decay=self.weight_decay,
            )
            for group in groups
        ]

    def training_step(self, real: Tensor, _: int) -> None:
        """One step of the phase that the count of steps done says, on a batch (n, d)."""
        optimize_a, optimize_d, optimize_g = self.optimizers()  # type: ignore[attr-defined]
        adversarial_steps = int(self.done) - self.pretrain_steps
        self.done += 1
        if adversarial_steps < 0:
            self.learn(optimize_a, self.autoencoder_losses, (real,), "autoencoder")
            return
        self.discriminator.remember_average(real)
        with torch.no_grad():
            fake = self.partners(self.decode(self.prior(self.batch_size)), real)
        self.learn(optimize_d, self.discriminator_losses, (real, fake), "discriminator")
        if (adversarial_steps + 1) % self.discriminator_steps == 0:
            on_fake = self.discriminator(self.decode(self.prior(self.batch_size)))
            self.descend(optimize_g, passing_losses(on_fake).mean(), "generator")

    def autoencoder_losses(self, real: Tensor) -> Tensor:
        """Cross-entropies (n,) summed over binary columns, or mean squared errors of counts."""
        output = self.decoder(self.encoder(real))
        if self.kind == "count":
            return (relu(output) - real).square().mean(1)
        return cross_entropy(output, real, reduction="none").sum(1)

    def discriminator_losses(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss (n,) for each real record and its generated one."""
        return telling_apart(self.discriminator(real), self.discriminator(fake))


class Shortcut(nn.Module):
    """x -> x + activation(batch normalisation(W x)), (n, width) on both sides."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        # The published running averages keep 0.99 of the old at a step; torch counts the rest.
        norm = nn.BatchNorm1d(width, momentum=0.01)
        self.layers = nn.Sequential(nn.Linear(width, width, bias=False), norm, activation)

    def forward(self, x: Tensor) -> Tensor:
        """One layer and its shortcut."""
        return x + self.layers(x)


class AveragingDiscriminator(nn.Module):
    """Judges a record (n, d) beside an average record (d,); logits (n,), larger = more real.

    In training the average is that of the batch, as published. In evaluation it is a stored one,
    the mean of all real batches of the adversarial phase, so that the output for a query does not
    depend on the queries beside it. The stored average is part of what a released discriminator
    is, and comes from training records.
    averaging: without it a record is judged alone.
    """

    average: Tensor
    batches: Tensor

    def __init__(self, d: int, widths: tuple[int, ...], averaging: bool = True) -> None:
        super().__init__()
        self.averaging = averaging
        sizes = (2 * d if averaging else d, *widths)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        self.register_buffer("average", torch.zeros(d))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def remember_average(self, real: Tensor) -> None:
        """Take a real batch (n, d) into the stored average."""
        if not self.averaging:
            return
        self.batches += 1
        self.average += (real.mean(0) - self.average) / self.batches

    def forward(self, x: Tensor) -> Tensor:
        """Records to logits."""
        if not self.averaging:
            return self.layers(x).squeeze(1)
        average = x.mean(0) if self.training else self.average
        return self.layers(torch.cat([x, average.expand_as(x)], 1)).squeeze(1)


def refuse_settings(shape: tuple[int, ...], steps: int, pretrain_steps: int) -> None:
    """Raise UserError for settings that make no MedGAN."""
    if len(shape) != 1:
        raise UserError(
            f"medgan makes tables, but a record has shape {tuple(shape)}; try victim=dcgan"
        )
    if pretrain_steps >= steps:
        raise UserError(
            f"victim.pretrain_steps={pretrain_steps}: it must be less than victim.steps={steps}"
        )
