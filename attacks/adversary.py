"""The attacker's own networks, for images of any size and for tables, and how they are trained."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from tqdm import tqdm

from victims.errors import UserError
from victims.seeded import seed_step

log = logging.getLogger(__name__)

CHECKPOINT_S = 20.0
"""Seconds between checkpoints: what an interrupted training has to repeat at most."""

Draw = Callable[[np.random.Generator, int], Tensor]
"""How many -> so many records (n, *shape)."""


@dataclass(frozen=True)
class Training:
    """Sizes and budget of networks that the attacker trains.

    width: channels next to the image; a table's layers have 8 times as many.
    steps: batches.
    batch_size: records of each side in one.
    learning_rate, beta1: Adam's.
    z_dim: dimension of the latent code of a generator.
    seed: of weights, batches and codes.
    """

    width: PositiveInt
    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    beta1: Annotated[float, Field(ge=0, lt=1)]
    z_dim: PositiveInt
    seed: int


class Discriminator(nn.Module):
    """Records (n, *shape) -> logits (n,); no layer mixes records.

    Images: convolutions that halve the side until it is under 8, tables: two hidden layers.
    """

    def __init__(self, shape: Sequence[int], width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if len(shape) == 3:
            before, height, columns = shape
            for after in _channels_by_halving(shape, width):
                layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
                before, height, columns = after, height // 2, columns // 2
            layers += [nn.Flatten(), nn.Linear(before * height * columns, 1)]
        else:
            layers = _perceptron_layers(shape[0], 8 * width, 1)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n,)."""
        return self.layers(x).squeeze(1)


class Generator(nn.Module):
    """Codes (n, z_dim) -> records (n, *shape): images in [-1, 1] by transposed convolutions."""

    def __init__(self, shape: Sequence[int], width: int, z_dim: int) -> None:
        super().__init__()
        self.shape = shape
        if len(shape) != 3:
            self.layers = nn.Sequential(*_perceptron_layers(z_dim, 8 * width, shape[0]))
            return
        channels = _channels_by_halving(shape, width)[::-1]
        start = (channels[0], *(-(-side // 2 ** len(channels)) for side in shape[1:]))
        layers: list[nn.Module] = [nn.Linear(z_dim, int(np.prod(start))), nn.Unflatten(1, start)]
        for before, after in zip(channels, (*channels[1:], shape[0]), strict=True):
            layers += [
                nn.BatchNorm2d(before),
                nn.ReLU(),
                nn.ConvTranspose2d(before, after, 4, 2, 1),
            ]
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Records; images are cut to size."""
        x = self.layers(z)
        return x if len(self.shape) != 3 else x[..., : self.shape[1], : self.shape[2]]


def tell_apart(
    shape: Sequence[int],
    training: Training,
    device: torch.device,
    positives: Draw,
    negatives: Draw | None,
    work: Path,
    title: str,
) -> Discriminator:
    """A discriminator of positives from negatives, or from a generator that is trained against it.

    Step t draws what is a function of (seed, t) alone, so that an interrupted training, resumed
    from its checkpoint in `work`, ends in the same weights (on a CPU with as many threads).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        judge = Discriminator(shape, training.width).to(device)
        networks: list[nn.Module] = [judge]
        if not negatives:
            forger = Generator(shape, training.width, training.z_dim).to(device)
            networks.append(forger)
        loop = _Loop(networks, training, work)
        for step in loop.remaining_steps(title):
            seed_step(training.seed, step)
            rng = np.random.default_rng([training.seed, step])
            real = positives(rng, training.batch_size).to(device)
            if negatives:
                fake = negatives(rng, training.batch_size).to(device)
            else:
                fake = forger(torch.randn(training.batch_size, training.z_dim).to(device))
            loop.take_step(
                0, _logistic_loss(judge(real), 1.0) + _logistic_loss(judge(fake.detach()), 0.0)
            )
            if not negatives:
                judge.requires_grad_(False)  # saves half of the generator's backward pass
                loop.take_step(1, _logistic_loss(judge(fake), 1.0))
                judge.requires_grad_(True)
    return judge


class _Loop:
    """Steps of several networks' optimisers, with checkpoints and a bar."""

    def __init__(self, networks: list[nn.Module], training: Training, work: Path) -> None:
        self.networks, self.total, self.path = networks, training.steps, work / "adversary.ckpt"
        self.optimizers = [
            torch.optim.Adam(n.parameters(), training.learning_rate, betas=(training.beta1, 0.999))
            for n in networks
        ]
        self.done = 0

    def remaining_steps(self, title: str) -> Iterator[int]:
        """Numbers of the steps that are still to be made."""
        self._resume_checkpoint()
        written = time.monotonic()
        with tqdm(
            total=self.total, initial=self.done, desc=title, unit="step", mininterval=1.0,
            leave=False,
        ) as bar:  # fmt: skip
            while self.done < self.total:
                yield self.done
                self.done += 1
                bar.update()
                if time.monotonic() - written >= CHECKPOINT_S:
                    self._save_checkpoint()
                    written = time.monotonic()

    def take_step(self, i: int, loss: Tensor) -> None:
        """One step of the i-th optimiser; a loss that is not finite would spoil the weights."""
        if not torch.isfinite(loss):
            raise UserError(
                f"the attacker's network has loss {loss.item()} in step {self.done + 1}; "
                f"lower the attack's training.learning_rate"
            )
        self.optimizers[i].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[i].step()

    def _save_checkpoint(self) -> None:
        state = {
            "done": self.done,
            "networks": [network.state_dict() for network in self.networks],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        partial = self.path.with_suffix(".new")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def _resume_checkpoint(self) -> None:
        """Take up the last checkpoint; start anew where there is none or it is damaged."""
        if not self.path.exists():
            return
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # a broken file makes the reader raise almost anything
            log.warning("%s is damaged (%s); training starts anew", self.path, error)
            return
        for kind in ("networks", "optimizers"):
            for part, saved in zip(getattr(self, kind), state[kind], strict=True):
                part.load_state_dict(saved)
        self.done = state["done"]


def _logistic_loss(logits: Tensor, label: float) -> Tensor:
    return cross_entropy(logits, torch.full_like(logits, label))


def _channels_by_halving(shape: Sequence[int], width: int) -> list[int]:
    """Channels after each halving of an image, until its smaller side is under 8."""
    halvings = max(1, min(shape[1:]).bit_length() - 3)
    return [width << min(i, 3) for i in range(halvings)]


def _perceptron_layers(before: int, width: int, after: int) -> list[nn.Module]:
    hidden = [nn.Linear(before, width), nn.LeakyReLU(0.2), nn.Linear(width, width)]
    return [*hidden, nn.LeakyReLU(0.2), nn.Linear(width, after)]
