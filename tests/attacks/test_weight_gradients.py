"""Norms of gradients against autograd, one record at a time; and what attacks make of them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Memoriser, built, composed, digits, people
from hydra.utils import get_class
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.noise import own_noise
from attacks.weight_gradients import GSA, PIAGradient, PIAGradientWithShadows
from benchmark.config.build import build
from benchmark.job import run as job
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.store.entries import Store
from victims.access import DenoiserWithGradients, DenoiserWithGradientsAndShadows, Shadow
from victims.errors import Unsuited, UserError


@pytest.mark.parametrize("name", ["ddpm", "vae"])
def test_norms_are_those_of_a_loop_over_records(tmp_path: Any, name: str) -> None:
    torch.manual_seed(0)
    made: Any = build(composed(tmp_path, f"victim={name}").victim, "victim", shape=(1, 32, 32))
    made.freeze_for_release()
    x, levels = digits(0, 3), [99, 599]
    noise = own_noise(x, 1, shape=(2, *made.noise_shape))
    found = made.gradient_norms(x, levels, noise)
    network = [made.average] if name == "ddpm" else [made.encoder, made.decoder]
    weights = [p.requires_grad_() for module in network for p in module.parameters()]
    for i in range(3):
        if name == "ddpm":
            at = torch.tensor([levels])
            loss = made.denoising_losses(made.average, x[i : i + 1], at, noise[i : i + 1])
        else:
            loss = made.negative_elbos(x[i : i + 1], noise[i : i + 1, 0])
        slopes = torch.autograd.grad(loss.sum(), weights)
        expected = torch.stack([slope.norm() for slope in slopes])
        torch.testing.assert_close(found[i], expected, rtol=1e-3, atol=1e-5)


def test_both_variants_ask_at_even_levels_with_a_noise_for_each() -> None:
    asked: list[list[int]] = []
    noises: list[torch.Tensor] = []

    def norms(x: Any, levels: Any, noise: Any) -> torch.Tensor:
        asked.append(list(levels))
        noises.append(noise)
        return torch.full((len(x), 2), float(levels[0] + 1))

    class View:
        levels, noise_shape, batch_size = 1000, (1,), 8

    view: Any = View()
    GSA(1, 10, 1.0, 0).measure_log_norms(view, norms, digits(0, 2))
    assert asked == [list(range(99, 1000, 100))]
    found = GSA(2, 10, 1.0, 0).measure_log_norms(view, norms, digits(0, 2))
    assert asked[1:] == [[level] for level in range(99, 1000, 100)]
    assert found == pytest.approx(torch.full((2, 2), 550.0).log().numpy())
    together, *alone = noises
    assert together.shape == (2, 10, 1)
    assert len(together.unique()) == together.numel()
    torch.testing.assert_close(torch.cat(alone, 1), together, rtol=0, atol=0)
    view.levels = 1
    GSA(1, 10, 1.0, 0).measure_log_norms(view, norms, digits(0, 2))
    assert asked[-1] == [0]
    with pytest.raises(UserError, match="variant"):
        built(GSA, "attack", variant=3, levels=10, regularisation=1.0, seed=0)


def test_a_job_gives_it_the_reference_models(tmp_path: Any) -> None:
    words = ("victim=vae", "attack=[gsa,full_black_box]", "distance=l2", "quality=none")
    words = (*words, "blind=none", "calibration=none")
    with pytest.raises(UserError, match=r"gsa.* reference.members must be below split.reference"):
        prepare(open_request(composed(tmp_path, *words)))
    rows = job.run(composed(tmp_path, *words, "reference.members=12")).rows.set_index("attack")
    assert rows["status"]["gsa"] == "ok"
    assert rows["access"]["gsa"] == "weight_gradients_with_shadows"
    scored = [meta["config"]["model"] for _, meta in Store(tmp_path / "store").find("scores")]
    assert len(scored) == 2  # without calibration nothing is asked of the reference models
    assert scored[0] == scored[1]
    words = ("victim=dcgan", *words[1:])
    rows = job.run(composed(tmp_path, *words)).rows.set_index("attack")
    assert rows["status"]["gsa"] == "no access"


def test_the_gradient_of_pias_loss_is_that_of_a_plain_loop(tmp_path: Any) -> None:
    torch.manual_seed(0)
    made: Any = build(composed(tmp_path, "victim=ddpm").victim, "victim", shape=(1, 32, 32))
    torch.nn.init.normal_(made.average.unet.conv_out.weight, std=0.1)
    made.freeze_for_release()
    queries, empty = digits(4, 3), np.zeros((1, 1))
    own = made.view(DenoiserWithGradients, empty, empty, 2)
    found = PIAGradient(t=200).score(own, queries)
    assert made.denoise.asked == 3  # one question a record, that of PIA
    network = copy.deepcopy(made.average).double().requires_grad_()
    left = float(np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:201]))
    for i, x in enumerate(queries.double()):
        put = network(x[None], torch.tensor([0])).detach()
        noised = left**0.5 * x + (1 - left) ** 0.5 * put
        loss = (network(noised, torch.tensor([200])) - put).square().mean()
        slopes = torch.autograd.grad(loss, list(network.parameters()))
        expected = -float(torch.stack([slope.norm().log() for slope in slopes]).mean())
        assert found[i] == pytest.approx(expected, rel=1e-4)


def test_what_norms_mean_is_learnt_on_reference_models_alone(tmp_path: Any) -> None:
    words, empty = composed(tmp_path, "victim=ddpm").victim, np.zeros((1, 1))
    views: list[Any] = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made: Any = build(words, "victim", shape=(1, 32, 32))
        torch.nn.init.normal_(made.average.unet.conv_out.weight, std=0.1)
        views.append(made.freeze_for_release().view(DenoiserWithGradients, empty, empty, 4))
    victim, shadow = views
    known, strangers, queries = digits(0, 4), digits(1, 3), digits(2, 3)
    given = vars(victim) | {"shadows": (Shadow(shadow, known.numpy(), strangers.numpy()),)}
    found = PIAGradientWithShadows([100, 200], 1.0).score(
        DenoiserWithGradientsAndShadows(**given), queries
    )

    def features(view: Any, records: torch.Tensor) -> np.ndarray:
        put = view.denoise(records, torch.zeros(len(records), dtype=torch.int64))
        return np.hstack(
            [view.gradient_norms(records, [t], put[:, None]).log() for t in (100, 200)]
        )

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
    model.fit(features(shadow, torch.cat([known, strangers])), [1] * 4 + [0] * 3)
    assert found == pytest.approx(model.decision_function(features(victim, queries)), abs=1e-3)


def test_what_the_gradient_of_pias_loss_cannot_work_on() -> None:
    view = Memoriser(digits(0, 4)).grant(DenoiserWithGradients)
    with pytest.raises(Unsuited, match="asks for level 1000, but the schedule has 1000"):
        PIAGradient(t=1000).score(view, digits(1, 2))
    row = tuple(people(0, 1).shape[1:])
    with pytest.raises(UserError, match=r"^attack=pia_gradient is for images: .*; use gsa"):
        PIAGradient(t=200).refuse(row)
    with pytest.raises(UserError, match=r"^attack=pia_gradient_shadows is for images: "):
        PIAGradientWithShadows([200], 1.0).refuse(row)
    more = Memoriser(digits(0, 4)).grant(DenoiserWithGradientsAndShadows)
    with pytest.raises(Unsuited, match="asks for level 1000, but the schedule has 1000"):
        PIAGradientWithShadows([200, 1000], 1.0).score(more, digits(1, 2))


@pytest.mark.parametrize(("victim", "granted"), [("ddpm", True), ("vae", False), ("dcgan", False)])
def test_who_has_both_a_denoiser_and_gradients(tmp_path: Any, victim: str, granted: bool) -> None:
    kind = get_class(composed(tmp_path, f"victim={victim}").victim._target_)
    assert kind.can_grant(PIAGradient.access) is granted


def test_one_reason_for_several_attacks_is_said_once(tmp_path: Any) -> None:
    words = "attack=[pia_gradient,pia_gradient_shadows]", "reference.members=16"
    with pytest.raises(
        UserError, match=r"victim: the victim does not grant denoiser_with_gradients$"
    ):
        prepare(open_request(composed(tmp_path, "victim=dcgan", *words)))
