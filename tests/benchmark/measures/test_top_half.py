"""Members in the top half, against plain loops that do what the published evaluation does."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.measures.top_half import judge_sets_by_top_half, share_in_top_half


def shuffled_share(members: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> float:
    """Shuffle, sort, and count the members among the last: once."""
    rows = [(score, 1) for score in members] + [(score, 0) for score in others]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    ranked = sorted(rows, key=lambda row: row[0])
    return sum(label for _, label in ranked[-len(members) :]) / len(members)


def test_share_without_ties_is_that_of_the_loop() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 50):
        x, y = rng.normal(0.5, 1, n), rng.normal(0, 1, n)
        assert share_in_top_half(x, y).value == pytest.approx(shuffled_share(x, y, rng))


def test_share_with_ties_is_the_mean_of_the_loop_over_all_orders() -> None:
    rng = np.random.default_rng(1)
    for levels in (1, 2, 3):
        x, y = rng.integers(0, levels, 6) + 1.0, rng.integers(0, levels, 6).astype(float)
        mean = np.mean([shuffled_share(x, y, rng) for _ in range(8000)])
        assert share_in_top_half(x, y).value == pytest.approx(mean, abs=0.01)
    assert share_in_top_half([1.0, 1.0], [1.0, 1.0]).value == 0.5


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_sets_are_judged_as_by_the_loop(shift: float) -> None:
    rng, size = np.random.default_rng(2), 10
    x, y = rng.normal(shift, 1, 60).round(1), rng.normal(0, 1, 60).round(1)
    calls = []
    for _ in range(4000):
        own = rng.choice(x, size, replace=False), rng.choice(y, size, replace=False)
        share = shuffled_share(*own, rng)
        calls.append(1.0 if share > 0.5 else 0.5 if share == 0.5 else 0.0)
    found = judge_sets_by_top_half(x, y, size)
    assert found.value == pytest.approx(np.mean(calls), abs=0.035)  # 3 errors of both
    assert found.low <= found.value <= found.high


def test_intervals_hold_the_truth() -> None:
    """Of normal scores: the share is that above the middle of the two means."""
    from scipy.stats import norm

    rng, shift, misses = np.random.default_rng(3), 0.2, 0
    for _ in range(400):
        found = share_in_top_half(rng.normal(shift, 1, 100), rng.normal(0, 1, 100))
        misses += not found.low <= norm.cdf(shift / 2) <= found.high
    assert 2 <= misses <= 32  # 5% would be 20


def test_perfect_scores_keep_an_interval() -> None:
    found = share_in_top_half(np.arange(100.0) + 100, np.arange(100.0))
    assert found.value == found.high == 1
    assert 0.97 < found.low < 1
    sets = judge_sets_by_top_half(np.arange(100.0) + 100, np.arange(100.0))
    assert sets.value == 1
    assert sets.low > 0.99


def test_unequal_or_small_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="equal numbers"):
        share_in_top_half([1.0, 2.0], [0.0])
    with pytest.raises(ValueError, match="set of 3"):
        judge_sets_by_top_half([1.0, 2.0], [0.0, 1.0], size=3)
