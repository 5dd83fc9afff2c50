"""The VAE: its bound against torch.distributions, its encoder, images and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import digits, fit_in
from omegaconf import DictConfig
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from benchmark.config.build import build
from victims.access import AccessibleDiscriminator, AccessibleEncoder, WhiteBox
from victims.errors import NoAccess, UserError
from victims.training.train import load_victim
from victims.vae import VAE, Standardise, draw_code, kl_from_prior


def table(likelihood: str, d: int = 20, **settings: float) -> VAE:
    torch.manual_seed(0)
    given = {"width": 16, "steps": 2, "batch_size": 8, "learning_rate": 1e-3, **settings}
    return VAE((d,), 4, likelihood=likelihood, **given)  # type: ignore[arg-type]


def train(victim: VAE, data: Tensor, folder: Path) -> VAE:
    fit_in(folder, victim, lambda rows: data[rows], size=len(data), seed=5)
    load_victim(victim, folder)
    return victim


def counts(n: int, d: int) -> Tensor:
    """Columns on very different scales, the last one constant."""
    draw = np.random.default_rng(0).poisson(np.geomspace(0.5, 500, d), (n, d))
    draw[:, -1] = 3
    return torch.from_numpy(draw).float()


def test_the_divergence_is_that_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(2, 7, 5)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_from_prior(mean, log_variance), expected)
    assert torch.equal(kl_from_prior(torch.zeros(3, 5), torch.zeros(3, 5)), torch.zeros(3))


def test_codes_have_the_encoded_mean_and_variance() -> None:
    mean, log_variance = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 2.0])
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    z = draw_code(mean, log_variance, noise)
    torch.testing.assert_close(z.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(z.var(0), log_variance.exp(), atol=0, rtol=0.02)


def test_a_bernoulli_table_releases_the_likelihoods_mean() -> None:
    victim, z, x = table("bernoulli"), torch.randn(6, 4), (torch.rand(6, 20) < 0.3).float()
    released = victim.decode(z)
    assert ((released > 0) & (released < 1)).all()
    expected = -Bernoulli(probs=released).log_prob(x).sum(1)
    torch.testing.assert_close(victim.reconstruction_loss(z, x), expected)


def test_the_gaussian_likelihood_is_the_closed_form(config: Callable[..., DictConfig]) -> None:
    victim = build(config("victim=vae", "victim.sigma=0.7").victim, "victim", shape=(1, 32, 32))
    victim.eval()
    z, x = torch.randn(3, victim.z_dim), digits(0, 3)
    squares = (x - victim.decode(z)).square().flatten(1).sum(1)
    expected = squares / (2 * 0.7**2) + 1024 * np.log(0.7 * np.sqrt(2 * np.pi))
    torch.testing.assert_close(victim.reconstruction_loss(z, x), expected)


def test_standardised_columns_and_back() -> None:
    data, columns = counts(64, 6), Standardise(6)
    columns(data[:32]), columns(data[32:])
    expected = (data[:32].var(0, correction=0) + data[32:].var(0, correction=0)) / 2
    torch.testing.assert_close(columns.mean, data.mean(0))
    torch.testing.assert_close(columns.variance, expected)
    columns.eval()
    assert torch.isfinite(columns(data)).all()
    torch.testing.assert_close(columns.undo_scaling(columns(data)), data, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_counts_on_different_scales_are_learned_in_their_units(tmp_path: Path) -> None:
    data = counts(200, 12)
    victim = train(table("gaussian", 12, steps=400, batch_size=50), data, tmp_path)
    samples = victim.generate(torch.randn(500, 4, generator=torch.Generator().manual_seed(0)))
    assert ((samples.mean(0) - data.mean(0)).abs() < 0.3 * data.std(0) + 0.05).all()


@pytest.mark.slow
def test_training_raises_the_bound(tmp_path: Path) -> None:
    data = (torch.rand(64, 1, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    data = data.repeat(1, 20)  # one bit decides all: about ln 2 nats instead of 20 ln 2
    victim = train(table("bernoulli", steps=600, batch_size=32, learning_rate=0.01), data, tmp_path)
    assert victim.losses["negative elbo"] < 3 < 20 * np.log(2)
    torch.testing.assert_close(victim.reconstruct(data, 0), data, atol=0.2, rtol=0)


@pytest.mark.parametrize("name", ["vae", "vae_table"])
def test_the_encoder_is_granted_and_treats_each_row_alone(
    config: Callable[..., DictConfig], name: str
) -> None:
    torch.manual_seed(0)
    data = digits(0, 6) if name == "vae" else (torch.rand(6, 20) < 0.3).float()
    victim = build(config(f"victim={name}").victim, "victim", shape=tuple(data.shape[1:]))
    victim.freeze_for_release()
    view = victim.view(AccessibleEncoder, np.zeros(1), np.zeros(1), 8)
    found = view.reconstruct(data, 3)
    assert found.shape == data.shape
    torch.testing.assert_close(view.reconstruct(data.flip(0), 3).flip(0), found)
    torch.testing.assert_close(view.reconstruct(data[2:3], 3), found[2:3])
    assert torch.equal(view.reconstruct(data, 3), found)
    assert not torch.equal(view.reconstruct(data, 4), found)
    assert not hasattr(view, "generate")


def test_views_of_a_vae() -> None:
    victim = table("bernoulli").freeze_for_release()
    codes = np.zeros((1, 4), np.float32)
    assert victim.view(WhiteBox, codes, codes, 8).z_dim == 4
    with pytest.raises(NoAccess, match="victim does not grant accessible_discriminator"):
        victim.view(AccessibleDiscriminator, codes, codes, 8)


def test_mistakes_are_one_clear_line(config: Callable[..., DictConfig], tmp_path: Path) -> None:
    images = config("victim=vae", "victim.likelihood=bernoulli").victim
    with pytest.raises(UserError, match="likelihood=bernoulli: allowed for records of shape"):
        build(images, "victim", shape=(1, 32, 32))
    with pytest.raises(UserError, match=r"sigma=-1"):
        table("gaussian", sigma=-1.0)
    with pytest.raises(UserError, match="holds 3, outside"):
        train(table("bernoulli"), torch.full((8, 20), 3.0), tmp_path)
