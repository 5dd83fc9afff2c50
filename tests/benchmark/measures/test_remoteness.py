"""Groups that differ in how far their records lie apart are told; equal ones seldom are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from benchmark.data.dataset import in_memory
from benchmark.data.queries import Queries
from benchmark.measures import remoteness
from benchmark.measures.remoteness import compare_remoteness, remoteness_of

NEAREST = "distance to the nearest other record"


def asked(x: np.ndarray, member: np.ndarray) -> Queries:
    rows = np.arange(len(x))
    return Queries(in_memory(x.astype(np.float32)), rows, member, numbers=rows)


def test_features_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) * [1, 10, 100, 1] + 5
    x = np.column_stack([x, x[:, 0] + x[:, 1], np.full(60, 3.0)])  # one follows, one is constant
    queries = asked(x, np.arange(60) < 20)
    z = np.column_stack([(x[:, :5] - x[:, :5].mean(0)) / x[:, :5].std(0), np.zeros(60)])
    apart = cdist(z, z)
    np.fill_diagonal(apart, np.inf)
    inner = z[:, :4]
    whitened = np.einsum("ni,ij,nj->n", inner, np.linalg.inv(inner.T @ inner / 60), inner) / 4
    expected = [np.abs(z).mean(1), (z**2).mean(1), apart.min(1) ** 2, whitened]
    for block in (7, 2048):
        monkeypatch.setattr(remoteness, "BLOCK", block)
        found = remoteness_of(queries)
        np.testing.assert_allclose(list(found.values()), expected, rtol=1e-3)


def test_few_records_are_not_asked_for_correlations() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3, 4, 4))
    found = remoteness_of(asked(x, np.arange(30) < 9))
    assert list(found)[-1] == NEAREST
    assert len(found) == 3


@pytest.mark.parametrize("columns", [20, 60])
def test_a_small_difference_of_spread_is_found(columns: int) -> None:
    rng, member = np.random.default_rng(1), np.arange(1200) < 200
    x = rng.normal(size=(1200, columns)) * np.where(member, 1, 1.08)[:, None]
    assert compare_remoteness(asked(x, member))[1] < 0.001


def test_noise_beneath_common_factors_is_found() -> None:
    rng, member = np.random.default_rng(2), np.arange(1200) < 600
    noise = rng.normal(size=(1200, 40)) * np.where(member, 1, 1.06)[:, None]
    what, p = compare_remoteness(
        asked(rng.normal(size=(1200, 4)) @ rng.normal(size=(4, 40)) + noise, member)
    )
    assert (what, p < 0.001) == ("mean squared value without correlation", True)


def test_equal_groups_differ_no_more_often_than_promised() -> None:
    rng, found = np.random.default_rng(3), 0
    for _ in range(200):
        x = np.column_stack([rng.normal(size=(90, 3)), rng.random((90, 2)) < 0.2])
        found += compare_remoteness(asked(x, np.arange(90) < 30))[1] < 0.05
    assert found <= 18  # 10 are allowed; more than 18 with a chance of 0.4%
