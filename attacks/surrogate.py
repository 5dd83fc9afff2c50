"""A model that was trained on the release stands in for the victim, and is attacked instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from attacks.base import Attack, Learns, Learnt
from victims.access import AccessibleDenoiser, FullBlackBox
from victims.errors import UserError


class Imitates(Protocol):
    """Trains a model on released records, and shows it: `victims.imitation.Imitator`."""

    def train(self, released: np.ndarray, schema: Any, device: Any, work: Path) -> Learnt:
        """The weights after training on records (n, *shape)."""
        ...

    def show(
        self, weights: Learnt, shape: tuple[int, ...], schema: Any, device: Any, batch_size: int
    ) -> AccessibleDenoiser:
        """The denoiser of these weights."""
        ...


class Surrogate(Learns):
    """Score = that of an attack on a denoiser which was trained on the released samples.

    The attacker sees samples only. It trains a diffusion model of its own on them, and attacks this
    one's denoiser as if it were the victim's. Whatever the victim is, where its samples lie close
    to members, the surrogate is less wrong about members.
    imitator: trains the surrogate and shows it.
    attack: the attack on its denoiser.
    Source: Wu, Pang, Liu, Wu 2025, arXiv 2503.12008, first of the challenge MIDST in its black box
    of one table.
    Deviations: the source learns from surrogates of other models' releases what losses mean; here
    the loss itself is the score, and calibration compares it with surrogates of reference models.

    It finds less than distances do, because it hardly learns its samples by heart. One TabDDPM of
    250 person-years of `randhie_mixed` saw each 1 500 times; 250 members stood against 2 000
    others. The victim's own loss had an AUROC of 0.915. A surrogate of 1 000 samples, each seen 375
    times, had 0.622; seen 750 times 0.633; of 8 000 samples, each seen 94 times, 0.600. It told its
    own samples from others with 0.71, 0.75 and 0.63. The closest sample by Gower's distance had
    0.660 of 1 000 samples and 0.729 of 8 000.
    """

    access = FullBlackBox

    def __init__(self, imitator: Imitates, attack: Attack) -> None:
        self.imitator, self.attack = imitator, attack

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError for images."""
        if len(shape) != 1:
            raise UserError(f"attack=surrogate imitates tables; records have shape {shape}")

    def learn(self, view: FullBlackBox, work: Path) -> Learnt:
        """The surrogate's weights."""
        return self.imitator.train(view.released, view.schema, view.device, work)

    def judge(self, learnt: Learnt, view: FullBlackBox, queries: Tensor) -> np.ndarray:
        """Queries (n, d) -> scores (n,) of the attack on the surrogate."""
        given = view.released.shape[1:], view.schema, view.device, view.batch_size
        return self.attack.score(self.imitator.show(learnt, *given), queries)
