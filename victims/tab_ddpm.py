"""TabDDPM: a diffusion model of mixed tables."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from victims.base import Momentum
from victims.denoising import Denoising
from victims.errors import Unsuited, UserError
from victims.multinomial import Levels, chances_of
from victims.private import Losses
from victims.quantiles import Quantiles
from victims.schema import Schema
from victims.tabular import schema_of
from victims.training.batches import Records, all_records
from victims.training.ema import follow_model, make_average

EMBEDDED = 128
"""Dimensions of a level's embedding."""


class TabDDPM(Denoising):
    """Diffusion of tables: numbers by Gaussian noise, levels by even redrawing; one network.

    Numbers pass through their quantiles to a normal distribution. The network, a perceptron, tells
    the noise of numbers and the clean levels. Private training fits no quantiles: numbers are
    spread as if even in [0, 1], so give them in public ranges.

    timesteps: T, how many noise levels.
    sampling_steps: how many of them a sample takes, evenly spaced.
    widths: units of the perceptron's layers.
    learning_rate: AdamW's at the beginning; it falls to 0.
    weight_decay: AdamW's.
    decay: of the released moving average of the weights, at each step, in [0, 1).
    schema: what the columns are; None takes all for numbers.
    Raises UserError for images.

    Source: Kotelnikov, Baranchuk, Rubachev, Babenko 2023, arXiv 2209.15421: squared errors, and the
    divergences of levels times T over their columns; cosine schedule.
    Deviations: samples are drawn in fewer steps, numbers by deterministic DDIM. What draws the
    levels at each step follows from the latent code, one dimension a column: a sample is a function
    of its code. The network sees levels one-hot, not their logarithms. A moving average is
    released.
    """

    grants = (*Denoising.grants, "encode", "beside")

    family = "tabular diffusion"

    reached = ("network",)

    taken: Tensor
    shares: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        timesteps: PositiveInt,
        sampling_steps: PositiveInt,
        widths: list[PositiveInt],
        steps: PositiveInt,
        batch_size: PositiveInt,
        learning_rate: PositiveFloat,
        weight_decay: NonNegativeFloat,
        decay: Momentum,
        schema: Schema | None = None,
    ) -> None:
        columns = schema_of(shape, schema, "tab_ddpm")
        if not 1 < sampling_steps <= timesteps:
            raise UserError(
                f"victim.sampling_steps={sampling_steps}: 2 to victim.timesteps={timesteps}"
            )
        super().__init__(shape, len(columns.numbers) + len(columns.levels), steps, batch_size)
        self.numbers, self.switches = columns.numbers, columns.switches
        self.k, self.discrete = len(self.numbers), Levels(columns.levels)
        self.columns, self.times = columns, (timesteps, sampling_steps)
        self.quantiles = Quantiles(self.k)
        self.network: nn.Module = Perceptron(self.k + self.discrete.width, widths)
        self.average = make_average(self.network)
        self.rates, self.decay = (learning_rate, weight_decay), decay
        t = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
        curve = torch.cos((t + 0.008) / 1.008 * math.pi / 2).square()
        kept = (1 - curve[1:] / curve[:-1]).clamp(max=0.999)
        self.register_buffer("shares", (1 - kept).cumprod(0).float(), persistent=False)
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    # --- training -----------------------------------------------------------------------------

    def begin(self, records: Records, size: int, seed: int) -> None:
        """Find the numbers' quantiles."""
        self.quantiles.fit_quantiles(all_records(records, size)[:, self.numbers])

    def configure_optimizers(self) -> Optimizer:
        """AdamW for the network."""
        rate, decay = self.rates
        return AdamW(self.network.parameters(), rate, weight_decay=decay)

    def training_step(self, real: Tensor, _: int) -> None:
        """One step on a batch (n, d), each record noised to a level drawn for it."""
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self.rates[0] * max(0.0, 1 - int(self.taken) / self.steps)
        t = torch.randint(self.times[0], (len(real),)).to(real.device)
        noise = torch.randn(len(real), self.k).to(real)
        chances = torch.rand(len(real), len(self.columns.levels)).to(real)
        batch = self.noise_records(real, t, noise, chances)
        self.learn(optimizer, partial(self.losses_of, self.network), batch, "denoising")
        follow_model(self.average, self.network, self.decay)
        self.taken += 1

    def noise_records(
        self, real: Tensor, t: Tensor, noise: Tensor, chances: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `losses_of` takes, of records (n, d) noised to levels t (n,).

        noise: (n, k), of numbers. chances: (n, columns) in [0, 1), which redraw levels.
        """
        signal = self.shares[t][:, None]
        numbers = signal.sqrt() * self.quantiles(real[:, self.numbers])
        numbers = numbers + (1 - signal).sqrt() * noise
        clean = self.columns.one_hot(real)
        redrawn = self.discrete.redraw(clean, signal, chances)
        return torch.cat([numbers, redrawn], 1), t, noise, clean

    def losses_of(
        self, network: nn.Module, noised: Tensor, t: Tensor, noise: Tensor, clean: Tensor
    ) -> Tensor:
        """Losses (n,) of records noised to levels t (n,): errors of numbers and of levels."""
        told = network(noised, t).to(noised.dtype)
        errors = (told[:, : self.k] - noise).square().mean(1) if self.k else 0.0
        if not self.columns.levels:
            return errors + noised.new_zeros(len(noised))
        parts = noised[:, self.k :], clean, told[:, self.k :]
        found = self.discrete.divergences(*parts, self.shares[t], self.signal_before(t))
        return errors + self.times[0] * found / len(self.columns.levels)

    def signal_before(self, t: Tensor) -> Tensor:
        """The share of signal (n,) one level before t (n,)."""
        return torch.where(
            t > 0, self.shares[(t - 1).clamp(min=0)], torch.ones_like(self.shares[t])
        )

    # --- release ------------------------------------------------------------------------------

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to numbers and probabilities (n, d)."""
        numbers, own = z[:, : self.k], z[:, self.k :]
        steps = torch.linspace(self.times[0] - 1, 0, self.times[1]).round().long().tolist()
        even = torch.ones(len(z), self.discrete.width, device=z.device)
        levels = self.discrete.redraw(even, self.shares.new_zeros(len(z), 1), chances_of(own, 0))
        for i, (t, s) in enumerate(pairwise([*steps, -1]), 1):
            at = torch.full((len(z),), t, device=z.device)
            told = self.average(torch.cat([numbers, levels], 1), at).float()
            signal = self.shares[at]
            before = self.shares[at * 0 + s] if s >= 0 else torch.ones_like(signal)
            root, rest = signal.sqrt()[:, None], (1 - signal).sqrt()[:, None]
            clean = ((numbers - rest * told[:, : self.k]) / root).clamp(-5.2, 5.2)
            noise = (numbers - root * clean) / rest
            numbers = before.sqrt()[:, None] * clean + (1 - before).sqrt()[:, None] * noise
            guessed = self.discrete.guess(told[:, self.k :])
            likely = self.discrete.before(levels, guessed, signal, before)
            if s < 0:
                return self._as_records(numbers, likely)
            levels = self.discrete.draw(likely, chances_of(own, i), levels)
        raise AssertionError("there is a last step")

    def _as_records(self, numbers: Tensor, guessed: list[Tensor]) -> Tensor:
        """Normal numbers (n, k) and probabilities of levels as records' places (n, d)."""
        places = [*self.numbers, *self.switches]
        parts = [self.quantiles.undo_scaling(numbers)]
        parts += [chance[:, 1:] for chance in guessed[: len(self.switches)]]
        for span in self.columns.categories:
            places += range(span.start, span.stop)
        parts += guessed[len(self.switches) :]
        found = numbers.new_zeros(len(numbers), self.columns.width)
        at = torch.tensor(places, device=numbers.device)
        return found.index_copy(1, at, torch.cat(parts, 1))

    def publish(self, outputs: Tensor, chances: Tensor) -> Tensor:
        """Levels drawn by their probabilities."""
        return self.columns.draw_levels(outputs, chances)

    # --- the denoiser -------------------------------------------------------------------------

    @property
    def signal(self) -> np.ndarray:
        """The share (T,) of a number's variance that is left at each level."""
        return self.shares.double().cpu().numpy()

    def encode(self, x: Tensor) -> Tensor:
        """The numbers of records (n, d) as the network sees them, (n, k), by its own quantiles."""
        return self.quantiles(x.to(self.device, torch.float32)[:, self.numbers])

    def beside(self, x: Tensor) -> Tensor:
        """The levels of records (n, d), one-hot: the network is given them as they are."""
        return self.columns.one_hot(x.to(self.device, torch.float32))

    @torch.no_grad()
    def told(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise (n, k) told in noised numbers beside levels (n, k + m) at noise levels (n,)."""
        if not self.k:
            raise Unsuited("it asks for the noise in numbers, and the table has none")
        told = self.average(x.to(self.device, torch.float32), t.to(self.device))
        return told[:, : self.k].float()

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Of what a record's loss draws: the noise in numbers, and what redraws levels."""
        return (self.z_dim,)

    def losses_at_levels(
        self, x: Tensor, t: Tensor, noise: Tensor
    ) -> tuple[Losses, tuple[Tensor, ...]]:
        """Each record's loss at m levels; the normal noise of a column redraws by its quantile."""
        flat = noise.flatten(0, 1)
        drawn = flat[:, : self.k], torch.special.ndtr(flat[:, self.k :])
        parts = self.noise_records(x.repeat_interleave(t.shape[1], 0), t.flatten(), *drawn)

        def losses(*batch: Tensor) -> Tensor:
            own = self.losses_of(self.average, *(part.flatten(0, 1) for part in batch))
            return own.unflatten(0, batch[0].shape[:2]).mean(1)

        return losses, tuple(part.unflatten(0, t.shape) for part in parts)


class Perceptron(nn.Module):
    """Records (n, d) at levels (n,) to what is told of them (n, d)."""

    def __init__(self, d: int, widths: list[int]) -> None:
        super().__init__()
        self.first = nn.Linear(d, EMBEDDED)
        deep = nn.Linear(EMBEDDED, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED)
        self.level = nn.Sequential(*deep)
        layers: list[nn.Module] = []
        for before, after in pairwise([EMBEDDED, *widths]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear([EMBEDDED, *widths][-1], d))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """What the network tells."""
        rates = torch.exp(-math.log(10000.0) * torch.arange(EMBEDDED // 2) / (EMBEDDED // 2))
        angles = t[:, None].to(x.dtype) * rates.to(x)
        return self.layers(self.first(x) + self.level(torch.cat([angles.cos(), angles.sin()], 1)))
