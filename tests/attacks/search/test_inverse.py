"""What is learnt from released samples, against scikit-learn and closed forms."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.kernel_ridge import KernelRidge

from attacks.distances import L2
from attacks.latent_search import start_predicted
from attacks.search.inverse import (
    DAMPING,
    RIDGE,
    WIDTH,
    _median,
    _solved_in_place,
    mean_jacobian,
    predicted_codes,
    stretch_coordinates,
)
from attacks.search.nearest import find_nearest
from victims.access import PartialBlackBox

CLEAR_REFS = Path("/proc/self/clear_refs")
D, SHAPE = 5, (1, 4, 6)
GENERATOR = np.random.default_rng(0)
JACOBIAN = GENERATOR.standard_normal((D, 24)) * 10.0 ** np.linspace(0, -2, D)[:, None]


def view(codes: np.ndarray, flat: np.ndarray) -> PartialBlackBox:
    released = flat.reshape(len(flat), *SHAPE).astype(np.float32)
    codes = codes.astype(np.float32)
    return PartialBlackBox(torch.device("cpu"), 64, released, codes, lambda z: z)


def linear(n: int) -> PartialBlackBox:
    codes = GENERATOR.standard_normal((n, D))
    return view(codes, codes @ JACOBIAN + 3.0)


def bent(codes: np.ndarray) -> np.ndarray:
    return np.tanh(codes @ JACOBIAN * 3)


def test_the_jacobian_of_a_linear_generator_is_found() -> None:
    np.testing.assert_allclose(mean_jacobian(linear(5000)), JACOBIAN, atol=1e-5)


def test_the_stretch_of_a_linear_generator_is_the_closed_form() -> None:
    metric = JACOBIAN @ JACOBIAN.T
    wanted = np.linalg.inv(sqrtm(metric / np.linalg.norm(metric, 2) + DAMPING * np.eye(D)))
    np.testing.assert_allclose(stretch_coordinates(linear(400)), wanted, rtol=1e-4, atol=1e-5)


def test_predictions_know_samples_of_every_class_whatever_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sorted by a coordinate of their code, the first samples are all of one end of it."""
    monkeypatch.setattr("attacks.search.inverse.SAMPLES", 300)
    codes = GENERATOR.standard_normal((3000, D))
    codes = codes[np.argsort(codes[:, 0])]
    far = codes[-50:]
    queries = torch.from_numpy(bent(far)).reshape(50, *SHAPE)
    found = predicted_codes(view(codes, bent(codes)), queries)
    blind = predicted_codes(view(codes[:300], bent(codes[:300])), queries)
    assert np.abs(found - far)[:, 0].mean() < 1
    assert np.abs(blind - far)[:, 0].mean() > 2


def test_predictions_are_those_of_scikit_learn() -> None:
    codes = GENERATOR.standard_normal((300, D))
    queries = bent(GENERATOR.standard_normal((9, D)))
    released = view(codes, bent(codes))
    samples = released.released.reshape(300, -1).astype(np.float64)
    between = ((samples[:, None] - samples) ** 2).sum(2)
    median = np.sort(between, axis=None)[(between.size - 1) // 2]
    model = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=1 / (WIDTH * median))
    wanted = model.fit(samples, released.codes).predict(queries)
    usual = np.sqrt((released.codes**2).sum(1).mean())
    wanted *= usual / np.linalg.norm(wanted, axis=1, keepdims=True)
    found = predicted_codes(released, torch.from_numpy(queries).reshape(9, *SHAPE))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_predicted_code_is_closer_than_the_nearest_samples() -> None:
    codes, hidden = GENERATOR.standard_normal((1000, D)), GENERATOR.standard_normal((40, D))
    for drawn in (codes, hidden):  # of the length that the distance's latent term asks for
        drawn *= np.sqrt(D) / np.linalg.norm(drawn, axis=1, keepdims=True)
    released = view(codes, bent(codes))
    queries = torch.from_numpy(bent(hidden).reshape(40, *SHAPE)).float()
    starts = start_predicted(released, queries, 3, L2())
    assert starts.shape == (40, 3, D)
    np.testing.assert_array_equal(
        starts[:, 1:], released.codes[find_nearest(released.blocks(), queries, 2)[1]]
    )
    errors = np.square(bent(starts) - bent(hidden)[:, None]).mean(2)
    assert np.median(errors[:, 0]) < 0.5 * np.median(errors[:, 1])


