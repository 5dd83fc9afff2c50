"""The density ratio attack on Gaussians, whose ratio is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import built
from scipy.stats import multivariate_normal

from attacks.density import Flow, Kernels
from attacks.domias import DensityRatio
from victims.access import FullBlackBoxWithReference
from victims.errors import UserError

MEAN, SPREAD = np.array([0.8, -0.5]), 1.5
TINY = {"transforms": 1, "width": 4, "steps": 5, "batch_size": 8, "learning_rate": 0.01, "seed": 0}


def view(released: np.ndarray, reference: np.ndarray) -> FullBlackBoxWithReference:
    arrays = (np.asarray(x, np.float32) for x in (released, reference))
    return FullBlackBoxWithReference(torch.device("cpu"), 64, *arrays)


def gaussians(n: int, m: int) -> FullBlackBoxWithReference:
    rng = np.random.default_rng(0)
    return view(rng.normal(size=(n, 2)), MEAN + SPREAD * rng.normal(size=(m, 2)))


def ratio(x: np.ndarray, released_width: float = 1.0, reference_width: float = 1.0) -> np.ndarray:
    released = multivariate_normal(np.zeros(2), released_width * np.eye(2))
    reference = multivariate_normal(MEAN, reference_width * SPREAD**2 * np.eye(2))
    return released.logpdf(x) - reference.logpdf(x)


def queries(n: int = 200) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 2))


@pytest.mark.parametrize("density", [Kernels(), Flow(**TINY)])
def test_samples_that_are_all_alike_have_no_density(density: Kernels | Flow) -> None:
    collapsed = view(np.ones((40, 2)), np.random.default_rng(0).normal(size=(40, 2)))
    found = DensityRatio(density, 2, 0).score(collapsed, torch.from_numpy(queries(9)).float())
    assert found.tolist() == [0.0] * 9


def test_kernels_on_gaussians() -> None:
    """Gaussian kernels widen a Gaussian by a known factor: Scott's, n^(-1/(d+4)), squared."""
    n, m = 6000, 3000
    found = DensityRatio(Kernels(), 2, 0).score(
        gaussians(n, m), torch.from_numpy(queries()).float()
    )
    expected = ratio(queries(), *(1 + size ** (-2 / 6) for size in (n, m)))
    assert np.corrcoef(found, expected)[0, 1] > 0.98
    errors = np.abs(found - expected)
    assert np.median(errors) < 0.1
    assert np.quantile(errors, 0.9) < 0.2


def test_a_flow_on_gaussians() -> None:
    flow = Flow(transforms=1, width=16, steps=100, batch_size=256, learning_rate=0.02, seed=0)
    found = DensityRatio(flow, 2, 0).score(
        gaussians(4000, 4000), torch.from_numpy(queries()).float()
    )
    assert np.corrcoef(found, ratio(queries()))[0, 1] > 0.95
    assert np.median(np.abs(found - ratio(queries()))) < 0.15


@pytest.mark.parametrize("density", [Kernels(), Flow(**TINY)])
def test_the_ratio_does_not_depend_on_units_beyond_rounding(density: Kernels | Flow) -> None:
    rng = np.random.default_rng(2)
    scale = np.array([100.0, 1.0])
    released, reference, asked = (scale * rng.normal(size=(n, 2)) for n in (300, 200, 20))
    found = [
        DensityRatio(density, 2, 0).score(
            view(factor * released, factor * reference), torch.from_numpy(factor * asked).float()
        )
        for factor in (1.0, 0.001)
    ]
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-3)


def test_a_column_that_never_changes_is_left_out() -> None:
    granted, asked = gaussians(300, 100), torch.from_numpy(queries()).float()
    wider = view(
        *(np.hstack([x, np.ones((len(x), 1))]) for x in (granted.released, granted.reference))
    )
    found = DensityRatio(Kernels(), 3, 0).score(
        wider, torch.hstack([asked, torch.ones(len(asked), 1)])
    )
    expected = DensityRatio(Kernels(), 2, 0).score(granted, asked)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_dimensions_are_at_most_half_of_the_reference_records(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    granted = view(rng.normal(size=(100, 30)), rng.normal(size=(12, 30)))
    learnt = DensityRatio(Kernels(), 20, 0).learn(granted, tmp_path)
    assert learnt["axes"].shape == (6, 30)
    assert learnt["reference.points"].shape == (12, 6)


def test_too_few_records_and_copies_are_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"at least 8 reference records.*there are 5 and 30"):
        DensityRatio(Kernels(), 2, 0).score(gaussians(30, 5), torch.zeros(1, 2))
    with pytest.raises(UserError, match="steps=0"):
        built(Flow, "attack.density", **{**TINY, "steps": 0})
    for copies in np.zeros((20, 2)), np.full((20, 2), 0.1), np.linspace(0, 1, 20)[:, None] * [1, 2]:
        for density in Kernels(), Flow(**TINY):  # a flow would make the density infinite
            with pytest.raises(UserError, match="20 reference records have no density"):
                DensityRatio(density, 2, 0).score(view(queries(100), copies), torch.zeros(1, 2))
    alike = view(np.full((100, 2), 0.1), np.random.default_rng(0).normal(size=(20, 2)))
    assert not DensityRatio(Kernels(), 2, 0).score(alike, torch.zeros(1, 2)).any()
