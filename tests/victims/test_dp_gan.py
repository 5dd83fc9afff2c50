from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import digits, fit_in
from omegaconf import DictConfig

from benchmark.config.build import build
from victims.dp_gan import DPGAN
from victims.errors import UserError

Config = Callable[..., DictConfig]


def make(config: Config, *overrides: str) -> DPGAN:
    torch.manual_seed(0)
    settings = config("victim=dp_gan", *overrides).victim
    return build(settings, "victim", shape=(1, 32, 32))


@pytest.mark.parametrize("private", [False, True])
def test_the_critics_weights_stay_in_their_limits(
    config: Config, private: bool, tmp_path: Path
) -> None:
    victim = make(config, "victim.learning_rate=0.5", "victim.weight_limit=0.03")
    if private:
        victim.make_private()
        build(config("dp=on").dp, "dp", epsilon=None, noise_multiplier=1.0).attach_mechanism(
            victim, 24
        )
    data = digits(0, 24)
    fit_in(tmp_path, victim, data.__getitem__, size=24, seed=5)
    weights = torch.cat([weight.flatten() for weight in victim.discriminator.parameters()])
    assert weights.abs().max().item() == pytest.approx(0.03)
    assert victim.generator.layers[0].weight.abs().max() > 0.03


def test_the_loss_is_the_distance_between_real_and_generated(config: Config) -> None:
    victim, real, fake = make(config), digits(0, 6), digits(1, 6)
    expected = victim.discriminate(fake) - victim.discriminate(real)
    torch.testing.assert_close(victim.paired_losses(real, fake), expected)


def test_a_limit_of_zero_is_refused(config: Config) -> None:
    with pytest.raises(UserError, match=r"victim\.weight_limit=0"):
        make(config, "victim.weight_limit=0")
