import copy

import numpy as np
import pytest
import torch
from conftest import built, fit_in, stopped_at_batch_three

from victims.access import AccessibleDiscriminator, WhiteBox
from victims.errors import UserError
from victims.pggan import PGGAN
from victims.progressive import (
    EqualisedConv,
    GrowingCritic,
    GrowingGenerator,
    MinibatchDeviation,
    PixelNorm,
    double_side,
    halve_side,
)
from victims.training.ema import follow_model, make_average
from victims.training.train import load_victim

SHAPE = (1, 16, 16)


def make(shape=SHAPE, **changes) -> PGGAN:
    torch.manual_seed(0)
    settings = {"z_dim": 3, "width": 4, "max_channels": 8, "steps": 6, "batch_size": 6}
    settings |= {"stable_images": 4, "fade_images": 8, "decay": 0.5, "penalty": 10.0}
    settings |= {"drift": 0.001, "learning_rate": 1e-3, "beta1": 0.0, "beta2": 0.99} | changes
    return built(PGGAN, "victim", {"shape": shape}, **settings)


def train(victim: PGGAN, data: torch.Tensor, folder) -> None:
    fit_in(folder, victim, lambda rows: data[rows], size=len(data), seed=7)


def images(n: int = 12) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


# --- growing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [1, 2])
def test_a_finished_generator_is_the_next_one_at_the_start_of_its_fade(stage):
    generator, z = GrowingGenerator(SHAPE, 3, 4, 8), torch.randn(5, 3)
    finished = double_side(generator(z, stage - 1, 1.0))
    torch.testing.assert_close(generator(z, stage, 0.0), finished, rtol=0, atol=0)
    assert not torch.allclose(generator(z, stage, 1.0), finished)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_finished_critic_is_the_next_one_at_the_start_of_its_fade(stage):
    critic, x = GrowingCritic(SHAPE, 4, 8), torch.randn(6, 1, 4 << stage, 4 << stage)
    finished = critic(halve_side(x), stage - 1, 1.0)
    torch.testing.assert_close(critic(x, stage, 0.0), finished, rtol=0, atol=0)
    assert not torch.allclose(critic(x, stage, 1.0), finished)


def test_a_fade_is_linear_in_the_generators_output():
    generator, z = GrowingGenerator(SHAPE, 3, 4, 8), torch.randn(5, 3)
    old, new = generator(z, 2, 0.0), generator(z, 2, 1.0)
    torch.testing.assert_close(generator(z, 2, 0.3), 0.7 * old + 0.3 * new)


def test_the_default_stage_is_the_full_resolution():
    generator, z = GrowingGenerator(SHAPE, 3, 4, 8), torch.randn(2, 3)
    assert generator(z).shape == (2, *SHAPE)
    assert torch.equal(generator(z), generator(z, 2, 1.0))
    critic = GrowingCritic(SHAPE, 4, 8)
    assert torch.equal(critic(images()), critic(images(), 2, 1.0))


def test_growth_by_images_shown():
    """4 stable at 4x4, then 8 fading and 4 stable for 8x8 and for 16x16."""
    victim = make()
    assert [victim.growth_after(n) for n in (0, 3)] == [(0, 1.0)] * 2
    assert [victim.growth_after(n) for n in (4, 6, 12, 15)] == [
        (1, 0.0),
        (1, 0.25),
        (1, 1.0),
        (1, 1.0),
    ]
    assert [victim.growth_after(n) for n in (16, 20, 24)] == [(2, 0.0), (2, 0.5), (2, 1.0)]
    assert [victim.growth_after(n) for n in (28, 10**9)] == [(2, 1.0)] * 2


def test_a_schedule_longer_than_the_training_is_refused():
    make(steps=5)  # 30 images are shown, 24 are needed
    with pytest.raises(UserError, match=r"takes 24 images, but .* shows 24"):
        make(steps=4)
    with pytest.raises(UserError, match="fade_images=0"):
        make(fade_images=0)


def test_training_images_are_as_sharp_as_the_stage():
    victim, x = make(), images()
    by_hand = x.reshape(12, 1, 4, 4, 4, 4).mean((3, 5))
    torch.testing.assert_close(victim.shrink_images(x, 0, 1.0), by_hand)
    blocks = x.reshape(12, 1, 8, 2, 8, 2).mean((3, 5)).repeat_interleave(2, 2)
    blocks = blocks.repeat_interleave(2, 3)
    torch.testing.assert_close(victim.shrink_images(x, 2, 0.25), 0.25 * x + 0.75 * blocks)
    assert torch.equal(victim.shrink_images(x, 2, 1.0), x)


# --- layers -------------------------------------------------------------------------------------


