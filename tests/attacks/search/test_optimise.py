"""Optimisers against scipy, closed forms, and each other's company."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from attacks.search.lbfgs import Memory, hop_between_minima, search_by_lbfgs
from attacks.search.optimise import halve_budget, minimise_losses, stretch_search
from attacks.search.powell import search_by_powell

D = 6
GENERATOR = np.random.default_rng(0)
MATRICES = [a @ a.T + np.eye(D) for a in GENERATOR.standard_normal((9, D, D))]
CENTRES = GENERATOR.standard_normal((9, D))
STARTS = GENERATOR.standard_normal((9, D)) * 2


def quadratic(rows: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shifted = [point - CENTRES[i] for i, point in zip(rows, z, strict=True)]
    slopes = [MATRICES[i] @ s for i, s in zip(rows, shifted, strict=True)]
    values = [s @ slope / 2 for s, slope in zip(shifted, slopes, strict=True)]
    return np.array(values), np.array(slopes)


def values_only(rows: np.ndarray, z: np.ndarray) -> np.ndarray:
    return quadratic(rows, z)[0]


METHODS = {
    "lbfgs": (search_by_lbfgs, quadratic, 60),
    "hopping": (partial(hop_between_minima, seed=0, rise=0.1), quadratic, 60),
    "powell": (search_by_powell, values_only, 900),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_minimum_of_a_quadratic_is_found(name: str) -> None:
    search, evaluate, budget = METHODS[name]
    found = minimise_losses((search(z) for z in STARTS), evaluate, 4, budget)
    np.testing.assert_allclose(found.points, CENTRES, atol=2e-3)
    assert (found.losses < 1e-5).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_query_does_not_depend_on_its_company(name: str) -> None:
    search, evaluate, budget = METHODS[name]
    together = minimise_losses((search(z) for z in STARTS), evaluate, 4, budget)
    for i in (0, 5):
        alone = minimise_losses([search(STARTS[i])], lambda _, z, i=i: evaluate([i], z), 1, budget)
        assert np.array_equal(alone.points[0], together.points[i])
        assert alone.evaluations[0] == together.evaluations[i]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("budget", [1, 2, 7, 23])
def test_the_budget_is_kept_exactly(name: str, budget: int) -> None:
    search, evaluate, _ = METHODS[name]
    asked, used = np.zeros(9, int), []

    def counted(rows: np.ndarray, z: np.ndarray) -> Any:
        asked[rows] += 1
        return evaluate(rows, z)

    found = minimise_losses((search(z) for z in STARTS), counted, 4, budget, used.append)
    assert (asked <= budget).all()
    assert np.array_equal(asked, found.evaluations)
    assert sum(used) == 9 * budget


def test_both_are_as_good_as_scipy_on_rosenbrock() -> None:
    starts = GENERATOR.uniform(-1.5, 1.5, (5, 2))

    def values(rows: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.array([rosen(p) for p in z])

    def both(rows: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return values(rows, z), np.array([rosen_der(p) for p in z])

    newton = minimise_losses((search_by_lbfgs(z) for z in starts), both, 5, 300)
    direct = minimise_losses((search_by_powell(z) for z in starts), values, 5, 2000)
    for i, z0 in enumerate(starts):
        theirs = minimize(rosen, z0, jac=rosen_der, method="L-BFGS-B").fun
        assert newton.losses[i] <= theirs + 1e-6
        assert direct.losses[i] <= minimize(rosen, z0, method="Powell").fun + 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_a_start_that_is_not_finite_ends_at_once(name: str) -> None:
    def nowhere(rows: np.ndarray, z: np.ndarray) -> Any:
        losses = np.full(len(z), np.nan)
        return losses if name == "powell" else (losses, np.zeros_like(z))

    found = minimise_losses([METHODS[name][0](STARTS[0])], nowhere, 1, 10)
    assert found.reasons == ["start not finite"]


def test_halving_finds_the_deeper_of_two_basins() -> None:
    def double(rows: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = z[:, 0]
        return (x**2 - 1) ** 2 + 0.3 * x, (4 * x * (x**2 - 1) + 0.3)[:, None]

    starts = [np.array([1.2]), np.array([0.8]), np.array([-0.7]), np.array([1.5])]
    alone = minimise_losses([search_by_lbfgs(starts[0])], double, 1, 60)
    best = minimise_losses([halve_budget([search_by_lbfgs(z) for z in starts], 4)], double, 1, 60)
    assert alone.points[0, 0] > 0 > best.points[0, 0]
    assert best.losses[0] < alone.losses[0]


def test_stretched_coordinates_save_most_evaluations_on_a_long_valley() -> None:
    scales = 10.0 ** np.linspace(-4, 0, 12)
    matrix = np.diag(1 / np.sqrt(scales))

    def valley(rows: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (scales * z**2).sum(1) + 1.0, 2 * scales * z

    start = np.random.default_rng(1).standard_normal(12)
    search = {"loss_tolerance": 0.0, "gradient_tolerance": 1e-6}
    plain = minimise_losses([search_by_lbfgs(start, **search)], valley, 1, 500)
    inside = search_by_lbfgs(np.linalg.solve(matrix, start), **search)
    known = minimise_losses([stretch_search(inside, matrix)], valley, 1, 500)
    np.testing.assert_allclose([plain.losses, known.losses], 1.0, atol=1e-6)
    np.testing.assert_allclose(known.points, 0.0, atol=1e-2)
    assert known.reasons == ["gradient vanished"]
    assert known.evaluations[0] < 0.5 * plain.evaluations[0]


def test_hopping_leaves_shallow_minima_and_keeps_the_best() -> None:
    def rugged(rows: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        losses = 0.1 + (0.5 * z**2 + 0.2 * (1 - np.cos(8 * z))).sum(1)  # at least 0.1, at zero
        return losses, z + 1.6 * np.sin(8 * z)

    starts = np.random.default_rng(2).uniform(-2, 2, (8, 3))
    once = minimise_losses(
        (hop_between_minima(z, 0, 2.0, patience=1) for z in starts), rugged, 8, 20
    )
    hops = minimise_losses(
        (hop_between_minima(z, 0, 2.0, patience=10) for z in starts), rugged, 8, 600
    )
    assert (hops.losses <= once.losses).all()
    assert (hops.losses < 0.1 + 1e-3).sum() >= 5 > (once.losses < 0.1 + 1e-3).sum()
    assert set(hops.reasons) == {"hops found nothing better"}
    np.testing.assert_allclose(rugged([], hops.points)[0], hops.losses)


def test_draws_have_the_approximate_inverse_hessian_as_covariance() -> None:
    generator = np.random.default_rng(3)
    memory = Memory(3, D)
    for step in generator.standard_normal((5, D)):  # more than it keeps
        memory.add_pair(step, MATRICES[0] @ step)
    implied = np.stack([-memory.find_direction(unit) for unit in np.eye(D)])
    np.testing.assert_allclose(implied, implied.T, atol=1e-9)
    draws = np.stack([memory.draw_jump(generator) for _ in range(8000)])
    scale = np.sqrt(np.outer(implied.diagonal(), implied.diagonal()))
    np.testing.assert_allclose(np.cov(draws.T) / scale, implied / scale, atol=0.06)
