"""TabDDPM: a diffusion model of mixed tables."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim import AdamW, Optimizer

from victims.base import Momentum, Victim
from victims.errors import Unsuited, UserError
from victims.quantiles import Quantiles
from victims.schema import Schema, pick_places
from victims.tabular import schema_of
from victims.training.batches import Records, all_records
from victims.training.ema import follow_model, make_average

EMBEDDED = 128
"""Dimensions of a level's embedding."""


class TabDDPM(Victim):
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

    grants = (*Victim.grants, "denoise", "signal", "encode", "beside")

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
        levels = columns.levels
        super().__init__(shape, len(columns.numbers) + len(levels), steps, batch_size)
        self.numbers, self.switches, self.levels = columns.numbers, columns.switches, levels
        self.k = len(self.numbers)
        self.columns, self.times = columns, (timesteps, sampling_steps)
        self.quantiles = Quantiles(self.k)
        self.network: nn.Module = Perceptron(self.k + sum(self.levels), widths)
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
        signal = self.shares[t][:, None]
        numbers = signal.sqrt() * self.quantiles(real[:, self.numbers])
        numbers = numbers + (1 - signal).sqrt() * noise
        clean = self.columns.one_hot(real)
        redrawn = self.redraw_levels(
            clean, signal, torch.rand(len(real), len(self.levels)).to(real)
        )
        batch = torch.cat([numbers, redrawn], 1), t, noise, clean
        self.learn(optimizer, self.losses_of, batch, "denoising")
        follow_model(self.average, self.network, self.decay)
        self.taken += 1

    def losses_of(self, noised: Tensor, t: Tensor, noise: Tensor, clean: Tensor) -> Tensor:
        """Losses (n,) of records noised to levels t (n,): errors of numbers and of levels."""
        told = self.network(noised, t).to(noised.dtype)
        errors = (told[:, : self.k] - noise).square().mean(1) if self.k else 0.0
        if not self.levels:
            return errors + noised.new_zeros(len(noised))
        signal, before = self.shares[t], self.signal_before(t)
        divergence = noised.new_zeros(len(noised))
        for span in self.spans:
            own = slice(span.start - self.k, span.stop - self.k)
            guessed = told[:, span].softmax(1)
            true = posterior_of_levels(noised[:, span], clean[:, own], signal, before)
            found = posterior_of_levels(noised[:, span], guessed, signal, before)
            logs = (true + 1e-12).log() - (found + 1e-12).log()
            divergence = divergence + (true * logs).sum(1)
        return errors + self.times[0] * divergence / len(self.levels)

    def signal_before(self, t: Tensor) -> Tensor:
        """The share of signal (n,) one level before t (n,)."""
        return torch.where(
            t > 0, self.shares[(t - 1).clamp(min=0)], torch.ones_like(self.shares[t])
        )

    # --- levels -------------------------------------------------------------------------------

    @property
    def spans(self) -> list[slice]:
        """Where each discrete column stands in what the network sees."""
        ends = [self.k + sum(self.levels[:i]) for i in range(len(self.levels) + 1)]
        return [slice(a, b) for a, b in pairwise(ends)]

    def redraw_levels(self, clean: Tensor, signal: Tensor, chances: Tensor) -> Tensor:
        """Levels (one-hot or probable) kept with the chance `signal` (n, 1), else drawn evenly."""
        parts = [clean]
        for i, span in enumerate(self.spans):
            own = slice(span.start - self.k, span.stop - self.k)
            chance = signal * clean[:, own] + (1 - signal) / self.levels[i]
            parts.append(one_hot(pick_places(chance, chances[:, i]), self.levels[i]).to(clean))
        return torch.cat(parts[1:], 1) if self.levels else clean

    # --- release ------------------------------------------------------------------------------

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes (n, z_dim) to numbers and probabilities (n, d)."""
        numbers, own = z[:, : self.k], z[:, self.k :]
        steps = torch.linspace(self.times[0] - 1, 0, self.times[1]).round().long().tolist()
        even = torch.ones(len(z), sum(self.levels), device=z.device)
        levels = self.redraw_levels(even, self.shares.new_zeros(len(z), 1), chances_of(own, 0))
        for i, (t, s) in enumerate(pairwise([*steps, -1]), 1):
            at = torch.full((len(z),), t, device=z.device)
            told = self.average(torch.cat([numbers, levels], 1), at).float()
            signal = self.shares[at]
            before = self.shares[at * 0 + s] if s >= 0 else torch.ones_like(signal)
            root, rest = signal.sqrt()[:, None], (1 - signal).sqrt()[:, None]
            clean = ((numbers - rest * told[:, : self.k]) / root).clamp(-5.2, 5.2)
            noise = (numbers - root * clean) / rest
            numbers = before.sqrt()[:, None] * clean + (1 - before).sqrt()[:, None] * noise
            guessed = [told[:, span].softmax(1) for span in self.spans]
            if s < 0:
                return self._as_records(numbers, guessed)
            levels = self._earlier_levels(levels, guessed, signal, before, chances_of(own, i))
        raise AssertionError("there is a last step")

    def _earlier_levels(
        self,
        levels: Tensor,
        guessed: list[Tensor],
        signal: Tensor,
        before: Tensor,
        chances: Tensor,
    ) -> Tensor:
        parts = [levels[:, :0]]
        for i, span in enumerate(self.spans):
            now = levels[:, span.start - self.k : span.stop - self.k]
            chance = posterior_of_levels(now, guessed[i], signal, before).detach()
            parts.append(one_hot(pick_places(chance, chances[:, i]), self.levels[i]).to(levels))
        return torch.cat(parts, 1)

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
    def timesteps(self) -> int:
        """T, how many noise levels there are."""
        return self.times[0]

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
    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise (n, k) told in noised numbers beside levels (n, k + m) at noise levels (n,)."""
        if not self.k:
            raise Unsuited("it asks for the noise in numbers, and the table has none")
        told = self.average(x.to(self.device, torch.float32), t.to(self.device))
        return told[:, : self.k].float()


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


def posterior_of_levels(now: Tensor, clean: Tensor, signal: Tensor, before: Tensor) -> Tensor:
    """Chances (n, K) of a column's level at an earlier time, from that now and the clean ones.

    now: (n, K) one-hot; clean: (n, K) probabilities; signal, before: (n,), shares now and then.
    """
    even = 1 / now.shape[1]
    kept = (signal / before)[:, None]
    from_now = kept * now + (1 - kept) * even
    found = from_now * (before[:, None] * clean + (1 - before[:, None]) * even)
    return found / found.sum(1, keepdim=True)


def chances_of(code: Tensor, step: int) -> Tensor:
    """Numbers in [0, 1) as good as random for each code (n, m) and step, the same on any device."""
    word = 0xFFFFFFFF
    bits = code.detach().float().contiguous().view(torch.int32).long() & word
    bits = (bits + (step + 1) * 0x9E3779B9) & word
    for _ in range(3):
        bits = (((bits >> 16) ^ bits) * 0x45D9F3B) & word
    bits = (bits >> 16) ^ bits
    return (bits >> 8).float() / 2**24
