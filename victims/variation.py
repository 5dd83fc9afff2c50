"""A record noised to a level and denoised again: a diffusion model as an image-to-image service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor


def vary_records(
    told: Callable[[Tensor, Tensor], Tensor],
    signal: Sequence[float],
    x: Tensor,
    *,
    level: int,
    steps: int,
    seed: int,
) -> Tensor:
    """Records (n, *shape) noised to a level, by one draw for all, and denoised in even DDIM steps.

    Source of the steps: Song, Meng, Ermon 2021, arXiv 2010.02502; deterministic.
    told: (n, *shape), levels (n,) -> the noise. signal: (T,), abar of each level. level: 0 to
    T - 1. steps: back from it; at 0 a record is clean.
    """
    noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed)).to(x)
    x = signal[level] ** 0.5 * x + (1 - signal[level]) ** 0.5 * noise
    for t, end in pairwise(level * i // steps for i in range(steps, -1, -1)):
        found = told(x, torch.full((len(x),), t))
        clean = (x - (1 - signal[t]) ** 0.5 * found) / signal[t] ** 0.5
        left = signal[end] if end else 1.0
        x = left**0.5 * clean + (1 - left) ** 0.5 * found
    return x