def test_a_prediction_does_not_depend_on_the_other_queries() -> None:
    released, queries = linear(200), torch.from_numpy(GENERATOR.standard_normal((7, *SHAPE)))
    together = predicted_codes(released, queries)
    np.testing.assert_allclose(predicted_codes(released, queries[2:3]), together[2:3], atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 17, 300])
@pytest.mark.parametrize("kind", ["random", "tied", "sorted", "first rows differ", "alike"])
def test_the_median_is_that_of_torch_to_the_last_bit(n: int, kind: str) -> None:
    values = torch.from_numpy(GENERATOR.standard_normal((n, n)))
    if kind == "sorted":
        values = values.flatten().sort().values.reshape(n, n)
    elif kind == "tied":
        values = values.round()
    elif kind == "first rows differ":
        values[::16] += 100  # the rows that are looked at say nothing about the others
    elif kind == "alike":
        values[:] = 3.0
    before = values.clone()
    assert _median(values) == before.median()
    assert torch.equal(values, before)


def test_values_that_are_alike_are_not_copied_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the distances between samples of a generator that has collapsed."""
    values = torch.ones(64, 64)
    copied, cat = [0], torch.cat

    def counted(parts: list[torch.Tensor]) -> torch.Tensor:
        copied.extend(len(part) for part in parts)
        return cat(parts)

    monkeypatch.setattr(torch, "cat", counted)
    assert _median(values) == values.median()
    assert sum(copied) <= values.numel() / 4


@pytest.mark.parametrize("n", [1, 2, 50])
def test_samples_that_are_all_alike_give_finite_codes(n: int) -> None:
    collapsed = view(GENERATOR.standard_normal((n, D)), np.ones((n, 24)))
    same = torch.ones(1, *SHAPE)
    found = predicted_codes(collapsed, torch.cat([same, same + 1e6]))
    assert np.isfinite(found).all()
    assert (found[1] == 0).all()
    np.testing.assert_allclose(stretch_coordinates(collapsed), np.eye(D) / np.sqrt(DAMPING))


@pytest.mark.parametrize("n", [1, 255, 256, 600])
def test_a_system_is_solved_in_place_to_the_last_bit(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    kernel, codes = torch.randn(n, n, generator=generator), torch.randn(n, 5, generator=generator)
    kernel, codes = kernel.double() @ kernel.T.double() + n * torch.eye(n), codes.double()
    kernel += torch.randn(n, n, generator=generator).triu(1)  # is not read
    expected = torch.cholesky_solve(codes, torch.linalg.cholesky(kernel))
    assert torch.equal(_solved_in_place(kernel, codes), expected)


@pytest.mark.skipif(not os.access(CLEAR_REFS, os.W_OK), reason="Linux alone counts memory anew")
def test_no_copy_of_the_kernel_is_made() -> None:
    n = 3000
    kernel = torch.eye(n, dtype=torch.float64) + 0.1 / n
    codes = torch.ones(n, 4, dtype=torch.float64)
    _solved_in_place(kernel[:300, :300].clone(), codes[:300])  # libraries allocate once
    CLEAR_REFS.write_text("5")  # the highest memory so far is forgotten
    before = highest_memory()
    _solved_in_place(kernel, codes)
    assert highest_memory() - before < kernel.nbytes / 2


def highest_memory() -> int:
    """Bytes of memory that this process held at most."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
