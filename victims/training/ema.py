"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def make_average(model: AnyModule) -> AnyModule:
    """A copy of `model` that no optimiser trains; `follow_model` moves it."""
    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def follow_model(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, for weights; buffers are copied.

    decay: in [0, 1); the average looks back over about 1 / (1 - decay) calls.
    """
    for weight, target in zip(average.parameters(), model.parameters(), strict=True):
        weight.lerp_(target, 1.0 - decay)
    for buffer, source in zip(average.buffers(), model.buffers(), strict=True):
        buffer.copy_(source)
