"""What jobs use, for scripts that time a part of it: the config, and its victim untrained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra import compose
from omegaconf import DictConfig
from torch import Tensor

from benchmark.config.build import build, composing
from benchmark.config.commandline import register_resolvers
from victims.training.train import Training, fit_victim, load_victim

SHAPE = (1, 32, 32)
"""Records of the default job."""


def compose_job(*words: str) -> DictConfig:
    """The config of a job with these settings."""
    register_resolvers()
    with composing():
        return compose("config", list(words))


def build_victim(config: DictConfig, shape: tuple[int, ...] = SHAPE) -> Any:
    """The victim of a job with random weights, in the memory format that jobs give it."""
    torch.manual_seed(0)
    made = build(config.victim, "victim", shape=shape)
    return made.to(memory_format=torch.channels_last)  # as in benchmark/models/recipe.py


def train_on_rows(victim: Any, rows: Tensor, folder: Path, seed: int) -> Any:
    """A victim trained on records (n, *shape), as it is released; its files lie in `folder`."""
    fit_victim(
        victim,
        rows.__getitem__,
        size=len(rows),
        folder=folder,
        work=folder / "work",
        seed=seed,
        training=Training(),
    )
    return load_victim(victim, folder)
