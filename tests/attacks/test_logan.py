"""The attacker's own networks: known answers, resuming, and records of any size."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import built, digits
from scipy.stats import multivariate_normal

from attacks import adversary
from attacks.adversary import Discriminator, Generator, Training
from attacks.logan import KnownMembers, KnownNonMembers, OwnGan
from victims.access import FullBlackBoxWithMembers
from victims.errors import UserError

MEAN = np.array([1.0, -0.5])
SMALL = Training(
    width=4, steps=12, batch_size=8, learning_rate=0.002, beta1=0.5, z_dim=4, seed=3
)  # fmt: skip


def view(released: Any, reference: Any, members: Any) -> FullBlackBoxWithMembers:
    arrays = (np.asarray(x, np.float32) for x in (released, reference, members))
    return FullBlackBoxWithMembers(torch.device("cpu"), 5, *arrays)


def gaussians() -> FullBlackBoxWithMembers:
    """Released N(0, 1), reference N(MEAN, 1), members N(0, 0.25), all scaled and moved."""
    rng = np.random.default_rng(0)
    released, reference, members = (rng.normal(size=(6000, 2)) for _ in range(3))
    return view(*(5 + 10 * x for x in (released, reference + MEAN, members / 2)))


def density(mean: np.ndarray, variance: float, x: np.ndarray) -> np.ndarray:
    return multivariate_normal(mean, variance * np.eye(2)).pdf(x)


@pytest.mark.parametrize("attack", [KnownNonMembers, KnownMembers])
def test_the_best_discriminator_is_the_logarithm_of_the_ratio_of_densities(attack: type) -> None:
    x = np.random.default_rng(1).normal(size=(300, 2))
    training = dataclasses.replace(SMALL, width=8, steps=300, batch_size=128, learning_rate=0.003)
    found = attack(training).score(gaussians(), torch.from_numpy(5 + 10 * x).float())
    positives = density(np.zeros(2), 1, x)
    if attack is KnownMembers:
        positives = (positives + density(np.zeros(2), 0.25, x)) / 2
    expected = np.log(positives / density(MEAN, 1, x))
    assert np.corrcoef(found, expected)[0, 1] > 0.97
    assert np.median(np.abs(found - expected)) < 0.2


def images() -> FullBlackBoxWithMembers:
    return view(digits(0, 20), digits(1, 10), digits(2, 6))


@pytest.mark.parametrize("attack", [OwnGan, KnownNonMembers, KnownMembers])
def test_an_interrupted_training_ends_in_the_same_weights(
    attack: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attack(SMALL).learn(images(), tmp_path)
    monkeypatch.setattr(adversary, "CHECKPOINT_S", 0.0)
    work, steps = tmp_path / "work", iter(range(100))
    work.mkdir()
    draws = attack.choose_draws

    def stopping(self: OwnGan, granted: Any) -> Any:
        positives, negatives = draws(self, granted)

        def draw(rng: np.random.Generator, n: int) -> torch.Tensor:
            if next(steps) == 7:
                raise KeyboardInterrupt
            return positives(rng, n)

        return draw, negatives

    monkeypatch.setattr(attack, "choose_draws", stopping)
    with pytest.raises(KeyboardInterrupt):
        attack(SMALL).learn(images(), work)
    resumed = attack(SMALL).learn(images(), work)
    assert next(steps) == 13  # twelve steps, the one that was stopped began twice
    for name, weight in whole.items():
        np.testing.assert_array_equal(resumed[name], weight)


def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "adversary.ckpt").write_bytes(b"broken")
    found = OwnGan(SMALL).learn(images(), tmp_path)
    again = OwnGan(SMALL).learn(images(), tmp_path / "..")
    np.testing.assert_array_equal(found["layers.0.weight"], again["layers.0.weight"])


def test_the_seed_decides(tmp_path: Path) -> None:
    first = OwnGan(SMALL).learn(images(), tmp_path)
    other = OwnGan(dataclasses.replace(SMALL, seed=4)).learn(images(), tmp_path)
    assert not np.array_equal(first["layers.0.weight"], other["layers.0.weight"])


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 28, 28), (3, 32, 32), (3, 17, 50), (9,)])
def test_records_of_any_size(shape: tuple[int, ...]) -> None:
    z = torch.randn(3, 5)
    forged = Generator(shape, 2, 5)(z)
    assert forged.shape == (3, *shape)
    if len(shape) == 3:
        assert forged.abs().max() <= 1
    assert Discriminator(shape, 2)(forged).shape == (3,)


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="steps=0"):
        built(Training, "attack.training", **{**dataclasses.asdict(SMALL), "steps": 0})
    with pytest.raises(UserError, match="4x4 pixels, a record has 3x8"):
        OwnGan(SMALL).refuse((1, 3, 8))
    training = dataclasses.replace(SMALL, learning_rate=1e30)
    with pytest.raises(UserError, match=r"step \d+; lower the attack's training\.learning_rate"):
        OwnGan(training).score(images(), digits(0, 1))
