"""LOGAN without the victim's discriminator: the attacker trains one of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attacks.adversary import Discriminator, Draw, Training, tell_apart
from attacks.base import Learns, Learnt
from victims.access import FullBlackBox, FullBlackBoxWithMembers, FullBlackBoxWithReference
from victims.errors import UserError


class OwnGan(Learns):
    """Score = output of the discriminator of a GAN trained on the released samples.

    Source: Hayes, Melis, Danezis, De Cristofaro 2019, arXiv 1705.07663 (LOGAN, black box), and its
    code: the samples are the GAN's real records. Deviations: the code draws new samples for every
    step, here there are those that were released; networks of `attacks.adversary`; the output is
    taken before any sigmoid. Columns of tables are standardised by the released samples.
    training: the attacker's own, one of `attacks.adversary.Training`.
    """

    access: type[FullBlackBox] = FullBlackBox

    def __init__(self, training: Training) -> None:
        self.training = training

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError for images too small to be halved."""
        if len(shape) == 3 and min(shape[1:]) < 4:
            raise UserError(
                f"attack: the attacker's networks need images of at least 4x4 pixels, a record has "
                f"{shape[1]}x{shape[2]}"
            )

    def choose_draws(self, view: Any) -> tuple[Draw, Draw | None]:
        """Whence positives come, and negatives; None where a generator makes them."""
        return drawn_from(view.released), None

    def learn(self, view: FullBlackBox, work: Path) -> Learnt:
        """Columns' means and factors, and the discriminator's weights."""
        scale = _scale_of_columns(view.released)
        positives, negatives = self.choose_draws(view)
        judge = tell_apart(
            view.released.shape[1:],
            self.training,
            view.device,
            _scale_draws(positives, scale),
            negatives and _scale_draws(negatives, scale),
            work,
            "attacker's GAN" if negatives is None else "attacker's discriminator",
        )
        return {**scale, **{k: v.cpu().numpy() for k, v in judge.state_dict().items()}}

    @torch.no_grad()
    def judge(self, learnt: Learnt, view: FullBlackBox, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> logits (n,)."""
        weights = {k: torch.from_numpy(v) for k, v in learnt.items() if k.startswith("layers.")}
        judge = Discriminator(queries.shape[1:], self.training.width)
        judge.load_state_dict(weights)
        judge.to(view.device)
        blocks = _apply_scale(learnt, queries.cpu()).split(view.batch_size)
        return torch.cat([judge(block.to(view.device)).cpu() for block in blocks]).double().numpy()


class KnownNonMembers(OwnGan):
    """Score = output of a discriminator of released samples from known non-members.

    Source: as for `OwnGan`, its attack with auxiliary knowledge; in this form it is a baseline of
    van Breugel et al. 2023, arXiv 2302.12580 (in their code LOGAN_D1). Deviations: as there.
    """

    access = FullBlackBoxWithReference

    def choose_draws(self, view: FullBlackBoxWithReference) -> tuple[Draw, Draw]:
        """Released samples and reference records."""
        return drawn_from(view.released), drawn_from(view.reference)


class KnownMembers(OwnGan):
    """The same with known members: half of the positives are released samples, half are members.

    Deviation: the proportions of the source's experiments are not reproduced.
    """

    access = FullBlackBoxWithMembers

    def choose_draws(self, view: FullBlackBoxWithMembers) -> tuple[Draw, Draw]:
        """Released samples with known members, and reference records."""
        released, members = drawn_from(view.released), drawn_from(view.members)

        def draw_both(rng: np.random.Generator, n: int) -> Tensor:
            return torch.cat([released(rng, n - n // 2), members(rng, n // 2)])

        return draw_both, drawn_from(view.reference)


def drawn_from(records: np.ndarray) -> Draw:
    """Records drawn uniformly with replacement; `records` may be memory-mapped."""

    def draw_rows(rng: np.random.Generator, n: int) -> Tensor:
        return torch.from_numpy(records[np.sort(rng.integers(len(records), size=n))])

    return draw_rows


def _scale_of_columns(released: np.ndarray) -> Learnt:
    """Mean and factor of each column; images are left as they are."""
    if released.ndim > 2:
        return {"mean": np.zeros(1, np.float32), "factor": np.ones(1, np.float32)}
    spread = np.std(released, axis=0, dtype=np.float64)
    factor = 1 / np.where(spread > 1e-6, spread, 1)
    mean = released.mean(0, dtype=np.float64)
    return {"mean": mean.astype(np.float32), "factor": factor.astype(np.float32)}


def _scale_draws(draw: Draw, scale: Learnt) -> Draw:
    return lambda rng, n: _apply_scale(scale, draw(rng, n))


def _apply_scale(scale: Learnt, records: Tensor) -> Tensor:
    return (records - torch.from_numpy(scale["mean"])) * torch.from_numpy(scale["factor"])
