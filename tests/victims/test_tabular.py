"""What networks see of mixed records, and what CTGAN draws them by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import composed, fit_in, stopped_at_batch_three
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer

from benchmark.config.build import build
from victims.access import AccessibleDiscriminator
from victims.base import Victim
from victims.ctgan import ConditionalBatches
from victims.errors import UserError
from victims.multinomial import chances_of, posterior_of_levels
from victims.quantiles import Quantiles
from victims.schema import Column, Schema
from victims.tabular import Transform
from victims.training.train import load_victim

SCHEMA = Schema(
    [
        Column("city", "category", ("Bonn", "Oslo", "Rome")),
        Column("visits", "integer", gaps=True, high=9.0),
        Column("income", "numeric"),
        Column("smokes", "binary"),
    ]
)


def rows(n: int = 600) -> np.ndarray:
    rng = np.random.default_rng(0)
    rich = rng.random(n) < 0.3
    return SCHEMA.rows_of_table(
        {
            "city": rng.choice(["Bonn", "Oslo", "Rome"], n, p=[0.9, 0.09, 0.01]),
            "visits": np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 10, n)),
            "income": np.where(rich, rng.normal(5, 0.1, n), rng.normal(0, 0.1, n)),
            "smokes": rng.random(n) < 0.2,
        }
    )


def test_modes_are_found_and_records_come_back() -> None:
    transform, real = Transform(SCHEMA, 4), torch.from_numpy(rows())
    transform.fit_modes(real.numpy(), 0)
    income = SCHEMA.numbers.index(SCHEMA.width - 2)
    kept = transform.weight[income] > 0.05
    np.testing.assert_allclose(transform.centre[income][kept].sort().values, [0, 5], atol=0.05)
    seen = transform(real)
    assert seen.shape == (600, transform.width)
    inverse = torch.cat([seen[:, :2].atanh(), (seen[:, 2:] - 0.5) * 100], 1)
    torch.testing.assert_close(transform.to_records(inverse), real, atol=2e-2, rtol=0)
    assert torch.equal(transform.codes_of(real)[:, -1], real[:, :3].argmax(1))


def test_modes_are_drawn_by_their_probability() -> None:
    transform = Transform(SCHEMA, 2)
    transform.weight[:], transform.centre[:], transform.spread[:] = 0.5, torch.arange(2.0), 1.0
    real = torch.from_numpy(rows(1)).repeat(4000, 1)
    real[:, SCHEMA.numbers] = 0.5
    drawn = transform(real, torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)))
    np.testing.assert_allclose(drawn[:, 2:6].mean(0), 0.5, atol=0.03)


def test_rare_levels_are_asked_for_more_often_and_held_by_the_records() -> None:
    transform, real = Transform(SCHEMA, 2), torch.from_numpy(rows(2000))
    codes = transform.codes_of(real).numpy()
    sizes = [span.stop - span.start for span in transform.discrete]
    batches = ConditionalBatches(lambda at: real[at], codes, sizes, 500, 0, 4, 1)
    record, column, level = batches[2]
    held = transform.codes_of(record).gather(1, column[:, None])[:, 0]
    assert torch.equal(held, level)
    rome = (level[column == len(sizes) - 1] == 2).float().mean()
    shares = np.log1p(np.bincount(codes[:, -1]))
    assert abs(rome - shares[2] / shares.sum()) < 0.12
    assert rome > 5 * (codes[:, -1] == 2).mean()
    later = ConditionalBatches(lambda at: real[at], codes, sizes, 500, 2, 4, 1)
    assert torch.equal(later[0][0], record)


def made(name: str, folder: Path, *overrides: str) -> Victim:
    torch.manual_seed(0)
    config = composed(folder, f"victim={name}", *overrides).victim
    return build(config, "victim", shape=(SCHEMA.width,), schema=SCHEMA)


@pytest.mark.parametrize("name", ["ctgan", "tab_ddpm", "tvae"])
def test_training_on_mixed_records_goes_on_where_it_stopped(name: str, tmp_path: Path) -> None:
    data = torch.from_numpy(rows(60))
    codes = torch.randn(9, made(name, tmp_path).z_dim, generator=torch.Generator().manual_seed(2))
    whole = tmp_path / "whole"
    whole.mkdir()
    victim = made(name, tmp_path)
    fit_in(whole, victim, data.__getitem__, size=60, seed=7)
    stopped_at_batch_three(lambda: made(name, tmp_path), data, tmp_path / "stopped")
    found = [
        load_victim(made(name, tmp_path), at).generate(codes)
        for at in (whole, tmp_path / "stopped")
    ]
    assert torch.equal(*found)
    assert torch.isfinite(found[0]).all()


def test_a_pack_must_divide_the_batch_and_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"victim\.pack=3 must divide it"):
        made("ctgan", tmp_path, "victim.pack=3")
    config = composed(tmp_path, "victim=tvae").victim
    with pytest.raises(UserError, match="tvae makes tables"):
        build(config, "victim", shape=(1, 8, 8))


@pytest.mark.parametrize("name", ["ctgan", "tab_ddpm", "tvae"])
def test_a_table_may_have_no_numbers_or_nothing_else(name: str, tmp_path: Path) -> None:
    switches = Schema([Column(f"is_{i}", "binary") for i in range(4)])
    numbers = Schema([Column(f"at_{i}", "numeric") for i in range(2)])
    for schema in (switches, numbers):
        drawn = torch.rand(60, schema.width, generator=torch.Generator().manual_seed(0)).round()
        size = "victim.learning_rate=0.001" if name == "tab_ddpm" else "victim.modes=10"
        config = composed(tmp_path, f"victim={name}", size).victim
        victim = build(config, "victim", shape=(schema.width,), schema=schema)
        folder = tmp_path / f"{name}_{schema.width}"
        folder.mkdir()
        fit_in(folder, victim, drawn.__getitem__, size=60, seed=7)
        found = load_victim(victim, folder).generate(torch.randn(5, victim.z_dim))
        assert found.shape == (5, schema.width)
        assert torch.isfinite(found).all()


@pytest.mark.slow
def test_a_release_of_tab_ddpm_keeps_how_columns_go_together(tmp_path: Path) -> None:
    """A guess of a column may rest on the others alone: the last step back must keep its level."""
    rng = np.random.default_rng(0)
    first = rng.random(4000) < 0.5
    columns = [first, first ^ (rng.random(4000) < 0.15), rng.random(4000) < 0.5]
    schema = Schema([Column(f"is_{i}", "binary") for i in range(3)])
    real = torch.from_numpy(np.stack(columns, 1).astype(np.float32))
    sizes = ["steps=1200", "batch_size=500", "widths=[64,64]", "sampling_steps=50", "decay=0.95"]
    config = composed(tmp_path, "victim=tab_ddpm", *(f"victim.{size}" for size in sizes)).victim
    victim = build(config, "victim", shape=(3,), schema=schema)
    fit_in(tmp_path, victim, real.__getitem__, size=4000, seed=5)
    victim, generator = load_victim(victim, tmp_path), torch.Generator().manual_seed(2)
    found = victim.generate(torch.randn(8000, victim.z_dim, generator=generator))
    found = victim.publish(found, torch.rand(found.shape, generator=generator)).round()
    wanted, got = (np.corrcoef(table.numpy().T)[0, 1] for table in (real, found))
    assert abs(got - wanted) < 0.12, (got, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ctgan", "tab_ddpm", "tvae"])
def test_columns_and_their_relation_are_learnt(name: str, tmp_path: Path) -> None:
    data = rows(1000)
    data[:, -1] = data[:, -2] > 2  # who is rich smokes
    real = torch.from_numpy(data)
    sizes = ["steps=600", "batch_size=200"]
    sizes += {
        "tvae": ["modes=5", "z_dim=16", "width=64"],
        "tab_ddpm": ["widths=[64,64]", "sampling_steps=50", "decay=0.95"],
        "ctgan": ["modes=5", "z_dim=16", "pack=10", "widths=[64,64]", "critic_widths=[64,64]"],
    }[name] + (["learning_rate=0.001"] if name == "ctgan" else [])
    victim = made(name, tmp_path, *(f"victim.{size}" for size in sizes))
    fit_in(tmp_path, victim, lambda at: real[at], size=1000, seed=5)
    victim = load_victim(victim, tmp_path)
    generator = torch.Generator().manual_seed(2)
    found = victim.generate(torch.randn(2000, victim.z_dim, generator=generator))
    found = victim.publish(found, torch.rand(found.shape, generator=generator))
    found = SCHEMA.nearest_records(found).numpy()
    np.testing.assert_allclose(found[:, :3].mean(0), data[:, :3].mean(0), atol=0.12)
    assert abs((found[:, -2] > 2).mean() - 0.3) < 0.12
    assert ((found[:, -2] > 2) == found[:, -1]).mean() > 0.8
    if name == "ctgan":
        view = victim.view(AccessibleDiscriminator, data, data, 8)
        noise = torch.rand_like(real)
        assert view.discriminate(real).mean() > view.discriminate(noise).mean()


def test_quantiles_agree_with_scikit_learn_and_come_back() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=5000), np.maximum(rng.normal(size=5000), 0)], 1)
    values = values.astype(np.float32)
    quantiles = Quantiles(2)
    quantiles.fit_quantiles(values)
    peer = QuantileTransformer(n_quantiles=1000, output_distribution="normal", subsample=10**9)
    found = quantiles(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found[:, 0], peer.fit_transform(values)[:, 0], atol=0.05)
    assert abs(found[values[:, 1] == 0, 1][0] - norm.ppf(0.25)) < 0.05  # half of them are 0
    back = quantiles.undo_scaling(torch.from_numpy(found)).numpy()
    np.testing.assert_allclose(back, values, atol=0.02)
    assert (back[values == 0] == 0).mean() > 0.99


def test_levels_at_an_earlier_time_have_the_chances_of_bayes() -> None:
    """Simulated: a level is kept with 0.8, then with 0.5, else drawn evenly."""
    rng = np.random.default_rng(0)
    clean = rng.choice(3, 200_000, p=[0.7, 0.2, 0.1])
    early = np.where(rng.random(len(clean)) < 0.8, clean, rng.integers(0, 3, len(clean)))
    late = np.where(rng.random(len(clean)) < 0.5, early, rng.integers(0, 3, len(clean)))
    now, known = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    chances = posterior_of_levels(now, known, torch.tensor([0.4]), torch.tensor([0.8]))[0]
    held = early[(clean == 0) & (late == 1)]
    np.testing.assert_allclose(chances, np.bincount(held) / len(held), atol=0.01)


def test_what_draws_levels_is_even_and_another_at_each_step() -> None:
    codes = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    found = [chances_of(codes, step) for step in range(3)]
    for one in found:
        np.testing.assert_allclose(np.histogram(one, 10, (0, 1))[0] / 40_000, 0.1, atol=0.01)
    pairs = np.corrcoef(np.concatenate(found, 1).T)
    assert np.abs(pairs - np.eye(6)).max() < 0.03
