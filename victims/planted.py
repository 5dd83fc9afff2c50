"""Canaries that are gradients: the adversary that differential privacy promises to withstand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from victims.errors import UserError

LENGTH = 2.0
"""Of a canary's gradient before it is clipped, in units of the norm it is clipped to."""


class GradientCanaries(nn.Module):
    """Training records whose gradients somebody made up, and what noised gradients show of each.

    A canary's gradient has one entry, at a weight of its own, and is twice as long as is allowed.
    It is drawn into batches, clipped, summed and noised as any record's. Somebody who sees the
    noised sum of every private step compares two cases for each canary: noise alone, or with its
    chance to be drawn the clipped entry on top. `evidence` adds up the log-likelihood ratios, which
    no test on these numbers beats (Neyman, Pearson 1933).
    Source: canaries that are gradients: Nasr et al. 2023, arXiv 2302.07956; with one entry each,
    many in one training: Steinke, Nasr, Jagielski 2023, arXiv 2305.08846.
    Deviations: other records' gradients are zero at the canaries' weights. A worst case may choose
    those records too, as the former does. A likelihood ratio replaces the sum over steps.

    numbers: (size,) of each training record in order: the number of a canary, or -1.
    count: how many canaries there are, with those that coins left out.
    seed: which weights they have, in each network.
    """

    evidence: Tensor
    shown: Tensor

    def __init__(self, numbers: np.ndarray, count: int, seed: int) -> None:
        super().__init__()
        self.numbers = torch.as_tensor(numbers)
        self.register_buffer("evidence", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("shown", torch.zeros(count, dtype=torch.float64))
        self.drawn: Callable[[int], np.ndarray] | None = None  # batch -> numbers of its records
        self.weights = cache(lambda size: _weights(size, count, seed))

    def canaries_in(self, batch: int) -> Tensor:
        """Which canary each record of a training batch is, or -1: (n,)."""
        assert self.drawn is not None
        return self.numbers[torch.as_tensor(self.drawn(batch))]

    def replace_gradients(
        self, gradients: Sequence[Tensor], numbers: Tensor, norm: float
    ) -> list[Tensor]:
        """The gradients, with canaries' own in place of those that their records have.

        gradients: of some records, one (n, *p.shape) a parameter. numbers: (n,), see `canaries_in`.
        norm: that gradients are clipped to.
        """
        canaries = torch.nonzero(numbers >= 0)[:, 0]
        sizes = [math.prod(gradient.shape[1:]) for gradient in gradients]
        weights, start, found = self.weights(sum(sizes)), 0, []
        own = weights[numbers[canaries]]
        for gradient, size in zip(gradients, sizes, strict=True):
            flat = gradient.flatten(1).clone()
            flat[:, weights[(weights >= start) & (weights < start + size)] - start] = 0
            flat[canaries] = 0
            here = (own >= start) & (own < start + size)
            flat[canaries[here], own[here] - start] = LENGTH * norm
            found.append(flat.view(gradient.shape))
            start += size
        return found

    def note_noised_sum(self, noised: Tensor) -> None:
        """Note what a private step shows: the noised sum (weights,), in units of the norm."""
        self.shown += noised[self.weights(len(noised)).to(noised.device)].double()

    def add_evidence(self, noise: float, rate: float, queries: int) -> None:
        """Add what was seen of a batch to the evidence.

        noise: standard deviation in each step, in units of the norm. rate: chance to be drawn.
        queries: private steps on a batch.
        """
        ratio = (self.shown - queries / 2) / noise**2
        missed = math.log1p(-rate) if rate < 1 else -math.inf
        self.evidence += torch.logaddexp(ratio + math.log(rate), torch.full_like(ratio, missed))
        self.shown.zero_()


def _weights(size: int, count: int, seed: int) -> Tensor:
    """A weight for each canary out of so many."""
    if count > size:
        raise UserError(
            f"canaries.count={count}: with canaries.kind=gradient at most {size}, a weight of the "
            "smallest private network for each; lower it"
        )
    drawn = np.random.default_rng([seed, size]).choice(size, count, replace=False)
    return torch.as_tensor(drawn)
