"""The Monte Carlo attack against a loop over all pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import built, digits
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from torch import Tensor

from attacks.features import OrientedGradients, PrincipalComponents, Values
from attacks.monte_carlo import CLOSEST, RANGE, STAND_INS, Balls, MonteCarlo
from attacks.search.nearest import distance_tiles
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.measures import metrics
from victims.access import FullBlackBox, FullBlackBoxWithReference
from victims.errors import UserError


def view(released: np.ndarray, reference: np.ndarray) -> FullBlackBoxWithReference:
    arrays = (np.asarray(x, np.float32) for x in (released, reference))
    return FullBlackBoxWithReference(torch.device("cpu"), 64, *arrays)


def by_loop(queries: np.ndarray, released: np.ndarray, epsilon: float, form: str) -> list[float]:
    scores = []
    for query in queries.astype(float):
        total = 0.0
        for sample in released.astype(float):
            distance = math.sqrt(sum((a - b) ** 2 for a, b in zip(query, sample, strict=True)))
            if distance <= epsilon:
                total += 1 if form == "share" else -math.log(max(distance / epsilon, CLOSEST))
        scores.append(total / len(released))
    return scores


def data(d: int = 6) -> tuple[np.ndarray, np.ndarray, Tensor]:
    rng = np.random.default_rng(0)
    released, reference, queries = (
        rng.normal(size=(n, d)).astype(np.float32) for n in (90, 30, 12)
    )
    queries[0] = released[5]
    return released, reference, torch.from_numpy(queries)


@pytest.mark.parametrize("form", ["share", "log"])
def test_scores_are_those_of_a_loop_with_the_median_heuristic(form: str) -> None:
    released, reference, queries = data()
    pairs = np.linalg.norm(reference[:, None].astype(float) - released, axis=2)
    epsilon = float(np.median(pairs.min(1)))
    found = MonteCarlo(Values(), "median", form).score(view(released, reference), queries)
    expected = by_loop(queries.numpy(), released, epsilon, form)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert 0 < np.count_nonzero(found) < len(found)


@pytest.mark.parametrize("form", ["share", "log"])
@pytest.mark.parametrize("percentile", [0.5, 20])
def test_scores_are_those_of_a_loop_with_the_percentile_heuristic(
    form: str, percentile: float
) -> None:
    released, reference, queries = data()
    pairs = np.linalg.norm(reference[:, None].astype(float) - released, axis=2)
    epsilon = float(np.percentile(pairs, percentile))
    found = MonteCarlo(Values(), percentile, form).score(view(released, reference), queries)
    # The percentile itself is of float32 distances: a hair wider or narrower, no other sample.
    expected = by_loop(queries.numpy(), released, epsilon * (1 + 1e-6), form)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_features_stand_in_for_the_records() -> None:
    released, reference, queries = digits(0, 50), digits(1, 20), digits(2, 8)
    granted = view(released.numpy(), reference.numpy())
    for feature in (OrientedGradients(), PrincipalComponents(5)):
        learnt = feature.learn(granted)
        seen = [feature(learnt, x) for x in (released, reference, queries)]
        expected = MonteCarlo(Values(), 5).score(view(*(x.numpy() for x in seen[:2])), seen[2])
        np.testing.assert_allclose(MonteCarlo(feature, 5).score(granted, queries), expected)


@given(
    st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.integers(1, 20), st.booleans(),
    st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_one_pass_serves_all_radii(
    samples: int, queries: int, d: int, rows: int, discrete: bool, seed: int
) -> None:
    """Also where many distances equal a radius exactly, and far from the origin."""
    rng = np.random.default_rng(seed)
    released, asked = (rng.normal(size=(n, d)) for n in (samples, queries))
    if discrete:
        released, asked = np.round(released), np.round(asked)
    released, asked = (released + 50).astype(np.float32), (asked + 50).astype(np.float32)
    radii = [1.0, 0.3, 2.0]
    granted = FullBlackBox(torch.device("cpu"), 64, released)
    balls = Balls(torch.from_numpy(asked), radii)
    for tile in distance_tiles(granted.blocks(rows), balls.queries, query_rows=4):
        balls.add_tile(tile)
    for i, radius in enumerate(radii):
        for form, found in (("share", balls.shares), ("log", balls.logs)):
            expected = by_loop(asked, released, radius, form)
            np.testing.assert_allclose(found[i] / samples, expected, rtol=0.01, atol=1e-9)


@pytest.mark.parametrize("form", ["share", "log"])
def test_the_range_of_epsilon_takes_the_largest_quotient_to_strangers(form: str) -> None:
    released, reference, queries = data()
    pairs = np.linalg.norm(reference[:, None].astype(float) - released, axis=2)
    quotients = []
    for epsilon in np.sqrt(np.percentile(pairs.min(1) ** 2, RANGE)) * (1 + 1e-9):
        own, usual = (
            90 * np.array(by_loop(x, released, epsilon, form)) for x in (queries.numpy(), reference)
        )
        quotients.append(own / ((usual.sum() + 1) / 30))
    found = MonteCarlo(Values(), "range", form).score(view(released, reference), queries)
    np.testing.assert_allclose(found, np.max(quotients, 0), rtol=1e-3)


def test_nearest_ranks_the_same_half_first_as_the_median_over_the_queries() -> None:
    rng = np.random.default_rng(0)
    released, queries = rng.normal(size=(90, 6)), rng.normal(size=(40, 6)).astype(np.float32)
    epsilon = float(np.median(np.linalg.norm(queries[:, None] - released, axis=2).min(1)))
    published = np.array(by_loop(queries, released.astype(np.float32), epsilon, "log"))
    found = MonteCarlo(Values(), "nearest").score(
        view(released, queries), torch.from_numpy(queries)
    )
    assert set(np.argsort(-found)[:20]) == set(np.flatnonzero(published > 0))


@pytest.mark.parametrize("form", ["share", "log"])
def test_the_default_epsilon_does_not_lose_to_one_that_looks_at_the_queries(form: str) -> None:
    """Overfitted, weak and copying generators, and one that never saw the members."""
    rng = np.random.default_rng(0)
    members, non_members, known, others = rng.normal(size=(4, 128, 20)).astype(np.float32)
    near = members[rng.integers(128, size=1000)]
    noise = rng.normal(size=near.shape).astype(np.float32)
    copies = np.where(rng.random((1000, 1)) < 0.3, near, noise)
    queries, lost = np.concatenate([members, non_members]), []
    for released in (near + 0.1 * noise, near + 0.7 * noise, copies, others + 0.1 * noise[:128]):
        pairs = np.linalg.norm(queries[:, None].astype(float) - released, axis=2)
        part = pairs / np.median(pairs.min(1))
        published = part <= 1 if form == "share" else -np.log(part.clip(CLOSEST, 1))
        granted = view(released, known)
        scores = [published.mean(1)] + [
            MonteCarlo(Values(), epsilon, form).score(granted, torch.from_numpy(queries))
            for epsilon in ("range", "median")
        ]
        best, ranged, median = (metrics.auroc(x[:128], x[128:]) for x in scores)
        assert ranged >= best - 0.01
        lost.append(best - median)
    assert form == "log" or max(lost) > 0.1  # strangers' median is too wide for shares


def test_epsilon_comes_from_some_of_the_attackers_records_wherever_they_stand() -> None:
    """Sorted by class, the first records are all of one, and epsilon was that of this class."""
    rng = np.random.default_rng(0)
    classes = np.arange(4 * STAND_INS) // STAND_INS
    reference = 100 * classes[:, None] + rng.normal(size=(len(classes), 3)) * (1 + classes[:, None])
    released = 100 * rng.integers(0, 4, (400, 1)) + rng.normal(size=(400, 3))
    attack = MonteCarlo(Values())
    sorted_, shuffled, whole = (
        float(attack.learn(view(released, known), Path())["epsilon"][0])
        for known in (reference, rng.permutation(reference), reference[::4])
    )
    assert sorted_ == pytest.approx(whole, rel=0.3)
    assert shuffled == pytest.approx(whole, rel=0.3)
    first = float(attack.learn(view(released, reference[:STAND_INS]), Path())["epsilon"][0])
    assert abs(first / whole - 1) > 0.5


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"form": "cube"}, ["form=cube", "'share' or 'log'"]),
        ({"epsilon": "mean"}, ["epsilon=mean", "'range', 'median' or 'nearest'"]),
        ({"epsilon": 0}, ["epsilon=0", "greater than 0"]),
        ({"epsilon": 101.0}, ["epsilon=101.0", "less than or equal to 100"]),
    ],
)
def test_bad_settings_are_named(settings: dict, parts: list[str]) -> None:
    feature = {"_target_": "attacks.features.Values"}
    with pytest.raises(UserError) as raised:
        built(MonteCarlo, "attack", feature=feature, **settings)
    assert all(part in str(raised.value) for part in parts)


def test_features_of_images_are_refused_for_a_table_before_training(
    config: Callable[..., DictConfig],
) -> None:
    settings = config("data=randhie", "victim=vae_table", "attack=[monte_carlo_hog]")
    with pytest.raises(UserError, match=r"images only, but a record has \d+ columns"):
        prepare(open_request(settings))
