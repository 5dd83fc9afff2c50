"""Gradients of each record's loss with respect to the weights, as their norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from victims.private import Losses, per_record

TOGETHER = 2**24
"""Numbers of per-record gradients that are in memory at once, of one record at least."""


def norms_of_gradients(
    victim: nn.Module, parameters: Sequence[nn.Parameter], losses: Losses, batch: Sequence[Tensor]
) -> Tensor:
    """Norms (n, tensors) of each record's gradient of its own loss, one a tensor of weights.

    losses, batch: as `victims.private.per_record` takes them.
    """
    rows = max(1, TOGETHER // sum(weight.numel() for weight in parameters))
    found = []
    for part in zip(*(given.split(rows) for given in batch), strict=True):
        gradients, _ = per_record(victim, parameters, losses, part)
        found.append(torch.stack([own.flatten(1).norm(dim=1) for own in gradients], 1))
    return torch.cat(found)
