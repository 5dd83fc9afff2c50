"""CTGAN: a conditional GAN of mixed tables, trained by sampling rare levels more often."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax, one_hot
from torch.optim import Adam, Optimizer

from victims.base import Adversarial
from victims.errors import UserError
from victims.schema import Schema, pick_places
from victims.tabular import Transform, schema_of
from victims.training.batches import Batches, Records, all_records
from victims.training.losses import gradient_penalty, mixing_draws

BETAS = 0.5, 0.9
SLOPE = 0.2
DROPOUT = 0.5
TEMPERATURE = 0.2


class CTGAN(Adversarial):
    """Conditional GAN of tables: a generator is asked for records that hold a certain level.

    The critic judges several records together, so that a generator of equal records is noticed.
    Each number is seen as its mode and the place within it. It cannot be trained privately: rare
    levels are drawn more often, packs join records, and modes and frequencies are measured on the
    members.

    z_dim: dimension of the noise. The latent space has one more for each number, and two for the
    condition.
    widths: units of the generator's residual layers.
    critic_widths: units of the critic's layers.
    modes: of a number, at most.
    pack: records that the critic judges together; it divides batch_size.
    penalty: weight of the gradient penalty.
    learning_rate: Adam's.
    weight_decay: L2 coefficient of both Adams.
    schema: what the columns are; None takes all for numbers.
    Raises UserError for images, and packs that do not divide a batch.

    Source: Xu, Skoularidou, Cuesta-Infante, Veeramachaneni 2019, arXiv 1907.00503, and its code. A
    condition names one discrete column and a level of it. A level is asked for by the logarithm of
    how often it occurs, and real records are drawn among those that hold it. Packs are PacGAN's.
    The loss is Wasserstein's with gradient penalty 10; Adam has betas .5 and .9.
    Deviations: a latent code holds, beside the noise, what draws the condition and the modes, so
    that outputs follow from it. 0/1 columns are discrete ones. A single record's criticism is that
    of a pack of its copies, averaged over conditions that it fulfils.
    """

    family = "CTGAN"

    frequency: Tensor
    starts: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        z_dim: PositiveInt,
        widths: list[PositiveInt],
        critic_widths: list[PositiveInt],
        modes: PositiveInt,
        pack: PositiveInt,
        steps: PositiveInt,
        batch_size: PositiveInt,
        penalty: NonNegativeFloat,
        learning_rate: PositiveFloat,
        weight_decay: NonNegativeFloat,
        schema: Schema | None = None,
    ) -> None:
        columns = Transform(schema_of(shape, schema, "ctgan"), modes)
        if batch_size % pack:
            raise UserError(f"victim.batch_size={batch_size}: victim.pack={pack} must divide it")
        super().__init__(shape, z_dim + 2 + len(columns.numbers), steps, batch_size)
        self.columns, self.noise, self.pack = columns, z_dim, pack
        self.sizes = [span.stop - span.start for span in columns.discrete]
        self.conditions = sum(self.sizes)
        self.generator = Generator(z_dim + self.conditions, widths, columns.width)
        seen = pack * (columns.width + self.conditions)
        self.discriminator = _build_critic(seen, critic_widths)
        frequency = torch.zeros(len(self.sizes), max(self.sizes, default=1))
        for row, size in zip(frequency, self.sizes, strict=True):
            row[:size] = 1 / size
        self.register_buffer("frequency", frequency)
        starts = np.cumsum([0, *self.sizes])[:-1]
        self.register_buffer("starts", torch.from_numpy(starts).long(), persistent=False)
        self.penalty, self.rates = penalty, (learning_rate, weight_decay)

    # --- training -----------------------------------------------------------------------------

    def begin(self, records: Records, size: int, seed: int) -> None:
        """Find the numbers' modes and how often levels occur."""
        rows = all_records(records, size)
        self.columns.fit_modes(rows, seed)
        codes = self.columns.codes_of(torch.from_numpy(rows)).numpy()
        for i, levels in enumerate(self.sizes):
            counts = np.bincount(codes[:, i], minlength=levels) / size
            self.frequency[i, :levels] = torch.from_numpy(counts).float()

    def batches(
        self, records: Records, size: int, first: int, last: int, seed: int
    ) -> ConditionalBatches | None:
        """Batches drawn by condition; ordinary ones where no column is discrete."""
        codes = self.columns.codes_of(torch.from_numpy(all_records(records, size))).numpy()
        return ConditionalBatches(records, codes, self.sizes, self.batch_size, first, last, seed)

    def configure_optimizers(self) -> list[Optimizer]:
        """One Adam each: critic, generator."""
        rate, decay = self.rates
        return [
            Adam(self.discriminator.parameters(), rate, betas=BETAS, weight_decay=decay),
            Adam(self.generator.parameters(), rate, betas=BETAS, weight_decay=decay),
        ]

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        """One step of each network: real records (n, d), their conditions' columns and levels."""
        optimize_critic, optimize_g = self.optimizers()  # type: ignore[attr-defined]
        real, column, level = batch
        condition = self.conditions_of(column, level)
        with torch.no_grad():
            chances = torch.rand(len(real), len(self.columns.numbers)).to(real)
            seen = self.pack_records(self.columns(real, chances), condition)
            order = torch.randperm(len(real), device=real.device)  # packs of others than the real
            fake = self.pack_records(self.make_fake(condition[order])[1], condition[order])
        losses = self.critic_losses(seen, fake)
        self.descend(optimize_critic, losses.mean(), "critic")
        raw, made = self.make_fake(condition)
        loss = -self.discriminator(self.pack_records(made, condition)).mean()
        self.descend(optimize_g, loss + self.condition_loss(raw, column, level), "generator")

    def make_fake(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs (n, width) and records as the critic sees them, for conditions (n, c)."""
        noise = torch.randn(len(condition), self.noise).to(condition)
        raw = self.generator(torch.cat([noise, condition], 1)).float()
        soft = gumbel_softmax(self.columns.logits_of(raw), TEMPERATURE)
        return raw, self.columns.spread_out(raw, soft)

    def conditions_of(self, column: Tensor, level: Tensor) -> Tensor:
        """Conditions (n, c) one-hot over all levels of all discrete columns."""
        if not self.conditions:
            return torch.zeros(len(column), 0, device=column.device)
        return one_hot(self.starts[column] + level, self.conditions).float()

    def pack_records(self, seen: Tensor, condition: Tensor) -> Tensor:
        """Records (n, width) beside their conditions (n, c), `pack` of them in a row."""
        return torch.cat([seen, condition], 1).view(len(seen) // self.pack, -1)

    def critic_losses(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss for each pack (n, pack * (width + c)), penalty included."""
        critic = lambda x: self.discriminator(x).squeeze(1)  # noqa: E731
        slope = gradient_penalty(critic, real, fake, mixing_draws(real))
        return critic(fake) - critic(real) + self.penalty * slope

    def condition_loss(self, raw: Tensor, column: Tensor, level: Tensor) -> Tensor:
        """Mean cross-entropy of the level that was asked for."""
        if not self.conditions:
            return raw.new_zeros(())
        group = len(self.columns.numbers) + column
        rows = torch.arange(len(raw), device=raw.device)
        return -self.columns.logits_of(raw)[rows, group].log_softmax(-1)[rows, level].mean()

    # --- release ------------------------------------------------------------------------------

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to numbers and probabilities (n, d)."""
        noise, rest = z[:, : self.noise], torch.special.ndtr(z[:, self.noise :])
        condition = z.new_zeros(len(z), 0)
        if self.conditions:
            column = (rest[:, 0] * len(self.sizes)).long().clamp(max=len(self.sizes) - 1)
            level = pick_places(self.frequency[column], rest[:, 1])
            condition = self.conditions_of(column, level)
        raw = self.generator(torch.cat([noise, condition.to(z)], 1))
        return self.columns.to_records(raw, rest[:, 2:].detach())

    def publish(self, outputs: Tensor, chances: Tensor) -> Tensor:
        """Levels drawn by their probabilities."""
        return self.columns.schema.draw_levels(outputs, chances)

    @torch.no_grad()
    def discriminate(self, x: Tensor) -> Tensor:
        """The critic's output (n,) for packs of each record alone, averaged over its conditions."""
        x = x.to(self.device, torch.float32)
        seen, codes = self.columns(x), self.columns.codes_of(x)
        every: list[Tensor] = []
        for i in range(max(1, len(self.sizes))):
            column = torch.full((len(x),), i, device=x.device)
            condition = self.conditions_of(column, codes[:, i] if self.sizes else column)
            both = torch.cat([seen, condition], 1)
            every.append(self.discriminator(both.repeat(1, self.pack)).squeeze(1))
        return torch.stack(every).mean(0)


class ConditionalBatches(Batches):
    """Batches of (records, column, level): each record is drawn among those that hold its level.

    The column is drawn evenly, a level by log(1 + how often it occurs); a function of (seed, t).
    codes: (size, columns) levels of all training records. sizes: how many levels a column has.
    """

    def __init__(
        self,
        records: Records,
        codes: np.ndarray,
        sizes: list[int],
        batch_size: PositiveInt,
        first: int,
        last: int,
        seed: int,
    ) -> None:
        super().__init__(records, len(codes), batch_size, first, last, seed)
        self.counts = [np.bincount(codes[:, i], minlength=n) for i, n in enumerate(sizes)]
        self.order = [np.argsort(codes[:, i], kind="stable") for i in range(len(sizes))]

    def __getitem__(self, i: int) -> Any:
        if i >= len(self):
            raise IndexError(i)
        rows, column, level = self.draw_batch(self.first + i)
        return self.records(rows), torch.from_numpy(column), torch.from_numpy(level)

    def draw_batch(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row numbers, columns and levels, (batch_size,) each, of batch `step`."""
        nothing = np.zeros(self.batch_size, np.int64)
        if not self.counts:
            return self.rows_of_batch(step), nothing, nothing
        own = np.random.default_rng([self.seed, step])
        column = own.integers(len(self.counts), size=self.batch_size)
        chances = own.random((2, self.batch_size))
        rows, level = nothing.copy(), nothing.copy()
        for i, counts in enumerate(self.counts):
            here = np.flatnonzero(column == i)
            shares = np.log1p(counts).cumsum()
            level[here] = np.searchsorted(shares, chances[0, here] * shares[-1], side="right")
            starts = np.cumsum([0, *counts])
            place = (chances[1, here] * counts[level[here]]).astype(np.int64)
            rows[here] = self.order[i][starts[level[here]] + place]
        return rows, column, level


class Generator(nn.Module):
    """Noise and condition (n, before) to raw outputs (n, after), each layer beside its input."""

    def __init__(self, before: int, widths: list[int], after: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for width in widths:
            layers = nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU()
            self.blocks.append(nn.Sequential(*layers))
            before += width
        self.last = nn.Linear(before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Noise and condition to raw outputs."""
        for block in self.blocks:
            x = torch.cat([block(x), x], 1)
        return self.last(x)


def _build_critic(before: int, widths: list[int]) -> nn.Sequential:
    found: list[nn.Module] = []
    for one, other in pairwise([before, *widths]):
        found += [nn.Linear(one, other), nn.LeakyReLU(SLOPE), nn.Dropout(DROPOUT)]
    return nn.Sequential(*found, nn.Linear([before, *widths][-1], 1))
