"""Diffusion of levels: at each step some are drawn anew, all levels of a column alike.

Source: Hoogeboom, Nielsen, Jaini, Forré, Welling 2021, arXiv 2102.05379, multinomial diffusion.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from victims.schema import pick_places


class Levels:
    """Columns of so many levels each, one-hot behind one another: (n, sum of levels)."""

    def __init__(self, levels: list[int]) -> None:
        self.levels = levels
        ends = [sum(levels[:i]) for i in range(len(levels) + 1)]
        self.spans = [slice(a, b) for a, b in pairwise(ends)]

    @property
    def width(self) -> int:
        """How many places there are."""
        return sum(self.levels)

    def guess(self, told: Tensor) -> list[Tensor]:
        """Probabilities of each column's levels from logits (n, width)."""
        return [told[:, span].softmax(1) for span in self.spans]

    def redraw(self, clean: Tensor, signal: Tensor, chances: Tensor) -> Tensor:
        """Levels (one-hot or probable) kept with the chance `signal` (n, 1), else drawn evenly.

        chances: (n, columns) in [0, 1), which decide.
        """
        of = [
            signal * clean[:, span] + (1 - signal) / k
            for span, k in zip(self.spans, self.levels, strict=True)
        ]
        return self.draw(of, chances, clean)

    def before(
        self, now: Tensor, guessed: list[Tensor], signal: Tensor, before: Tensor
    ) -> list[Tensor]:
        """Probabilities of each column's levels at an earlier time, from those now and the guess.

        The guess of a column may rest on the others alone: what it holds now counts here.
        """
        return [
            posterior_of_levels(now[:, span], guess, signal, before)
            for span, guess in zip(self.spans, guessed, strict=True)
        ]

    def divergences(
        self, now: Tensor, clean: Tensor, told: Tensor, signal: Tensor, before: Tensor
    ) -> Tensor:
        """Sums (n,) over columns: how far the step back from what is told lies from the true one.

        now, clean: one-hot; told: logits of the clean ones; signal, before: as below.
        """
        found = told.new_zeros(len(told))
        for span, guess in zip(self.spans, self.guess(told), strict=True):
            true = posterior_of_levels(now[:, span], clean[:, span], signal, before)
            own = posterior_of_levels(now[:, span], guess, signal, before)
            found = found + (true * ((true + 1e-12).log() - (own + 1e-12).log())).sum(1)
        return found

    def draw(self, of: list[Tensor], chances: Tensor, like: Tensor) -> Tensor:
        """One-hot levels (n, width), drawn from probabilities by chances (n, columns) in [0, 1)."""
        drawn = [
            one_hot(pick_places(own.detach(), chances[:, i]), self.levels[i]).to(like)
            for i, own in enumerate(of)
        ]
        return torch.cat([like[:, :0], *drawn], 1)


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