def test_equalised_convolution_applies_scaled_standard_normal_weights():
    torch.manual_seed(0)
    layer = EqualisedConv(64, 48, 3, padding=1)
    assert layer.weight.std().item() == pytest.approx(1.0, abs=0.02)
    assert layer.bias is not None
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 64, 5, 5)
    patches = torch.nn.functional.unfold(x, 3, padding=1)  # (2, 64 * 9, 25)
    weights = layer.weight.detach().reshape(48, -1) * np.sqrt(2 / (64 * 9))
    wanted = (weights @ patches + layer.bias[:, None]).reshape(2, 48, 5, 5)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)


def test_equalised_convolution_keeps_the_variance_of_rectified_inputs():
    torch.manual_seed(0)
    y = EqualisedConv(256, 256, 3)(torch.randn(4, 256, 8, 8).relu())
    assert y.var().item() == pytest.approx(1.0, abs=0.1)


def test_minibatch_deviation():
    x = torch.randn(6, 3, 4, 4)
    y = MinibatchDeviation()(x)
    assert torch.equal(y[:, :3], x)
    wanted = np.std(x.numpy(), axis=0).mean()
    np.testing.assert_allclose(y[:, 3].detach().numpy(), np.full((6, 4, 4), wanted), rtol=1e-5)


def test_minibatch_deviation_of_evaluation_is_the_running_mean_of_training():
    layer, x = MinibatchDeviation(), torch.randn(6, 3, 4, 4)
    observed = layer(x)[0, 3, 0, 0].item()
    layer.remember_deviation(0.25)
    layer.remember_deviation(0.25)
    layer.eval()
    assert layer(5 * x)[0, 3, 0, 0].item() == pytest.approx(observed * (1 - 0.75**2), rel=1e-5)


def test_pixel_norm():
    x = torch.randn(2, 5, 3, 3)
    array = x.numpy()
    wanted = array / np.sqrt((array**2).mean(axis=1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(PixelNorm()(x).numpy(), wanted, rtol=1e-5)


def test_moving_average_has_its_closed_form():
    """After k calls towards a constant c from a: c + (a - c) decay^k."""
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = make_average(model)
    start = average[0].weight.clone()
    with torch.no_grad():
        model[0].weight.fill_(3.0)
        model[1].running_mean.fill_(2.0)
    for _ in range(4):
        follow_model(average, model, 0.9)
    torch.testing.assert_close(average[0].weight, 3.0 + (start - 3.0) * 0.9**4)
    assert torch.equal(average[1].running_mean, torch.full((2,), 2.0))
    assert not any(p.requires_grad for p in average.parameters())


# --- the victim ---------------------------------------------------------------------------------


def test_two_steps_and_a_reload_sample_identically(tmp_path):
    z = torch.randn(5, 3)
    untrained = make().freeze_for_release().generate(z)
    victim = make(steps=2, stable_images=2, fade_images=2)
    train(victim, images(), tmp_path)
    again = load_victim(make(steps=2, stable_images=2, fade_images=2), tmp_path)
    samples = victim.freeze_for_release().generate(z)
    assert torch.equal(again.generate(z), samples)
    assert samples.shape == (5, *SHAPE)
    assert not torch.equal(samples, untrained)
    assert int(again.images_shown) == 12


def test_a_training_stopped_while_growing_ends_in_the_same_weights(tmp_path):
    data, whole = images(), make()
    train(whole, data, tmp_path)
    stopped = stopped_at_batch_three(make, data, tmp_path / "b")
    for name, value in whole.state_dict().items():
        assert torch.equal(stopped.state_dict()[name], value), name


def test_the_released_generator_is_the_moving_average(tmp_path):
    victim = make()
    before = copy.deepcopy(victim.average)
    train(victim, images(), tmp_path)
    z = torch.randn(4, 3)
    assert torch.equal(victim.generate(z), victim.average(z).clamp(-1, 1))
    assert not torch.allclose(victim.generate(z), victim.generator(z).clamp(-1, 1))
    moved = [
        not torch.equal(a, b)
        for a, b in zip(before.parameters(), victim.average.parameters(), strict=True)
    ]
    assert all(moved)  # every stage was trained


def test_released_parts_treat_each_row_by_itself_within_range():
    victim = make().freeze_for_release()
    z, x = torch.randn(6, 3), images()
    alone = torch.cat([victim.generate(row[None]) for row in z])
    torch.testing.assert_close(victim.generate(z), alone, rtol=1e-4, atol=1e-4)
    assert alone.abs().max() <= 1.0
    alone = torch.cat([victim.discriminate(row[None]) for row in x])
    torch.testing.assert_close(victim.discriminate(x), alone, rtol=1e-4, atol=1e-4)


def test_views():
    victim = make().freeze_for_release()
    arrays = np.zeros((2, *SHAPE), np.float32), np.zeros((2, 3), np.float32)
    z = torch.randn(2, 3, requires_grad=True)
    victim.view(WhiteBox, *arrays, 4).differentiate(z).sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    scores = victim.view(AccessibleDiscriminator, *arrays, 4).discriminate(images())
    assert scores.shape == (12,)
