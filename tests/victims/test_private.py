"""Private training: each record's gradient, Opacus' clipping and noise, and what is spent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TABLES, digits, fit_in, names, records
from omegaconf import DictConfig
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmark.config.build import build
from victims import private
from victims.base import NonFiniteLoss, Victim
from victims.private import (
    BudgetSpent,
    Mechanism,
    bound_gradients,
    make_independent,
    per_record,
)
from victims.training.batches import PoissonBatches

Config = Callable[..., DictConfig]


PER_RECORD = [name for name in names("victim") if name not in ("gs_wgan", "ctgan", "package")]
"""Victims whose private steps clip each record's gradient."""


def make(config: Config, name: str, *overrides: str, **dp: Any) -> tuple[Victim, Tensor]:
    data, settings = records(name), config(f"victim={name}", "dp=on", *overrides)
    torch.manual_seed(1)
    victim: Victim = build(settings.victim, "victim", shape=tuple(data.shape[1:]))
    victim.make_private()
    build(settings.dp, "dp", **({"epsilon": None, "noise_multiplier": 1.0} | dp)).attach_mechanism(
        victim, 24
    )
    return victim, data


def train(victim: Victim, data: Tensor, folder: Path) -> None:
    fit_in(folder, victim, data.__getitem__, size=len(data), seed=5)


def one_by_one(victim: Victim, parameters: list[nn.Parameter], losses: Any, batch: Any) -> Any:
    """Gradients by ordinary autograd, a record at a time."""
    found = []
    for i in range(len(batch[0])):
        loss = losses(*(rows[i : i + 1] for rows in batch)).sum()
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parameters, slopes, strict=True)
        found.append([torch.zeros_like(p) if g is None else g.detach() for p, g in pairs])
    return [torch.stack(rows) for rows in zip(*found, strict=True)]


@pytest.mark.parametrize("name", PER_RECORD)
def test_gradients_are_those_of_a_loop_over_records(
    config: Config, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every loss that a victim trains privately, in training mode, after some steps."""
    victim, data = make(config, name)
    compared: list[int] = []

    def both_ways(victim: Any, parameters: Any, losses: Any, batch: Any) -> Any:
        # In double precision: in single, |x| and relu flip their slopes where both ways round apart.
        victim.double()
        exact = [rows.double() for rows in batch]
        gradients, values = per_record(victim, parameters, losses, exact)
        with torch.enable_grad():
            expected = one_by_one(victim, parameters, losses, exact)
        for gradient, slope in zip(gradients, expected, strict=True):
            torch.testing.assert_close(gradient, slope, rtol=1e-5, atol=1e-7)
        assert not len(values) or max(float(slope.abs().max()) for slope in expected) > 1e-3
        victim.float()
        compared.append(len(values))
        return [gradient.float() for gradient in gradients], values.float()

    counts, step = [], victim.training_step

    def counted(*batch: Any) -> None:
        before = int(victim.private_steps)
        step(*batch)
        counts.append(int(victim.private_steps) - before)

    monkeypatch.setattr(private, "per_record", both_ways)
    monkeypatch.setattr(victim, "training_step", counted)
    train(victim, data, tmp_path)
    assert counts == [victim.queries] * victim.steps  # as many as are accounted
    assert sum(compared) > 0


@pytest.mark.parametrize("name", PER_RECORD)
def test_only_the_declared_networks_see_real_records_and_only_through_private_steps(
    config: Config, name: str, tmp_path: Path
) -> None:
    """Clipped to nearly nothing under noise of size 1, other records must end in the same bits."""
    states = []
    for i, change in enumerate((lambda x: x, lambda x: 0.5 * x.flip(-1))):
        victim, data = make(config, name, noise_multiplier=1e20, max_grad_norm=1e-20)
        (tmp_path / str(i)).mkdir()
        train(victim, change(data), tmp_path / str(i))
        states.append(victim.state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


@pytest.mark.slow
@pytest.mark.parametrize("name", PER_RECORD)
def test_how_many_records_a_batch_holds_leaves_no_trace_but_through_private_steps(
    config: Config, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients clipped to nothing, equal noise: each size of batch ends in the same weights.

    Sizes: none, a whole micro-batch, one record more, one less than three. Draws for the records
    move torch's generator, so the noise has seeds of its own, and what is drawn after it goes on
    from there.
    """
    add_noise = DPOptimizer.add_noise

    def seeded(optimizer: DPOptimizer) -> None:
        torch.manual_seed(int(victim.private_steps))
        add_noise(optimizer)

    monkeypatch.setattr(DPOptimizer, "add_noise", seeded)
    states = []
    for n in (0, 4, 5, 11):
        monkeypatch.setattr(PoissonBatches, "rows_of_batch", lambda self, step, n=n: np.arange(n))
        victim, data = make(config, name, noise_multiplier=1e20, max_grad_norm=1e-20, micro_batch=4)
        (tmp_path / str(n)).mkdir()
        train(victim, data, tmp_path / str(n))
        states.append(victim.state_dict())
    for state in states[1:]:
        for key, value in states[0].items():
            assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("name", PER_RECORD)
def test_an_empty_batch_is_a_step_of_noise(config: Config, name: str, tmp_path: Path) -> None:
    victim, data = make(config, name)
    victim.mechanism = Mechanism(1.0, 1.0, 1e-9, victim.batch_size, 4, 1000)
    before = {key: value.clone() for key, value in victim.state_dict().items()}
    train(victim, data, tmp_path)
    after = victim.state_dict()
    assert victim.private_steps == victim.steps * victim.queries
    for network in victim.reached:
        changed = [k for k in after if k.startswith(network + ".") and after[k].is_floating_point()]
        assert any(not torch.equal(before[key], after[key]) for key in changed), network
    assert all(torch.isfinite(value).all() for value in after.values())


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
    )


