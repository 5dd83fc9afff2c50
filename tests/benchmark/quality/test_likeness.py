"""Quality measures against closed forms, scipy's matrix root, and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from benchmark.quality.likeness import (
    correlation_error,
    frechet_distance,
    marginal_error,
    precision_recall,
)


def normal(seed: int, n: int, d: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * scale


def exactly(mean: np.ndarray, covariance: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Rows whose sample mean and covariance are exactly these."""
    rows = normal(seed, n, len(mean))
    rows -= rows.mean(0)
    white = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


# --- Frechet distance -----------------------------------------------------------------------------


def by_sqrtm(a: np.ndarray, b: np.ndarray) -> float:
    between = np.trace(np.real(sqrtm(np.cov(a.T) @ np.cov(b.T))))
    trace = np.trace(np.cov(a.T)) + np.trace(np.cov(b.T))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + trace - 2 * between)


@pytest.mark.parametrize("seed", range(4))
def test_frechet_equals_the_formula_with_scipys_matrix_root(seed):
    mix = normal(seed + 10, 9, 9)
    a, b = normal(seed, 60, 9) @ mix + 1, normal(seed + 5, 80, 9) * 2
    assert frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-9)


def test_frechet_of_gaussians_has_its_closed_form():
    rng = np.random.default_rng(3)
    means, deviations = rng.normal(size=(2, 5)), rng.uniform(0.1, 3, (2, 5))
    a, b = (exactly(m, np.diag(s**2), 40, 1) for m, s in zip(means, deviations, strict=True))
    # Covariances that commute: the roots' difference.
    expected = ((means[0] - means[1]) ** 2).sum() + ((deviations[0] - deviations[1]) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_gaussians_in_two_dimensions_that_do_not_commute():
    first, second = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -0.5], [-0.5, 4.0]])
    a, b = (exactly(np.zeros(2), c, 30, seed) for seed, c in enumerate((first, second)))
    # trace(M^(1/2)) = sqrt(trace M + 2 sqrt(det M)) for 2x2.
    product = first @ second
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_with_fewer_rows_than_columns_and_constant_columns():
    a, b = normal(0, 12, 30), normal(1, 20, 30) + 0.3
    a[:, 4] = b[:, 4] = 7.0
    a[:, 5], b[:, 5] = 1.0, 3.0
    found = frechet_distance(a, b)
    assert found == pytest.approx(by_sqrtm(a, b), rel=1e-5)  # the reference loses digits here
    assert found == pytest.approx(frechet_distance(b, a), rel=1e-12)


def test_frechet_of_a_set_with_itself_is_zero_and_of_a_shift_its_square():
    a = normal(2, 50, 6, scale=100)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(a, a + np.array([3, 0, 4, 0, 0, 0])) == pytest.approx(25, rel=1e-9)


def test_frechet_does_not_change_under_a_rotation():
    a, b = normal(0, 40, 8), normal(1, 40, 8, 3.0) + 1
    rotation = np.linalg.qr(normal(2, 8, 8))[0]
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(frechet_distance(a, b))


def test_frechet_of_float32_features_far_from_zero():
    a = (normal(0, 50, 4) + 1e4).astype(np.float32)
    assert frechet_distance(a, a + np.float32(1)) == pytest.approx(4, rel=1e-6)


# --- precision and recall -------------------------------------------------------------------------


def brute_share(points: np.ndarray, support: np.ndarray, k: int) -> float:
    inside = 0
    for point in points:
        for i, centre in enumerate(support):
            others = np.delete(support, i, axis=0)
            radius = np.sort(np.sqrt(((others - centre) ** 2).sum(1)))[k - 1]
            if np.sqrt(((point - centre) ** 2).sum()) <= radius:
                inside += 1
                break
    return inside / len(points)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_a_loop(k):
    real, other = normal(0, 60, 4), normal(1, 45, 4, 1.3) + 0.8
    precision, recall = precision_recall(real, other, k)
    assert precision == brute_share(other, real, k)
    assert recall == brute_share(real, other, k)
    assert 0 < precision < 1
    assert 0 < recall < 1


