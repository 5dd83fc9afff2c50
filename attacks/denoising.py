"""Attacks on a denoiser: how wrong, or how unsteady, a diffusion model is about a record.

They work where the view answers `denoise(x, t)`, the noise told in x at level t. All ask in
batches of the view's size. The view remembers answers: what two attacks ask alike, such as the
noise in the record itself at level 0, or in the record noised by its own noise, is computed once.
Levels are settings. Published figures that chose them on the queries are not comparable. Of a
latent model `x` stands for the latents of the records, also where an attack crops or adds noise.
Of a mixed table `x` stands for its numbers; its levels are given to the denoiser as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import interpolate

from attacks.base import refuse_level
from attacks.noise import own_noise
from victims.access import AccessibleDenoiser
from victims.errors import UserError


class Denoiser:
    """A view's denoiser on one batch: questions, and the arithmetic of its schedule.

    records: the batch (n, *shape), of which the denoiser is given beside what a view says.
    """

    def __init__(self, view: AccessibleDenoiser, records: Tensor) -> None:
        self.view, self.records = view, records
        self.beside = None if view.beside is None else view.beside(records)

    def draw_noise(self, x: Tensor, seed: int, draw: int = 0) -> Tensor:
        """Noise for x that belongs to the records: to each model of them x may be something else.

        A model's own encoding differs in its last bits with the batch, too.
        """
        return own_noise(self.records, seed, draw, x.shape[1:]).to(x)

    def predict_noise(self, x: Tensor, t: int) -> Tensor:
        """The noise told in x (n, *shape) at level t."""
        given = x if self.beside is None else torch.cat([x, self.beside], 1)
        return self.view.denoise(given, torch.full((len(x),), t, device=x.device))

    def add_noise(self, x: Tensor, noise: Tensor, t: int) -> Tensor:
        """x with that noise at level t."""
        left = float(self.view.signal[t])
        return left**0.5 * x + (1 - left) ** 0.5 * noise

    def move_to_level(self, x: Tensor, told: Tensor, t: int, end: int) -> Tensor:
        """One deterministic DDIM step from level t to another, up or down."""
        left = float(self.view.signal[t])
        clean = (x - (1 - left) ** 0.5 * told) / left**0.5
        return self.add_noise(clean, told, end)


class DenoiserAttack(ABC):
    """Score = minus a record's error, which is low for members."""

    access = AccessibleDenoiser

    highest: int
    """The highest level that is asked for."""

    @abstractmethod
    def measure_errors(self, denoiser: Denoiser, x: Tensor) -> Tensor:
        """Errors (n,) of records (n, *shape)."""

    def refuse_levels(self, levels: int) -> None:
        """Raise Unsuited where the highest level is not in the schedule."""
        refuse_level(self.highest, levels)

    @torch.no_grad()
    def score(self, view: AccessibleDenoiser, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> minus the errors (n,). Unsuited where a level is not there."""
        self.refuse_levels(view.timesteps)
        parts = queries.to(torch.float32).split(view.batch_size)
        blocks = (part.to(view.device) for part in parts)
        found = [self.measure_errors(Denoiser(view, x), view.encode(x)).double() for x in blocks]
        return -torch.cat(found).cpu().numpy()


def sum_of_powers(x: Tensor, p: float = 2.0) -> Tensor:
    """Sums (n,) of |x|^p over a record's values."""
    return x.abs().pow(p).flatten(1).sum(1)


class DenoisingLoss(DenoiserAttack):
    """Score = minus the training loss: squared error of the noise told in the noised record.

    Source: Matsumoto, Miura, Yanai 2023, arXiv 2302.03262: one noise, t = 200 on the linear
    schedule (350 on the cosine one). Deviation: the noise is drawn from seed and record, draw by
    draw the same at each level.
    t: levels that are averaged.
    draws: noises that are averaged.
    seed: of the noise.
    """

    def __init__(self, t: Sequence[int], draws: PositiveInt, seed: NonNegativeInt) -> None:
        refuse_levels(t)
        self.levels, self.draws, self.seed, self.highest = tuple(t), draws, seed, max(t)

    def measure_errors(self, denoiser: Denoiser, x: Tensor) -> Tensor:
        """Mean squared errors over draws and levels; draws x levels questions."""
        found = [
            losses_at(denoiser, x, denoiser.draw_noise(x, self.seed, draw), t)
            for draw in range(self.draws)
            for t in self.levels
        ]
        return torch.stack(found).mean(0)


def losses_at(denoiser: Denoiser, x: Tensor, noise: Tensor, t: int) -> Tensor:
    """Squared errors (n,), summed over values, of the noise told in x with that noise."""
    return sum_of_powers(noise - denoiser.predict_noise(denoiser.add_noise(x, noise, t), t))


class SecMI(DenoiserAttack):
    """Score = minus the t-error: how far a step up and down again leads from where it began.

    Source: Duan, Kong, Wang, Shi, Xu 2023, arXiv 2302.01316, its statistic SecMI_stat: the record
    goes up to level t in deterministic DDIM steps; then the squared distance after one step more
    and back. The learnt SecMI_NNs is not here.
    t: the level.
    interval: levels that one step passes.
    variant: `paper` ends at t = 100 and compares 100 -> 110 -> 100; `code`, as its authors' and
    those of PIA and SimA, ends one step earlier and compares 90 -> 100 -> 90.
    """

    def __init__(
        self,
        t: PositiveInt,
        interval: PositiveInt,
        variant: Literal["paper", "code"] = "paper",
    ) -> None:
        if t % interval:
            raise UserError(f"attack t={t}: must be a multiple of interval={interval}")
        self.t, self.interval, self.variant = t, interval, variant
        self.highest = t + interval if variant == "paper" else t

    def measure_errors(self, denoiser: Denoiser, x: Tensor) -> Tensor:
        """t / interval questions on the way, and two (code: one) for the error."""
        last = self.highest - self.interval
        for t in range(0, last, self.interval):
            x = denoiser.move_to_level(x, denoiser.predict_noise(x, t), t, t + self.interval)
        up = denoiser.move_to_level(x, denoiser.predict_noise(x, last), last, self.highest)
        down = denoiser.move_to_level(
            up, denoiser.predict_noise(up, self.highest), self.highest, last
        )
        return sum_of_powers(down - x)


class PIA(DenoiserAttack):
    """Score = minus how far the noise told at level t is from the noise that was put in.

    Put in is what the network itself tells in the clean record at level 0. Source: Kong, Duan, Ma,
    Shen, Zhu, Shi, Xu 2024, arXiv 2305.18355: t = 200, the 4-norm.
    t: the level.
    p: of the norm.
    normalised: its PIAN, where the noise put in is scaled to the mean size of a normal one. The
        paper prints a factor pi/2 larger; here it is that of the code, sqrt(2/pi), which is right
        for a normal.
    """

    def __init__(self, t: PositiveInt, p: PositiveFloat, normalised: bool) -> None:
        self.highest, self.t, self.p, self.normalised = t, t, p, normalised

    def measure_errors(self, denoiser: Denoiser, x: Tensor) -> Tensor:
        """Two questions, the first of which other attacks ask too."""
        put = denoiser.predict_noise(x, 0)
        if self.normalised:
            size = put.abs().flatten(1).mean(1).clamp(min=torch.finfo(put.dtype).tiny)
            put = put * ((2 / torch.pi) ** 0.5 / size).view(-1, *[1] * (put.ndim - 1))
        told = denoiser.predict_noise(denoiser.add_noise(x, put, self.t), self.t)
        return sum_of_powers(put - told, self.p) ** (1 / self.p)


class SimA(DenoiserAttack):
    """Score = minus the size of the noise told in the clean record at a small level.

    Source: Rao, Qu, Moyer 2025, arXiv 2509.25003, its public code: the fourth powers, summed.
    Published figures chose t on the reported queries, for each measure anew; here it is a setting.
    Deviation: the p-norm, which orders alike.
    t: the level.
    p: of the norm.
    """

    def __init__(self, t: NonNegativeInt, p: PositiveFloat) -> None:
        self.highest, self.t, self.p = t, t, p

    def measure_errors(self, denoiser: Denoiser, x: Tensor) -> Tensor:
        """One question."""
        return sum_of_powers(denoiser.predict_noise(x, self.t), self.p) ** (1 / self.p)


class PFAMI(DenoiserAttack):
    """Score = minus the loss of the record relative to that of its neighbours, its crops.

    Source: Fu, Wang, Gao, Liu, Li, Jiang 2023, arXiv 2308.12143, as two public re-implementations
    have it: neighbours are centre crops of a share of the side, brought back to size. Deviations:
    one noise a record, drawn from seed and record and shared by its neighbours and all levels.
    t: levels.
    shares: of the side that crops keep, as many as levels.
    pairing: `paired` compares the record with the i-th crop at the i-th level, two questions a
    level: 20 as the paper states; `grid` with every crop at every level, as the re-implementations
    do, 110 questions (fewer where two crops have the same pixels).
    seed: of the noise.
    """

    def __init__(
        self,
        t: Sequence[int],
        shares: Sequence[float],
        pairing: Literal["paired", "grid"],
        seed: NonNegativeInt,
    ) -> None:
        refuse_levels(t)
        if not shares or not all(0 < share < 1 for share in shares):
            raise UserError(f"attack shares={list(shares)}: each must be between 0 and 1")
        if pairing == "paired" and len(t) != len(shares):
            raise UserError("attack pairing=paired: t and shares must be equally many")
        self.levels, self.shares, self.pairing = tuple(t), tuple(shares), pairing
        self.seed, self.highest = seed, max(t)

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Crops need images."""
        if len(shape) != 3:
            raise UserError("attack=pfami crops images; these records are rows of a table")

    def measure_errors(self, denoiser: Denoiser, x: Tensor) -> Tensor:
        """Mean difference of losses over the pairs of level and crop."""
        noise = denoiser.draw_noise(x, self.seed)
        found = []
        for i, t in enumerate(self.levels):
            own = losses_at(denoiser, x, noise, t)
            for share in self.shares if self.pairing == "grid" else self.shares[i : i + 1]:
                found.append(own - losses_at(denoiser, crop_middle(x, share), noise, t))
        return torch.stack(found).mean(0)


def crop_middle(x: Tensor, share: float) -> Tensor:
    """The middle of images (n, c, h, w), that share of each side, at the size of the whole."""
    height, width = (max(1, int(side * share)) for side in x.shape[2:])
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    middle = x[:, :, top : top + height, left : left + width]
    return interpolate(middle, size=x.shape[2:], mode="bilinear", align_corners=False)


def refuse_levels(t: Sequence[int]) -> None:
    """Raise UserError where these are no levels."""
    if not t or min(t) < 0:
        raise UserError(f"attack t={list(t)}: one or more levels, from 0")
