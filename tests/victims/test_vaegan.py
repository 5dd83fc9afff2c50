"""The VAE-GANs: losses against closed forms, which network learns from what, views."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import digits, fit_in
from omegaconf import DictConfig
from torch import nn
from torch.distributions import Normal

from benchmark.config.build import build
from victims.access import AccessibleDiscriminator, AccessibleEncoder, WhiteBox
from victims.errors import UserError
from victims.networks import ConvDiscriminator
from victims.training.train import load_victim
from victims.vaegan import VAEGAN, LarsenVAEGAN, feature_errors, hinge_losses, normalise_spectrum

BOTH = pytest.mark.parametrize("name", ["vaegan", "vaegan_larsen"])
Victims = VAEGAN | LarsenVAEGAN


def make(config: Callable[..., DictConfig], name: str, *overrides: str) -> Victims:
    torch.manual_seed(0)
    return build(config(f"victim={name}", *overrides).victim, "victim", shape=(1, 32, 32))


def train(victim: Victims, folder: Path) -> None:
    data = digits(0, 24)
    folder.mkdir(exist_ok=True)
    fit_in(folder, victim, lambda rows: data[rows], size=24, seed=5)


def changed(victim: Victims, before: dict[str, torch.Tensor]) -> set[str]:
    """Networks of which a trained parameter moved."""
    now = dict(victim.named_parameters())
    return {n.split(".")[0] for n, old in before.items() if not torch.equal(now[n], old)}


def test_the_hinge_loss_is_its_closed_form() -> None:
    on_real, on_fake = torch.tensor([0.2, 0.9]), torch.tensor([-0.7, 0.1, 0.3, -0.6])
    expected = torch.tensor([0.3 + (0.0 + 0.8) / 2, 0.0 + (0.6 + 0.0) / 2])
    torch.testing.assert_close(hinge_losses(on_real, on_fake, 0.5), expected)
    assert (hinge_losses(torch.full((3,), 0.6), torch.full((6,), -0.6), 0.5) == 0).all()


def test_the_feature_error_is_a_gaussian_likelihood() -> None:
    features, target = torch.randn(2, 5, 4, 3, 3)
    likelihood = Normal(features, 1.0).log_prob(target).flatten(1).sum(1)
    constant = 36 * 0.5 * np.log(2 * np.pi)
    expected = -likelihood - constant
    torch.testing.assert_close(feature_errors(features, target), expected.float())


def test_spectral_normalisation_makes_largest_singular_values_one() -> None:
    torch.manual_seed(0)
    network = normalise_spectrum(ConvDiscriminator((1, 32, 32), 8, norm=None))
    for _ in range(200):  # each pass in training mode is a step of the power iteration
        network(torch.zeros(1, 1, 32, 32))
    weights = [m.weight for m in network.eval().modules() if isinstance(m, nn.Conv2d)]
    assert len(weights) == 4
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


@BOTH
def test_every_network_learns_and_reloads_to_the_same_samples(
    config: Callable[..., DictConfig], tmp_path: Path, name: str
) -> None:
    victim = make(config, name, "victim.steps=2")
    before = {n: p.detach().clone() for n, p in victim.named_parameters()}
    train(victim, tmp_path)
    assert changed(victim, before) == {n.split(".")[0] for n in before}
    codes, data = torch.randn(4, victim.z_dim), digits(1, 4)
    again = load_victim(make(config, name, "victim.steps=2"), tmp_path)
    victim.freeze_for_release()
    assert torch.equal(victim.generate(codes), again.generate(codes))
    assert torch.equal(victim.reconstruct(data, 1), again.reconstruct(data, 1))  # type: ignore[operator]
    assert torch.equal(victim.discriminate(data), again.discriminate(data))  # type: ignore[operator]


@BOTH
def test_discriminator_and_encoder_treat_each_row_alone(
    config: Callable[..., DictConfig], name: str
) -> None:
    victim, data = make(config, name), digits(0, 6)
    victim.freeze_for_release()
    bank = np.zeros((1, victim.z_dim), np.float32)
    judge = victim.view(AccessibleDiscriminator, bank, bank, 8).discriminate
    coder = victim.view(AccessibleEncoder, bank, bank, 8).reconstruct
    assert judge(data).shape == (6,)
    torch.testing.assert_close(judge(data)[2:4], judge(data[2:4]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(coder(data, 1)[2:4], coder(data[2:4], 1), rtol=1e-4, atol=1e-5)
    assert not torch.equal(coder(data, 1), coder(data, 2))
    assert victim.view(WhiteBox, bank, bank, 8).z_dim == victim.z_dim


def test_the_discriminator_comes_to_favour_real_records(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    overrides = "victim.steps=40", "victim.learning_rate=1e-12", "victim.discriminator_rate=0.004"
    victim = make(config, "vaegan", *overrides)
    train(victim, tmp_path)
    victim.freeze_for_release()
    on_real = victim.discriminate(digits(0, 24)).mean()
    assert on_real > victim.discriminate(victim.generate(torch.randn(24, victim.z_dim))).mean()


def test_the_larsen_encoder_step_leaves_the_other_networks_alone(
    config: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, seen = make(config, "vaegan_larsen", "victim.steps=1"), {}
    descend = victim.descend

    def watched(optimizer: object, loss: torch.Tensor, name: str) -> None:
        before = {n: p.detach().clone() for n, p in victim.named_parameters()}
        descend(optimizer, loss, name)
        seen[name] = changed(victim, before)

    monkeypatch.setattr(victim, "descend", watched)
    train(victim, tmp_path)
    assert seen == {name: {name} for name in ("discriminator", "encoder", "generator")}


@BOTH
def test_a_table_is_refused(config: Callable[..., DictConfig], name: str) -> None:
    with pytest.raises(UserError, match="makes images"):
        build(config(f"victim={name}").victim, "victim", shape=(20,))
