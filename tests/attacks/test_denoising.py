"""Attacks on denoisers against plain loops in float64, on one network; and what they ask of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import composed, digits
from torch import Tensor
from torch.nn.functional import interpolate

from attacks.denoising import crop_middle
from attacks.noise import own_noise
from benchmark.config.build import build, build_all
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from victims.access import AccessibleDenoiser, VariationApi
from victims.errors import Unsuited, UserError

LEFT = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
LEVELS = range(0, 500, 50)
QUERIES = digits(5, 3)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    config = composed(tmp_path_factory.mktemp("ddpm"), "victim=ddpm")
    made = build(config.victim, "victim", shape=(1, 32, 32))
    torch.nn.init.normal_(made.average.unet.conv_out.weight, std=0.1)
    return made.freeze_for_release()


def view(victim: Any, access: Any = AccessibleDenoiser, batch_size: int = 2) -> Any:
    victim.denoise.forget_answers()
    empty = np.zeros((1, 1))
    return victim.view(access, empty, empty, batch_size)


def attack(tmp_path: Any, name: str, *words: str) -> Any:
    own = [f"attack.{name}.{word}" for word in words]
    return build_all(composed(tmp_path, f"attack=[{name}]", "seed=3", *own).attack, "attack")[name]


class Plain:
    """The formulas, a record at a time, in float64."""

    def __init__(self, victim: Any) -> None:
        self.network = copy.deepcopy(victim.average).double()

    def told(self, x: Tensor, t: int) -> Tensor:
        with torch.no_grad():
            return self.network(x[None], torch.tensor([t]))[0]

    def noised(self, x: Tensor, noise: Tensor, t: int) -> Tensor:
        return math.sqrt(LEFT[t]) * x + math.sqrt(1 - LEFT[t]) * noise

    def step(self, x: Tensor, t: int, s: int) -> Tensor:
        told = self.told(x, t)
        clean = (x - math.sqrt(1 - LEFT[t]) * told) / math.sqrt(LEFT[t])
        return math.sqrt(LEFT[s]) * clean + math.sqrt(1 - LEFT[s]) * told

    def loss(self, x: Tensor, noise: Tensor, t: int) -> float:
        return float(((noise - self.told(self.noised(x, noise, t), t)) ** 2).sum())

    def denoising_loss(self, x: Tensor, levels: Any = (200,), draws: int = 1) -> float:
        noises = [own_noise(x[None], 3, i)[0].double() for i in range(draws)]
        return float(np.mean([self.loss(x, noise, t) for noise in noises for t in levels]))

    def secmi(self, x: Tensor, variant: str = "paper") -> float:
        at = {"paper": 100, "code": 90}[variant]
        for t in range(0, at, 10):
            x = self.step(x, t, t + 10)
        return float(((self.step(self.step(x, at, at + 10), at + 10, at) - x) ** 2).sum())

    def pia(self, x: Tensor, normalised: bool = False) -> float:
        put = self.told(x, 0)
        if normalised:
            put = put * math.sqrt(2 / math.pi) / float(put.abs().mean())
        gap = put - self.told(self.noised(x, put, 200), 200)
        return float((gap**4).sum()) ** 0.25

    def sima(self, x: Tensor) -> float:
        return float((self.told(x, 20) ** 4).sum()) ** 0.25

    def pfami(self, x: Tensor, grid: bool = False) -> float:
        noise, found = own_noise(x[None], 3)[0].double(), []
        shares = [0.95, 0.922, 0.894, 0.867, 0.839, 0.811, 0.783, 0.756, 0.728, 0.7]
        for i, t in enumerate(LEVELS):
            for j, share in enumerate(shares):
                if grid or i == j:
                    side = int(32 * share)
                    at = (32 - side) // 2
                    part = x[None, :, at : at + side, at : at + side]
                    crop = interpolate(part, (32, 32), mode="bilinear")[0]
                    found.append(self.loss(x, noise, t) - self.loss(crop, noise, t))
        return float(np.mean(found))


CASES: list[tuple[str, tuple[str, ...], Callable[[Plain, Tensor], float], int]] = [
    ("denoising_loss", (), Plain.denoising_loss, 1),
    ("denoising_loss", ("t=[50,300]", "draws=2"), lambda p, x: p.denoising_loss(x, (50, 300), 2), 4),
    ("secmi", (), Plain.secmi, 12),
    ("secmi", ("variant=code",), lambda p, x: p.secmi(x, "code"), 11),
    ("pia", (), Plain.pia, 2),
    ("pian", (), lambda p, x: p.pia(x, True), 2),
    ("sima", (), Plain.sima, 1),
    ("pfami", (), Plain.pfami, 20),
    ("pfami", ("pairing=grid",), lambda p, x: p.pfami(x, True), 100),  # 110, but two crops of 32 pixels are one
]  # fmt: skip


@pytest.mark.parametrize(("name", "words", "plain", "queries"), CASES)
def test_each_is_what_plain_loops_give_for_as_many_questions(
    victim: Any, tmp_path: Any, name: str, words: tuple[str, ...], plain: Any, queries: int
) -> None:
    granted = view(victim)
    found = attack(tmp_path, name, *words).score(granted, QUERIES)
    expected = [-plain(Plain(victim), x.double()) for x in QUERIES]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert victim.denoise.asked == queries * len(QUERIES)


@pytest.mark.parametrize("name", ["denoising_loss", "pfami"])
def test_noise_is_the_record_s_whatever_its_model_makes_of_it(
    victim: Any, tmp_path: Any, name: str
) -> None:
    """A VAE's output differs in its last bits with the batch; another hash was another noise."""
    found = []
    for batch_size in (1, 3):
        granted = replace(view(victim, batch_size=batch_size), encode=lambda x: x + 1e-6 * len(x))
        found.append(attack(tmp_path, name).score(granted, QUERIES))
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_attacks_share_what_they_ask_alike(victim: Any, tmp_path: Any) -> None:
    """38 questions a record, one attack by one; 35 where the same ones are asked once.

    The noise in the record itself (SecMI, PIA, PIAN), and its loss at 200 (two attacks).
    As published, with PFAMI's grid, they are 128.
    """
    granted = view(victim)
    names = ("denoising_loss", "secmi", "pia", "pian", "sima", "pfami")
    for name in names:
        attack(tmp_path, name).score(granted, QUERIES)
    assert victim.denoise.asked == (38 - 3) * len(QUERIES)
    again = attack(tmp_path, "pia").score(granted, QUERIES)
    np.testing.assert_array_equal(again, attack(tmp_path, "pia").score(view(victim), QUERIES))


