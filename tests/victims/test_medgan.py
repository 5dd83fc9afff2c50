"""MedGAN: its two phases, minibatch averaging, shortcuts, binary and count records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import built, digits, fit_in
from omegaconf import DictConfig
from torch import Tensor

from benchmark.config.build import build
from victims.access import AccessibleDiscriminator, AccessibleEncoder, WhiteBox
from victims.errors import NoAccess, UserError
from victims.medgan import AveragingDiscriminator, MedGAN, Shortcut
from victims.training.train import load_victim

SETTINGS: dict[str, Any] = {
    "z_dim": 8,
    "kind": "binary",
    "layers": 3,
    "widths": [16, 8],
    "steps": 7,
    "pretrain_steps": 2,
    "discriminator_steps": 2,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "weight_decay": 1e-3,
}


def make(shape: tuple[int, ...] = (20,), **changes: Any) -> MedGAN:
    torch.manual_seed(0)
    made: MedGAN = built(MedGAN, "victim", {"shape": shape}, **{**SETTINGS, **changes})
    return made


def records(n: int = 24, d: int = 20) -> Tensor:
    return (torch.rand(n, d, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def train(victim: MedGAN, data: Tensor, folder: Path) -> None:
    fit_in(folder, victim, lambda rows: data[rows], size=len(data), seed=5)


def test_the_phases_follow_the_count_of_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, moved = make(), []
    descend = victim.descend

    def watched(optimizer: Any, loss: Tensor, name: str) -> None:
        before = {n: p.detach().clone() for n, p in victim.named_parameters()}
        descend(optimizer, loss, name)
        now = dict(victim.named_parameters())
        networks = {n.split(".")[0] for n in now if not torch.equal(now[n], before[n])}
        moved.append((name, networks))

    monkeypatch.setattr(victim, "descend", watched)
    train(victim, records(), tmp_path)
    autoencoder = ("autoencoder", {"encoder", "decoder"})
    discriminator = ("discriminator", {"discriminator"})
    generator = ("generator", {"generator", "decoder"})
    adversarial = [discriminator, discriminator, generator]
    assert moved == [autoencoder] * 2 + adversarial * 2 + [discriminator]


def test_it_reloads_to_the_same_samples_and_phase(tmp_path: Path) -> None:
    victim = make()
    train(victim, records(), tmp_path)
    victim.freeze_for_release()
    again = load_victim(make(), tmp_path)
    codes = torch.randn(5, 8)
    assert torch.equal(victim.generate(codes), again.generate(codes))
    assert torch.equal(victim.discriminate(records()), again.discriminate(records()))  # type: ignore[operator]
    assert int(again.done) == 7  # type: ignore[arg-type]


def test_in_training_a_record_is_judged_beside_its_batchs_average() -> None:
    torch.manual_seed(0)
    network, x = AveragingDiscriminator(5, (6,)), torch.rand(4, 5)
    pairs = torch.stack([torch.cat([row, x.mean(0)]) for row in x])
    torch.testing.assert_close(network(x), network.layers(pairs)[:, 0])


def test_in_evaluation_it_is_judged_beside_the_training_average() -> None:
    torch.manual_seed(0)
    network, x = AveragingDiscriminator(5, (6,)), torch.rand(12, 5)
    for batch in x.split(4):
        network.remember_average(batch)
    torch.testing.assert_close(network.average, x.mean(0))
    network.eval()
    pairs = torch.cat([x, x.mean(0).expand_as(x)], 1)
    torch.testing.assert_close(network(x), network.layers(pairs)[:, 0])
    torch.testing.assert_close(network(x)[3:4], network(x[3:4]))


def test_the_stored_average_is_that_of_the_real_batches(tmp_path: Path) -> None:
    data = records(24)
    victim = make(steps=6, pretrain_steps=3, batch_size=8)  # the second phase is one epoch
    train(victim, data, tmp_path)
    torch.testing.assert_close(victim.discriminator.average, data.mean(0))


def test_a_shortcut_adds_its_input() -> None:
    torch.manual_seed(0)
    layer, x = Shortcut(6, torch.nn.Tanh()).eval(), torch.randn(3, 6)
    linear = layer.layers[0]
    assert isinstance(linear, torch.nn.Linear)
    expected = x + torch.tanh(x @ linear.weight.T / np.sqrt(1 + 1e-5))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("kind", ["binary", "count"])
def test_released_records_are_in_range(kind: str, tmp_path: Path) -> None:
    victim = make(kind=kind)
    train(victim, records() * (1 if kind == "binary" else 5), tmp_path)
    load_victim(victim, tmp_path)
    x = victim.generate(torch.randn(50, 8))
    assert (x >= 0).all()
    assert (x <= 1).all() or kind == "count"
    torch.testing.assert_close(
        victim.generate(torch.ones(3, 8))[0], victim.generate(torch.ones(1, 8))[0]
    )


@pytest.mark.slow
def test_it_learns_the_marginals(tmp_path: Path) -> None:
    p = torch.linspace(0.05, 0.95, 20)
    data = (torch.rand(500, 20, generator=torch.Generator().manual_seed(1)) < p).float()
    victim = make(steps=800, pretrain_steps=300, batch_size=50, z_dim=16)
    codes = torch.randn(1000, 16, generator=torch.Generator().manual_seed(2))
    untrained = (make(z_dim=16).eval().generate(codes).mean(0) - data.mean(0)).abs().mean()
    train(victim, data, tmp_path)
    load_victim(victim, tmp_path)
    error = (victim.generate(codes).mean(0) - data.mean(0)).abs().mean()
    assert error < 0.1
    assert error < untrained / 2


def test_views_of_a_medgan() -> None:
    victim, bank = make(), np.zeros((1, 8), np.float32)
    victim.freeze_for_release()
    view = victim.view(WhiteBox, bank, bank, 8)
    z = torch.randn(2, 8, requires_grad=True)
    view.differentiate(z).sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0
    assert victim.view(AccessibleDiscriminator, bank, bank, 8).discriminate(records()).shape == (
        24,
    )
    with pytest.raises(NoAccess, match="victim does not grant accessible_encoder"):
        victim.view(AccessibleEncoder, bank, bank, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "real"}, "victim.kind=real"),
        ({"pretrain_steps": 7}, "victim.pretrain_steps=7"),
        ({"discriminator_steps": 0}, "victim.discriminator_steps=0"),
        ({"shape": tuple(digits(0, 1).shape[1:])}, "medgan makes tables"),
    ],
)
def test_mistakes_are_one_clear_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**changes)


@pytest.mark.slow
def test_one_step_of_each_phase_at_the_papers_sizes(
    config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    overrides = "victim.steps=3", "victim.pretrain_steps=1"
    settings = config("victim=medgan", "scale=paper", *overrides).victim
    victim = build(settings, "victim", shape=(1071,))
    train(victim, records(1000, 1071), tmp_path)
    assert {"autoencoder", "discriminator", "generator"} == set(victim.losses)
    assert sum(p.numel() for p in victim.parameters()) == 906_928