class Plain(nn.Module):
    """A module with a network, and what a private step needs beside it."""

    canaries, queries = None, 1

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("private_steps", torch.zeros((), dtype=torch.int64))


@pytest.mark.parametrize("micro_batch", [3, 64])
def test_the_noised_sum_is_that_of_opacus_own_hooks(micro_batch: int) -> None:
    x, y = torch.randn(10, 1, 8, 8), torch.randn(10, 2) * 5
    settings = {"noise_multiplier": 0.7, "max_grad_norm": 2.0, "expected_batch_size": 8}
    theirs = GradSampleModule(net(), loss_reduction="mean")
    optimizer = DPOptimizer(torch.optim.SGD(theirs.parameters(), 0.1), **settings)
    mse_loss(theirs(x), y).backward()
    torch.manual_seed(0)
    optimizer.step()

    ours = Plain(net())
    mechanism = Mechanism(0.7, 2.0, 0.5, 8, micro_batch, 1)
    losses = lambda x, y: (ours.network(x) - y).square().mean(1)  # noqa: E731
    torch.manual_seed(0)
    mechanism.take_step(ours, torch.optim.SGD(ours.parameters(), 0.1), losses, (x, y))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_the_limit_holds_and_a_record_of_bad_loss_adds_nothing() -> None:
    victim = Plain(nn.Linear(2, 1))
    mechanism = Mechanism(0.0, 1.0, 0.5, 4, 2, limit=2)
    optimizer = Kept(victim.parameters(), 0.1)
    losses = lambda x: victim.network(x).squeeze(1)  # noqa: E731
    x = torch.randn(4, 2)
    x[3] = torch.inf
    mechanism.take_step(victim, optimizer, losses, (x,))
    with_it = optimizer.kept
    mechanism.take_step(victim, optimizer, losses, (x[:3],))
    assert torch.equal(with_it, optimizer.kept)
    assert with_it.norm() > 0
    assert victim.private_steps == 2
    with pytest.raises(BudgetSpent):
        mechanism.take_step(victim, optimizer, losses, (x[:3],))


class Kept(torch.optim.SGD):
    """Keeps the gradient that it is given, and moves nothing."""

    def step(self, closure: Any = None) -> None:
        self.kept = torch.cat(
            [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        )


@pytest.mark.parametrize("records", [1, 3])
def test_mixed_precision_clips_and_noises_in_full(records: int) -> None:
    """The sum of n records' gradients is never longer than n times the clipping norm."""
    victim = Plain(nn.Linear(300, 7))
    optimizer = Kept(victim.parameters(), 0.1)
    x = torch.randn(1, 300).expand(records, 300)
    mechanism = Mechanism(0.0, 1.0, 0.5, 1, 2, limit=9)
    with torch.autocast("cpu", torch.bfloat16):
        mechanism.take_step(
            victim, optimizer, lambda x: 99 * victim.network(x).sum(1).float(), (x,)
        )
        rows = mechanism.sanitise_gradients(victim, 99 * x)
    assert optimizer.kept.dtype == rows.dtype == torch.float32
    assert 0.999 * records < optimizer.kept.norm() <= records * (1 + 1e-6)
    assert rows.norm(dim=1).max() <= 1 + 1e-6


@pytest.mark.parametrize("wrong", [torch.inf, -torch.inf, torch.nan, 1e30])
def test_a_gradient_that_is_not_finite_stays_within_its_bound(wrong: float) -> None:
    """sqrt(0) has a finite value and an infinite slope: one such record must not spoil the sum."""
    rows = torch.full((2, 5), 9.0)
    rows[1, 3] = wrong
    clipped = Mechanism(0.0, 1.0, 0.5, 1, 2, limit=1).sanitise_gradients(Plain(net()), rows)
    assert clipped.norm(dim=1).max() <= 1 + 1e-6
    victim = Plain(nn.Linear(1, 1, bias=False))
    optimizer = Kept(victim.parameters(), 0.1)
    mechanism = Mechanism(0.0, 1.0, 0.5, 1, 4, limit=1)
    x = torch.tensor([[0.0], [4.0]])
    losses = lambda x: victim.network(x).abs().sqrt().sum(1)  # noqa: E731
    mechanism.take_step(victim, optimizer, losses, (x,))
    assert optimizer.kept.isfinite().all()
    assert 0 < optimizer.kept.norm() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["dcgan", "vae", "vaegan", "gs_wgan"])
