"""Nearest-record baselines against scikit-learn, and what they miss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import Memoriser, digits
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from attacks.nearest_record import ClosestRecord, ClosestRecordRatio, NeighbourDensity
from benchmark.measures import metrics
from victims.access import FullBlackBox, FullBlackBoxWithReference


def view(released: np.ndarray) -> FullBlackBox:
    return FullBlackBox(torch.device("cpu"), 64, released.astype(np.float32))


@pytest.mark.parametrize("shape", [(7,), (3, 6, 5)])
def test_distances_and_ratios_are_those_of_scikit_learn(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    scale = np.exp(rng.normal(size=shape))
    released, queries = (scale * rng.normal(size=(n, *shape)) for n in (300, 40))
    flat = released.reshape(300, -1), queries.reshape(40, -1)
    if len(shape) == 1:  # columns of tables are standardised by the released samples
        scaler = StandardScaler().fit(flat[0])
        flat = scaler.transform(flat[0]), scaler.transform(flat[1])
    expected, _ = NearestNeighbors(n_neighbors=2).fit(flat[0]).kneighbors(flat[1])
    asked = torch.from_numpy(queries).float()
    found = ClosestRecord().score(view(released), asked)
    np.testing.assert_allclose(found, -expected[:, 0], rtol=1e-5)
    ratio = ClosestRecordRatio().score(view(released), asked)
    np.testing.assert_allclose(ratio, -expected[:, 0] / expected[:, 1], rtol=1e-5)


@pytest.mark.parametrize("references", [80, 12, 1])
def test_densities_are_compared_by_mean_distances_of_scikit_learn(references: int) -> None:
    rng = np.random.default_rng(2)
    released, reference, queries = (
        rng.normal(size=(n, 3, 4, 4)).astype(np.float32) for n in (60, references, 20)
    )
    granted = FullBlackBoxWithReference(torch.device("cpu"), 64, released, reference)
    found = NeighbourDensity(10).score(granted, torch.from_numpy(queries))
    means = []
    for known, k in ((released, 10), (reference, max(1, min(10, references // 4)))):
        search = NearestNeighbors(n_neighbors=k).fit(known.reshape(len(known), -1))
        means.append(search.kneighbors(queries.reshape(20, -1))[0].mean(1))
    np.testing.assert_allclose(found, np.log(means[1] / means[0]), rtol=1e-4, atol=1e-5)


def test_a_constant_column_does_not_count() -> None:
    rng = np.random.default_rng(1)
    released = np.hstack([rng.normal(size=(50, 3)), np.full((50, 1), 2.0)])
    queries = torch.from_numpy(rng.normal(size=(5, 4))).float()
    moved = queries + torch.tensor([0.0, 0.0, 0.0, 100.0])
    scores = [ClosestRecord().score(view(released), q) for q in (queries, moved)]
    np.testing.assert_array_equal(*scores)


def test_a_query_equal_to_two_samples_has_ratio_one() -> None:
    released = np.zeros((3, 2))
    released[2] = 5.0
    assert ClosestRecordRatio().score(view(released), torch.zeros(1, 2)).tolist() == [-1.0]
    assert ClosestRecord().score(view(released), torch.zeros(1, 2)).tolist() == [0.0]


def test_the_ratio_misses_records_that_are_released_more_than_once() -> None:
    members, others = digits(0, 40), digits(1, 40)
    granted = Memoriser(members).grant(FullBlackBox, copies=4)
    found = [attack.score(granted, q) for attack in (ClosestRecord(), ClosestRecordRatio())
             for q in (members, others)]  # fmt: skip
    assert metrics.auroc(*found[:2]) == 1.0
    assert metrics.auroc(*found[2:]) < 0.7
