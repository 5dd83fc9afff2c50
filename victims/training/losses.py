"""Losses that several victims share, one value a record; a step goes down their mean.

Private training needs every record's own gradient: a loss that is written as a mean over the batch
could not be taken apart again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy


def telling_apart(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """A discriminator's losses (n,) on its logits: real ones should be high, generated ones low.

    on_real: (n,). on_fake: (k * n,), k generated records to a real one, in blocks of n; their mean
    counts. Source: Goodfellow et al. 2014, arXiv 1406.2661, as two cross-entropies.
    """
    real = cross_entropy(on_real, torch.ones_like(on_real), reduction="none")
    fake = cross_entropy(on_fake, torch.zeros_like(on_fake), reduction="none")
    return real + fake.view(-1, len(on_real)).mean(0)


def passing_losses(on_fake: Tensor) -> Tensor:
    """A generator's non-saturating losses on the discriminator's logits (n,) (same source)."""
    return cross_entropy(on_fake, torch.ones_like(on_fake), reduction="none")


def mixing_draws(real: Tensor) -> Tensor:
    """Uniform draws (n, 1, ...) for `gradient_penalty`, one a record of (n, *shape).

    Drawn on the CPU, so that every device trains on the same ones.
    """
    return torch.rand(len(real), *(1,) * (real.ndim - 1)).to(real)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor
) -> Tensor:
    """How far the critic's slope is from 1 between real and generated records; (n,), each >= 0.

    (||gradient of the critic|| - 1)^2 at one point on the line from each generated record to its
    real one, `share` of the way; differentiable in the critic's weights, also inside torch.func.
    real, fake: (n, *shape), without gradient. share: (n, 1, ...) in [0, 1], see `mixing_draws`.
    Source: Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, arXiv 1704.00028.
    """
    between = torch.lerp(fake.to(real), real, share)  # a fake may be bfloat16
    slope = torch.func.grad(lambda x: critic(x).sum())(between)
    return (slope.flatten(1).norm(dim=1) - 1).square()