def test_rediffuse_is_the_distance_to_the_mean_of_variations(victim: Any, tmp_path: Any) -> None:
    own, plain = attack(tmp_path, "rediffuse", "variations=3"), Plain(victim)
    expected = []
    for x in QUERIES.double():
        made = []
        for seed in own.seeds:
            draw = torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(seed))
            at = plain.step(plain.noised(x, draw.double(), 200), 200, 100)
            told = plain.told(at, 100)
            made.append((at - math.sqrt(1 - LEFT[100]) * told) / math.sqrt(LEFT[100]))
        expected.append(-float((x - torch.stack(made).mean(0)).norm()))
    found = own.score(view(victim, VariationApi), QUERIES)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_noise_belongs_to_the_record() -> None:
    x = digits(0, 3)
    noise = own_noise(x, 5)
    assert torch.equal(own_noise(x.flip(0), 5).flip(0), noise)
    for other in (own_noise(x, 6), own_noise(x, 5, 1), own_noise(x + 1e-3, 5)):
        assert not torch.allclose(other, noise)
    many = own_noise(digits(1, 200), 0)
    assert abs(float(many.mean())) < 0.01
    assert float(many.std()) == pytest.approx(1, abs=0.01)
    assert own_noise(x, 5, shape=(7,)).shape == (3, 7)


def test_a_crop_is_the_middle() -> None:
    x = torch.zeros(1, 1, 32, 32)
    x[:, :, 1:31, 1:31] = 1.0
    assert torch.equal(crop_middle(x, 0.94), torch.ones_like(x))


@pytest.mark.parametrize("name", ["denoising_loss", "secmi", "pia", "sima", "pfami", "rediffuse"])
def test_a_level_that_is_not_there_is_told(tmp_path: Any, name: str) -> None:
    torch.manual_seed(0)
    few = ("victim=ddpm", "victim.timesteps=20", "victim.sampling_steps=2")
    made = build(composed(tmp_path, *few).victim, "victim", shape=(1, 32, 32)).freeze_for_release()
    own = attack(tmp_path, name)
    with pytest.raises(Unsuited, match="level"):
        own.score(view(made, own.access), QUERIES)


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("denoising_loss", "t=[]", "one or more levels"),
        ("secmi", "t=95", "multiple of interval"),
        ("secmi", "variant=x", "variant"),
        ("pfami", "shares=[0.5]", "equally many"),
        ("pfami", "shares=[1.5]", "between 0 and 1"),
        ("pfami", "pairing=x", "pairing"),
    ],
)
def test_settings_that_mean_nothing(tmp_path: Any, name: str, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        attack(tmp_path, name, word)


@pytest.mark.parametrize("name", ["denoising_loss", "secmi", "pia", "sima", "pfami", "rediffuse"])
def test_a_level_outside_the_schedule_is_refused_before_training(tmp_path: Any, name: str) -> None:
    words = "victim=ddpm", "victim.timesteps=20", "victim.sampling_steps=2", "quality=none"
    words = (*words, "blind=none", "calibration=none", "distance=l2")
    message = rf"^attack\.{name}: it asks for level \d+, but the schedule has 20, 0 to 19; lower "
    with pytest.raises(UserError, match=message):
        prepare(open_request(composed(tmp_path, *words, f"attack=[{name}]")))