def test_precision_and_recall_across_blocks(monkeypatch):
    real, other = normal(0, 60, 4), normal(1, 45, 4) + 0.8
    whole = precision_recall(real, other)
    monkeypatch.setattr("benchmark.quality.likeness.BLOCK", 7)
    assert precision_recall(real, other) == whole


def test_one_mode_has_precision_without_recall():
    real = np.concatenate([normal(0, 100, 3), normal(1, 100, 3) + 50])
    precision, recall = precision_recall(real, normal(2, 200, 3))
    assert precision > 0.7
    assert recall < 0.6
    assert precision_recall(real, real + 1000) == (0, 0)
    assert precision_recall(real, real) == (1, 1)


def test_a_set_is_among_itself_by_exact_distances():
    real, other = normal(3, 80, 5), normal(4, 70, 5) + 0.5
    radii = np.sort(cdist(real, real), axis=1)[:, 3]
    expected = (cdist(other, real) <= radii).any(1).mean()
    assert precision_recall(real, other)[0] == expected


# --- tables ---------------------------------------------------------------------------------------


def test_marginal_error_of_a_shift_is_its_size_over_the_common_deviation():
    real = normal(0, 400, 1)
    shift = 0.7
    together = np.sqrt(real.var() + shift**2 / 4)
    assert marginal_error(real, real + shift) == pytest.approx(shift / together)


def test_marginal_error_of_binary_columns_is_the_difference_of_their_means():
    rng = np.random.default_rng(0)
    real, other = (rng.random((300, 6)) < rates for rates in (0.3, rng.random(6)))
    gap = np.abs(real.mean(0) - other.mean(0))
    together = np.concatenate([real, other]).std(0)  # sets of one size
    assert marginal_error(real, other) == pytest.approx((gap / together).mean())


def test_marginal_error_is_free_of_units_and_between_0_and_2():
    real, other = np.abs(normal(0, 200, 5)), normal(1, 150, 5) ** 2
    error = marginal_error(real, other)
    assert 0 < error < 2
    assert marginal_error(other, real) == pytest.approx(error)
    assert marginal_error(real * 1000 + 5, other * 1000 + 5) == pytest.approx(error)
    assert marginal_error(real, real[::-1]) == 0
    assert marginal_error(np.zeros((9, 2)), np.zeros((9, 2))) == 0
    assert marginal_error(np.zeros((9, 2)), np.ones((7, 2))) == pytest.approx(2)


def test_marginal_error_is_a_mean_of_sorted_differences():
    real, other = normal(0, 200, 3), normal(1, 200, 3) * 2 + 1
    gap = np.abs(np.sort(real, axis=0) - np.sort(other, axis=0)).mean(0)
    together = np.concatenate([real, other]).std(0)
    assert marginal_error(real, other) == pytest.approx((gap / together).mean())


def test_correlation_error_equals_numpys_correlations():
    real, other = normal(0, 90, 6) @ normal(5, 6, 6), normal(1, 70, 6)
    difference = np.abs(np.corrcoef(real.T) - np.corrcoef(other.T))
    pairs = [difference[i, j] for i in range(6) for j in range(i)]
    assert correlation_error(real, other) == pytest.approx(np.mean(pairs))


def test_correlation_error_at_its_ends():
    column = normal(0, 50, 1)
    same, opposite = np.hstack([column, column]), np.hstack([column, -column])
    assert correlation_error(same, same) == 0
    assert correlation_error(same, opposite) == pytest.approx(2)


@pytest.mark.parametrize("n", range(2, 40))
def test_a_constant_that_rounds_is_still_constant(n):
    column = normal(n, n, 1)
    constant = np.hstack([column, np.full_like(column, 0.1)])
    assert correlation_error(constant, np.hstack([column, column])) == pytest.approx(1)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_sets_too_small_for_a_measure_give_nan(n):
    few, many = normal(0, n, 4), normal(1, 30, 4)
    assert np.isnan(precision_recall(many, few)).all()
    assert np.isnan(frechet_distance(few, many)) == (n < 2)
    assert np.isnan(correlation_error(few, many)) == (n < 2)
    assert np.isnan(marginal_error(many, few)) == (n < 1)
    assert np.isnan(correlation_error(many[:, :1], many[:, :1]))
