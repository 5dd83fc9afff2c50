"""Losses that several adversarial victims share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy


def telling_apart(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """A discriminator's loss on its logits (n,): real ones should be high, generated ones low.

    Source: Goodfellow et al. 2014, arXiv 1406.2661, as two mean cross-entropies.
    """
    real = cross_entropy(on_real, torch.ones_like(on_real))
    return real + cross_entropy(on_fake, torch.zeros_like(on_fake))


def passing(on_fake: Tensor) -> Tensor:
    """A generator's non-saturating loss on the discriminator's logits (n,) (same source)."""
    return cross_entropy(on_fake, torch.ones_like(on_fake))


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """How far the critic's slope is from 1 between real and generated records; a scalar >= 0.

    The mean of (||gradient of the critic|| - 1)^2 at one uniformly drawn point on the line from
    each generated record to its real one; differentiable in the critic's weights. The points are
    drawn on the CPU, so that every device trains on the same ones.
    real, fake: (n, *shape), without gradient.
    Source: Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, arXiv 1704.00028.
    """
    share = torch.rand(len(real), *(1,) * (real.ndim - 1)).to(real)
    between = torch.lerp(fake, real, share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
