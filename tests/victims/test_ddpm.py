"""The diffusion victim: its loss, its sampler, its schedules, and what it refuses."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import digits
from omegaconf import DictConfig

from benchmark.config.build import build
from victims.ddpm import DDPM
from victims.errors import UserError
from victims.memo import BESIDE, Memo
from victims.private import per_record

Config = Callable[..., DictConfig]


def make(config: Config, *words: str, shape: tuple[int, ...] = (1, 32, 32)) -> DDPM:
    torch.manual_seed(0)
    settings = config("victim=ddpm", *words).victim
    made: DDPM = build(settings, "victim", shape=shape)
    torch.nn.init.normal_(made.average.unet.conv_out.weight, std=0.1)
    return made


def test_the_loss_is_the_error_of_the_noise_that_is_told(config: Config) -> None:
    """Plain loops in float64, several levels a record."""
    victim = make(config).double()
    x, t = digits(0, 3).double(), torch.tensor([[5, 700], [999, 0], [20, 20]])
    noise = torch.randn(3, 2, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        found = victim.denoising_losses(victim.average, x, t, noise)
    betas = np.linspace(1e-4, 0.02, 1000)
    for i in range(3):
        errors = []
        for j in range(2):
            left = np.prod(1 - betas[: int(t[i, j]) + 1])
            noised = math.sqrt(left) * x[i] + math.sqrt(1 - left) * noise[i, j]
            with torch.no_grad():
                told = victim.average(noised[None], t[i, j : j + 1])[0]
            errors.append(((told - noise[i, j]) ** 2).mean())
        assert float(found[i]) == pytest.approx(float(sum(errors) / 2), rel=1e-5)


def test_samples_are_those_of_deterministic_ddim(config: Config) -> None:
    victim = make(config, "victim.sampling_steps=4").double()
    z = torch.randn(2, 1024, dtype=torch.float64)
    x = z.view(2, 1, 32, 32)
    left = [*np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0]
    with torch.no_grad():
        for t, before in ((999, 749), (749, 499), (499, 249), (249, -1)):
            told = victim.average(x, torch.full((2,), t))
            a, b = left[t], left[before] if before >= 0 else left[0]
            clean = ((x - math.sqrt(1 - a) * told) / math.sqrt(a)).clamp(-1, 1)
            x = math.sqrt(b) * clean + math.sqrt(1 - b) * told
        found = victim.decode(z)
    if victim.sampler.config.set_alpha_to_one:  # the last step then ends at the clean image itself
        x = clean
    torch.testing.assert_close(found, x.clamp(-1, 1), rtol=1e-3, atol=1e-3)


def test_the_cosine_schedule_is_its_papers(config: Config) -> None:
    victim = make(config, "victim.schedule=cosine")
    at = np.arange(1001) / 1000
    curve = np.cos((at + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.minimum(1 - curve[1:] / curve[:-1], 0.999)
    np.testing.assert_allclose(victim.signal, np.cumprod(1 - betas), rtol=1e-3, atol=1e-6)


def test_private_training_averages_several_levels_of_a_record_inside_its_loss(
    config: Config,
) -> None:
    """A record's gradient is the mean of those of its levels: clipped once, not once a level."""
    victim = make(config)
    parameters = list(victim.network.parameters())
    t, noise = torch.tensor([[10, 500, 900]]), torch.randn(1, 3, 1, 32, 32)
    x, still = digits(0, 1), torch.zeros(1)
    together, _ = per_record(victim, parameters, victim.mirrored_losses, (x, t, noise, still))
    alone = [
        per_record(
            victim,
            parameters,
            victim.mirrored_losses,
            (x, t[:, i : i + 1], noise[:, i : i + 1], still),
        )[0]
        for i in range(3)
    ]
    for whole, *parts in zip(together, *alone, strict=True):
        torch.testing.assert_close(whole, torch.stack(parts).mean(0), rtol=1e-3, atol=1e-5)


def test_flips_mirror_about_half_of_the_images(config: Config) -> None:
    victim = make(config, "victim.flip=true")
    seen: list[torch.Tensor] = []
    victim.learn = lambda optimizer, losses, batch, name: seen.append(batch[-1])  # type: ignore
    victim.optimizers = victim.configure_optimizers  # type: ignore[assignment, method-assign]
    victim.training_step(digits(0, 400), 0)
    assert 0.4 < float((seen[0] > 0.5).float().mean()) < 0.6
    x, t, noise = digits(0, 1), torch.tensor([[300]]), torch.randn(1, 1, 1, 32, 32)
    mirrored = victim.mirrored_losses(x, t, noise, torch.ones(1))
    assert torch.equal(mirrored, victim.mirrored_losses(x.flip(-1), t, noise, torch.zeros(1)))


def test_a_question_is_asked_once() -> None:
    memo = Memo(lambda x, t: x + t[:, None], room=5 * (8 + BESIDE))
    x, t = torch.arange(6.0).view(3, 2), torch.tensor([1, 2, 1])
    assert torch.equal(memo(x, t), x + t[:, None])
    assert torch.equal(memo(torch.cat([x, x[:1]]), torch.tensor([1, 3, 1, 1]))[1], x[1] + 3)
    assert memo.asked == 4
    memo(x[:1], torch.tensor([7]))
    memo(x[:1], torch.tensor([8]))
    memo(x[:1], torch.tensor([8]))
    assert memo.asked == 7  # the room was for five answers
    memo.forget_answers()
    memo(x, t)
    assert memo.asked == 3


@pytest.mark.parametrize(
    ("words", "shape", "message"),
    [
        ((), (20,), "record has shape"),
        (("victim.schedule=sine",), (1, 32, 32), "schedule"),
        (("victim.sampling_steps=1001",), (1, 32, 32), "sampling_steps=1001"),
        (("victim.channels=[5,8]",), (1, 32, 32), "channels"),
        (("victim.channels=[4,4,4,4,4]",), (1, 32, 32), "divides, not 32"),
        (("victim.attention=[2]",), (1, 32, 32), "attention"),
    ],
)
def test_what_it_refuses(
    config: Config, words: tuple[str, ...], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make(config, *words, shape=shape)


@pytest.mark.slow
def test_only_who_names_it_loads_diffusers() -> None:
    code = (
        "import benchmark.job.run, benchmark.audit.run, benchmark.report.collect, sys;"
        "assert 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