def test_only_weights_that_are_not_finite_stop_private_training(
    config: Config, name: str, tmp_path: Path
) -> None:
    """A stop because of one record's loss would tell that the record is there."""
    victim, data = make(config, name)
    data[:8] = torch.nan
    train(victim, data, tmp_path)
    assert victim.private_steps > 0
    assert victim.decode(torch.randn(9, victim.z_dim)).isfinite().all()
    victim, data = make(config, name, max_grad_norm=1e38, noise_multiplier=1e30)
    with pytest.raises(NonFiniteLoss, match=r"became (infinite|nan|inf)"):
        train(victim, data, tmp_path / "other")


@pytest.mark.parametrize("name", sorted(TABLES & {*PER_RECORD}))
def test_a_record_outside_of_what_it_may_hold_stops_no_private_training(
    config: Config, name: str, tmp_path: Path
) -> None:
    words = ["victim.likelihood=bernoulli"] if name == "vae_table" else []
    victim, data = make(config, name, *words)
    data[0] = 37.5
    train(victim, data, tmp_path)
    assert victim.private_steps > 0
    assert all(weights.isfinite().all() for weights in victim.parameters())


def test_group_instead_of_batch_normalisation_keeps_scale_and_shift() -> None:
    norm = nn.BatchNorm2d(32)
    nn.init.normal_(norm.weight)
    group = make_independent(nn.Sequential(nn.Conv2d(1, 32, 3), norm))[1]
    assert isinstance(group, nn.GroupNorm)
    assert torch.equal(group.weight, norm.weight)
    assert group.num_groups == 2


def test_poisson_batches() -> None:
    batches = PoissonBatches(torch.from_numpy, 50, 0.2, 0, 2000, seed=3)
    sizes = np.array([len(batches[i]) for i in range(2000)])
    assert abs(sizes.mean() - 10) < 4 * np.sqrt(8 / 2000)
    assert abs(sizes.var() - 8) < 1.2  # binomial; fixed sizes would have none
    assert torch.equal(PoissonBatches(torch.from_numpy, 50, 0.2, 7, 9, seed=3)[0], batches[7])
    each = np.bincount(np.concatenate([batches[i].numpy() for i in range(2000)]), minlength=50)
    assert abs(each / 2000 - 0.2).max() < 4.5 * np.sqrt(0.16 / 2000)


def test_what_is_generated_does_not_depend_on_how_many_records_there_are(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generator's step must not tell whether the batch had one record more."""
    sizes = set()
    for n in (0, 5, 20):
        victim, data = make(config, "dcgan")
        optimizers = victim.configure_optimizers()
        monkeypatch.setattr(victim, "optimizers", lambda own=optimizers: own)
        monkeypatch.setattr(victim, "manual_backward", lambda loss: loss.backward())
        victim.generator.register_forward_hook(lambda _, z, made: sizes.add(len(made)))
        victim.training_step(data[:n], 0)
    assert sizes == {victim.batch_size}


def test_private_training_notes_no_loss_over_real_records(config: Config, tmp_path: Path) -> None:
    for name, noted in (("vae", set()), ("dcgan", {"generator"}), ("gs_wgan", {"generator"})):
        (tmp_path / name).mkdir()
        victim, data = make(config, name)
        train(victim, data, tmp_path / name)
        assert set(victim.losses) == noted


def test_the_penalty_is_inside_what_is_clipped(config: Config) -> None:
    """WGAN-GP: ten times the penalty must not move the weights by more than clipping allows."""
    moved = {}
    for penalty in (0.0, 10.0):
        victim, data = make(config, "wgan_gp_dcgan", f"victim.penalty={penalty}")
        parameters = list(victim.discriminator.parameters())
        pairs = data, digits(1, 24), torch.full((24, 1, 1, 1), 0.5)
        gradients, _ = per_record(victim, parameters, victim.critic_losses, pairs)
        moved[penalty] = torch.cat([g.flatten(1) for g in gradients], 1)
    assert not torch.allclose(moved[0.0], moved[10.0], rtol=1e-2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_no_norm_bounds_are_zero_and_the_others_stay(bad: float) -> None:
    gradients = torch.ones(3, 4)
    gradients[0, 1], gradients[1, 2] = bad, -bad
    found = bound_gradients(gradients, torch.tensor([True, True, False]))
    expected = torch.tensor([[1.0, 0, 1, 1], [1, 1, 0, 1], [0, 0, 0, 0]])
    assert torch.equal(found, expected)
    assert torch.equal(bound_gradients(torch.ones(2, 3)), torch.ones(2, 3))
