from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONF, digits, fit_in
from omegaconf import DictConfig
from torch import Tensor

from benchmark.config.build import build
from benchmark.job.request import open_request
from benchmark.models.recipe import Model, Recipe
from victims.access import AccessibleDiscriminator
from victims.accounting import epsilon_of_steps, epsilon_unsampled
from victims.budget import SPENT
from victims.errors import NoAccess, UserError
from victims.gs_wgan import GSWGAN
from victims.private import BudgetSpent, Mechanism
from victims.training.batches import PartBatches

Config = Callable[..., DictConfig]


def make(config: Config, *overrides: str, **dp: Any) -> tuple[GSWGAN, Any]:
    torch.manual_seed(0)
    settings = config("victim=gs_wgan", "dp=on", *overrides)
    victim = build(settings.victim, "victim", shape=(1, 32, 32))
    victim.make_private()
    terms = {"epsilon": None, "noise_multiplier": 1.0, "accountant": "rdp"} | dp
    return victim, build(settings.dp, "dp", **terms).attach_mechanism(victim, 24)


def train(victim: GSWGAN, data: Tensor, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    fit_in(folder, victim, data.__getitem__, size=len(data), seed=5)


def test_each_record_has_one_critic_and_each_batch_one_part() -> None:
    batches = PartBatches(
        torch.from_numpy, 50, 8, 0, 60, 3, parts=4, part=lambda batch: batch // 2 % 4
    )
    seen: dict[int, set[int]] = {part: set() for part in range(4)}
    for i in range(len(batches)):
        assert len(batches[i]) == 8
        seen[i // 2 % 4] |= set(batches[i].tolist())
    assert sum(map(len, seen.values())) == len(set.union(*seen.values())) > 40
    alone = PartBatches(torch.from_numpy, 1, 8, 0, 4, 3, parts=4, part=lambda batch: batch)
    assert sorted(len(alone[i]) for i in range(4)) == [0, 0, 0, 8]


def test_clipping_and_noise_have_the_sizes_that_are_accounted() -> None:
    mechanism = Mechanism(0.5, 2.0, 1.0, 4, 1, limit=2)
    victim = torch.nn.Module()
    victim.register_buffer("private_steps", torch.zeros((), dtype=torch.int64))
    gradients = torch.zeros(2000, 3, 10)
    gradients[:1000, 0, 0], gradients[1000:, 0, 0] = 30.0, 0.5
    found = mechanism.sanitise_gradients(victim, gradients)
    assert found[:1000, 0, 0].mean().item() == pytest.approx(2.0, abs=0.15)  # clipped
    assert found[1000:, 0, 0].mean().item() == pytest.approx(0.5, abs=0.15)  # as it was
    assert found[:, 1:].std().item() == pytest.approx(1.0, abs=0.02)
    mechanism.sanitise_gradients(victim, gradients)
    with pytest.raises(BudgetSpent):
        mechanism.sanitise_gradients(victim, gradients)


def test_the_generator_learns_nothing_but_what_is_sanitised(config: Config, tmp_path: Path) -> None:
    """Clipped to nearly nothing under noise of size 1, other records give the same generator."""
    generators, critics = [], []
    for name, data in (("a", digits(0, 24)), ("b", digits(1, 24))):
        victim, _ = make(config, "victim.steps=8", noise_multiplier=1e20, max_grad_norm=1e-20)
        train(victim, data, tmp_path / name)
        generators.append(victim.generator.state_dict())
        critics.append(victim.critics.state_dict())
    assert all(torch.equal(generators[0][key], generators[1][key]) for key in generators[0])
    assert not all(torch.equal(critics[0][key], critics[1][key]) for key in critics[0])


def test_the_critic_that_speaks_is_the_one_that_was_trained(config: Config, tmp_path: Path) -> None:
    victim, _ = make(config, "victim.steps=8", "victim.n_critic=2", "victim.parts=3")
    trained, spoke = [], []
    for i, critic in enumerate(victim.critics):
        critic.register_forward_hook(lambda _, x, y, i=i: trained.append(i))
    step = victim.generator_step

    def generator_step(optimizer: Any) -> None:
        before = trained[-1]
        step(optimizer)
        spoke.append((before, trained[-1]))

    victim.generator_step = generator_step  # type: ignore[method-assign]
    train(victim, digits(0, 24), tmp_path)
    assert spoke == [(0, 0), (1, 1), (2, 2), (0, 0)]


def test_a_record_pays_for_its_critic_s_turns_alone(config: Config, tmp_path: Path) -> None:
    overrides = "victim.steps=14", "victim.n_critic=2", "victim.parts=3"
    victim, ledger = make(config, *overrides, noise_multiplier=50.0)
    train(victim, digits(0, 24), tmp_path)
    assert victim.private_steps == 7
    ledger.write_spent(victim, tmp_path)
    spent = json.loads((tmp_path / SPENT).read_text())
    noise = 50.0 / (2 * np.sqrt(victim.batch_size))
    assert spent["epsilon"] == pytest.approx(epsilon_of_steps(noise, 3, 1.0, ledger.delta, "rdp"))


def test_a_promise_is_kept_and_the_critics_are_not_given_away(
    config: Config, tmp_path: Path
) -> None:
    victim, ledger = make(config, epsilon=3.0, noise_multiplier=None)
    assert (
        0.98 * 3.0 < ledger.epsilon_after(1) <= 3.0
    )  # 4 batches, 2 generator steps, a turn at most
    with pytest.raises(NoAccess):
        victim.view(AccessibleDiscriminator, np.zeros(1), np.zeros(1), 8)


def test_without_privacy_the_gradient_is_the_critic_s(config: Config) -> None:
    settings = config("victim=gs_wgan", "victim.parts=1").victim
    torch.manual_seed(0)
    victim = build(settings, "victim", shape=(1, 32, 32))
    optimizers = victim.configure_optimizers()
    victim.optimizers = lambda: optimizers
    seen = {}
    victim.descend = lambda optimizer, loss, name: seen.update({name: loss})
    torch.manual_seed(1)
    victim.generator_step(optimizers[1])
    ours = torch.autograd.grad(seen["generator"], list(victim.generator.parameters()))
    torch.manual_seed(1)
    fake = victim.generator(victim.prior(victim.batch_size))
    loss = -victim.critics[0](fake).mean()
    for mine, plain in zip(
        ours, torch.autograd.grad(loss, victim.generator.parameters()), strict=True
    ):
        torch.testing.assert_close(mine, plain)


def test_no_critic_is_refused(config: Config) -> None:
    with pytest.raises(UserError, match=r"victim\.parts=0"):
        build(config("victim=gs_wgan", "victim.parts=0").victim, "victim", shape=(1, 32, 32))


def test_batches_are_counted_though_only_generator_steps_are_private(
    config: Config, tmp_path: Path
) -> None:
    victim, _ = make(config, "victim.steps=8", "victim.n_critic=2", "victim.parts=3")
    (tmp_path / SPENT).write_text(json.dumps({"private_steps": 4}))
    recipe = Recipe(open_request(config()).victim, np.arange(24), 0, "victim")
    assert Model(recipe, victim, 0, {}, tmp_path, lambda: tmp_path).steps == 8


def test_the_published_settings_spend_what_the_documents_say(config: Config) -> None:
    """As published the noise is 1.07 times twice the clipping norm, and 1 000 critics take turns."""
    settings = config("victim=gs_wgan", "victim.parts=1000", "victim.batch_size=32").victim
    terms = build(settings, "victim", shape=(1, 32, 32)).terms_of_steps(60_000)
    turns = 20_000 // terms.together
    assert terms.rate == 1
    spent = epsilon_unsampled(1.07 * 2 / terms.sensitivity, turns, 1e-5)
    assert f"spend ε = {spent:.0f}." in " ".join(
        (CONF.parent / "attacks" / "README.md").read_text("utf-8").split()
    )
