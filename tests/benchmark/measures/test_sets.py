"""Set membership against closed forms, a simulation and its own interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from benchmark.measures import metrics, sets
from benchmark.measures.sets import LEVELS, SIZES, set_accuracy

SETS = (1, 2, 5, 10, 30, 100)


def normal(seed: int, n: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(gap, 1, n), rng.normal(0, 1, n)


def accuracies(members, non_members, sizes=SETS) -> np.ndarray:
    return np.array([found.accuracy for found in set_accuracy(members, non_members, sizes)])


@pytest.mark.parametrize(("hits", "alarms"), [(60, 40), (30, 5), (50, 50), (0, 30)])
def test_scores_of_two_values_against_the_binomial(hits: int, alarms: int) -> None:
    members, non_members = np.arange(100) < hits, np.arange(100) < alarms
    p, q, share = hits / 100, alarms / 100, (hits + alarms) / 200
    expected = []
    for n in SETS:
        k = np.arange(n + 1)  # flagged records in the set
        vote = (k > n * share) + 0.5 * np.isclose(k, n * share)
        right = (binom.pmf(k, n, p) * vote).sum() + (binom.pmf(k, n, q) * (1 - vote)).sum()
        expected.append(right / 2)
    np.testing.assert_allclose(accuracies(members, non_members), expected, atol=1e-12)


def test_large_sets_against_the_normal_distribution() -> None:
    members, non_members = normal(0, 400, 0.3)
    u = np.argsort(np.argsort(np.r_[members, non_members])) / 799
    inside, outside = u[:400], u[400:]
    for n in (50, 100):
        z = [(inside.mean() - 0.5) / inside.std(), (0.5 - outside.mean()) / outside.std()]
        expected = norm.cdf(np.sqrt(n) * np.array(z)).mean()
        assert accuracies(members, non_members, [n])[0] == pytest.approx(expected, abs=1e-3)


def test_against_drawing_sets() -> None:
    members, non_members = normal(1, 60, 0.5)
    members = np.round(members, 1)  # with ties
    both = np.r_[members, non_members]
    ranks = (both < both[:, None]).mean(1) + (both == both[:, None]).mean(1) / 2
    rng = np.random.default_rng(2)
    for n in (1, 3, 20):
        inside, outside = (
            rng.choice(group, (20000, n)).mean(1) for group in (ranks[:60], ranks[60:])
        )
        expected = (np.mean(inside > 0.5) + np.mean(outside < 0.5)) / 2
        assert accuracies(members, non_members, [n])[0] == pytest.approx(expected, abs=0.01)


def test_known_answers() -> None:
    x, _ = normal(3, 50, 0)
    np.testing.assert_allclose(accuracies(x + 99, x), 1)
    np.testing.assert_allclose(accuracies(x - 99, x), 0, atol=1e-12)
    np.testing.assert_allclose(accuracies(x, x), 0.5)
    for found in set_accuracy(np.ones(50), np.ones(50)):
        assert found.accuracy == pytest.approx(0.5)
        assert found.low < 0.5 < found.high
    assert [found.size for found in set_accuracy(x, x)] == list(SIZES)


def test_more_records_help_and_stretching_scores_changes_nothing() -> None:
    members, non_members = normal(4, 200, 0.4)
    curve = accuracies(members, non_members, SIZES)
    assert (np.diff(curve) > 0).all()
    np.testing.assert_array_equal(curve, accuracies(np.exp(members), np.exp(non_members), SIZES))


def test_many_queries_are_rounded_to_fewer_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    members, non_members = normal(5, LEVELS, 0.2)
    rounded = accuracies(members, non_members)
    monkeypatch.setattr(sets, "LEVELS", 10**6)
    np.testing.assert_allclose(rounded, accuracies(members, non_members), atol=3e-4)


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 0.3])
@pytest.mark.parametrize("size", [1, 10, 100])
def test_the_interval_covers_the_accuracy_on_fresh_records(gap: float, size: int) -> None:
    rng = np.random.default_rng(6)
    many = rng.normal(gap, 1, 4000), rng.normal(0, 1, 4000)
    truth = accuracies(*many, [size])[0]
    if gap == 0:
        truth = 0.5
    hits = 0
    for seed in range(100):
        _, _, low, high = set_accuracy(*normal(100 + seed, 100, gap), [size])[0]
        hits += low <= truth <= high
    assert hits >= 0.9 * 100


def test_what_are_no_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        set_accuracy([np.nan], [1.0])
    assert metrics.auroc([1.0], [0.0]) == 1
