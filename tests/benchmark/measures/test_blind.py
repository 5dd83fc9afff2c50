"""The blind baseline: right false alarms, finds a split that leaks, and its row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig
from sklearn.model_selection import StratifiedKFold

from benchmark.config.build import build, choose_one
from benchmark.data.dataset import Dataset, in_memory
from benchmark.data.queries import Queries
from benchmark.job import run
from benchmark.measures import blind, checks, metrics
from benchmark.measures.blind import Blind, Guess
from benchmark.store.entries import Store
from victims.errors import UserError

Config = Callable[..., DictConfig]


def guess(x: np.ndarray, member: np.ndarray, seed: int = 0, **settings: Any) -> Guess:
    baseline = Blind(**{"components": 20, "folds": 5, "shuffles": 100, **settings})
    return baseline.guess_members(asked(in_memory(x.astype(np.float32)), member), seed)


def asked(dataset: Dataset, member: np.ndarray) -> Queries:
    rows = np.arange(len(member))
    return Queries(dataset, rows, member, numbers=rows)


def row_of(settings: DictConfig, dataset: Dataset, member: np.ndarray) -> pd.DataFrame:
    store, queries = Store(settings.machine.store), asked(dataset, member)
    chosen = choose_one(settings.blind, "blind") if settings.blind else None
    return blind.row_of(chosen, queries=queries, store=store, seed=settings.seed)


def labels(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.arange(2 * n) < n)


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_the_interval_says() -> None:
    alarms = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        found = guess(rng.normal(size=(120, 25)), labels(60, rng), seed, shuffles=50)
        alarms += found.low > 0.5
    assert alarms <= 6  # expected 2; more than 6 has probability 0.003


@pytest.mark.parametrize("shift", ["place", "spread"])
def test_groups_that_differ_by_themselves_are_found(shift: str) -> None:
    rng = np.random.default_rng(0)
    member = labels(100, rng)
    x = rng.normal(size=(200, 3, 4, 4))
    x[member] = x[member] * 1.5 if shift == "spread" else x[member] + 0.3
    found = guess(x, member)
    assert found.low > 0.6
    assert metrics.auroc(found.scores[member], found.scores[~member]) < found.high


def test_scores_are_those_of_a_ridge_on_components_and_squares() -> None:
    rng = np.random.default_rng(2)
    member, x = labels(20, rng), rng.normal(size=(40, 3)).astype(np.float32)
    centred = x - x.mean(0, dtype=float)
    components = centred @ np.linalg.svd(centred, full_matrices=False)[2].T
    features = np.hstack([components, components**2])
    state = int(np.random.default_rng(0).integers(2**31))
    expected = np.empty(40)
    folds = StratifiedKFold(4, shuffle=True, random_state=state).split(features, member)
    for train, held_out in folds:
        mean, spread = features[train].mean(0), features[train].std(0)
        known, asked = ((features[part] - mean) / spread for part in (train, held_out))
        target = 2.0 * member[train] - 1
        gram = known.T @ known + Blind.RIDGE * np.eye(6)
        weights = np.linalg.solve(gram, known.T @ (target - target.mean()))
        expected[held_out] = target.mean() + asked @ weights
    found = guess(x, member, components=3, folds=4).scores
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bad_settings_are_named(config: Config) -> None:
    for word in ("components=0", "folds=1", "shuffles=3"):
        with pytest.raises(UserError, match=f"blind.{word}"):
            build(config(f"blind.{word}").blind, "blind")


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 5)).astype(np.float32)
    values[:40] += 1.0
    return Dataset(values, rng.integers(0, 256, (80, 16)).astype(np.uint8))


def test_the_row_is_stored_and_warns(
    config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, member = config("data=randhie", "victim=vae_table"), np.arange(80) < 40
    rows = row_of(settings, dataset, member)
    (row,) = rows.to_dict("records")
    assert (row["attack"], row["access"], row["status"]) == ("blind", "none", "ok")
    assert row["auroc_low"] > 0.5
    assert row["warnings"] == blind.LEAKS
    others = [name for name in row if name.endswith(("_low", "_high")) and "auroc" not in name]
    assert others
    assert all(np.isnan(row[name]) for name in others)
    (check,) = checks.split_leaks(rows.to_dict("records"))
    assert (check.name, check.level) == ("split leaks", "warning")
    assert f"AUROC {row['auroc']:.3f}" in check.message
    monkeypatch.setattr(Blind, "guess_members", None)
    again = row_of(settings, dataset, member)
    pd.testing.assert_frame_equal(again, rows)


def test_equal_groups_few_queries_and_none(config: Config, dataset: Dataset) -> None:
    settings = config()
    alike = np.random.default_rng(3).permutation(np.arange(80) % 2 == 0)
    (row,) = row_of(settings, dataset, alike).to_dict("records")
    assert row["auroc_low"] < 0.5 < row["auroc_high"]
    assert row["warnings"] == ""
    assert checks.split_leaks([row]) == []
    few = row_of(settings, dataset, np.arange(6) < 3)
    assert few["status"].tolist() == ["fewer members or non-members than blind.folds=5"]
    assert row_of(config("blind=none"), dataset, alike).empty


def test_the_row_stands_in_the_table_beside_the_attacks(config: Config) -> None:
    result = run.run(config("attack=[discriminator]", "calibration=none"))
    assert result.rows["attack"].tolist() == ["discriminator", "blind"]
    assert result.rows["best"].tolist() == [True, False]
    assert result.ok["attack"].tolist() == ["discriminator"]
    assert set(result.scores["attack"]) == {"discriminator"}
