"""Features against direct calls of scikit-learn, scikit-image and numpy."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from conftest import built, digits
from skimage.feature import hog
from sklearn.decomposition import PCA
from torch import Tensor

from attacks.base import some_rows
from attacks.features import (
    ColourHistogram,
    Norm,
    OrientedGradients,
    PrincipalComponents,
    Values,
)
from victims.access import FullBlackBox
from victims.errors import UserError


def images(n: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, *shape, generator=generator) * 2 - 1


def test_values_are_the_records() -> None:
    x = images(4, 3, 5, 6)
    torch.testing.assert_close(Values()({}, x), x.reshape(4, 90))


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 64), (3, 31, 45)])
@pytest.mark.parametrize(("orientations", "cell"), [(9, 9), (8, 6)])
@pytest.mark.parametrize("norm", get_args(Norm))
def test_oriented_gradients_are_those_of_scikit_image(
    shape: tuple[int, ...], orientations: int, cell: int, norm: str
) -> None:
    x = images(3, *shape)
    found = OrientedGradients(orientations, cell, norm)({}, x)
    for record, ours in zip(x.double().numpy(), found.numpy(), strict=True):
        theirs = hog(
            (record + 1) / 2, orientations=orientations, pixels_per_cell=(cell, cell),
            cells_per_block=(3, 3), block_norm=norm, channel_axis=0,
        )  # fmt: skip
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_oriented_gradients_of_flat_and_straight_images() -> None:
    """Gradients along the axes fall on the edges between bins; flat images have none."""
    steps = torch.arange(32).float() / 16 - 1
    x = torch.stack([torch.zeros(32, 32), steps.expand(32, 32), -steps.expand(32, 32).T])[:, None]
    found = OrientedGradients()({}, x)
    for record, ours in zip(x.double().numpy(), found.numpy(), strict=True):
        grey = (record[0] + 1) / 2
        theirs = hog(grey, orientations=9, pixels_per_cell=(9, 9), cells_per_block=(3, 3))
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_histograms_are_those_of_numpy(channels: int) -> None:
    x = images(4, channels, 12, 10)
    found = ColourHistogram(bins=4)({}, x)
    assert found.shape == (4, 4**channels)
    for record, ours in zip(x.double().numpy(), found.numpy(), strict=True):
        pixels = record.reshape(channels, -1).T
        stretched = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * 255
        counts, _ = np.histogramdd(stretched, bins=4, range=[(0, 256)] * channels)
        np.testing.assert_allclose(ours, counts.ravel() / np.linalg.norm(counts), rtol=1e-6)


def test_the_histogram_of_a_blank_image_is_finite() -> None:
    assert ColourHistogram()({}, torch.zeros(1, 1, 4, 4))[0].tolist() == [1.0] + [0.0] * 15


def test_principal_components_are_those_of_scikit_learn() -> None:
    released, x = images(60, 2, 5, 4).numpy(), images(70, 2, 5, 4)[60:]
    feature = PrincipalComponents(7)
    learnt = feature.learn(FullBlackBox(torch.device("cpu"), 64, released))
    ours = feature(learnt, x).numpy()
    pca = PCA(7, svd_solver="full").fit(released.reshape(60, -1).astype(float))
    theirs = pca.transform(x.flatten(1).double().numpy())
    signs = np.sign((ours * theirs).sum(0))
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-3)


@pytest.mark.slow
def test_principal_components_of_large_records_keep_as_much_as_can_be_kept() -> None:
    """There scikit-learn's own randomised search is used: other axes, nearly the same space."""
    released = digits(0, 200).numpy()
    feature = PrincipalComponents(12)
    learnt = feature.learn(FullBlackBox(torch.device("cpu"), 64, released))
    kept = feature(learnt, torch.from_numpy(released)).double().numpy().var(0, ddof=1).sum()
    best = PCA(12, svd_solver="full").fit(released.reshape(200, -1)).explained_variance_.sum()
    assert kept == pytest.approx(best, rel=1e-3)


def view_of(released: np.ndarray) -> FullBlackBox:
    return FullBlackBox(torch.device("cpu"), 64, released)


def test_components_are_as_many_as_there_can_be() -> None:
    view = FullBlackBox(torch.device("cpu"), 64, np.random.default_rng(0).normal(size=(9, 4)))
    assert PrincipalComponents(40).learn(view)["axes"].shape == (4, 4)


def test_components_are_fitted_to_some_samples_wherever_they_stand() -> None:
    """Class by class, each varying in one direction of its own: the first rows know one of them."""
    rng = np.random.default_rng(0)
    by_class = np.concatenate([rng.normal(size=(1000, 1)) * row for row in np.eye(4)])
    axes = PrincipalComponents(4, fitted=400).learn(view_of(by_class))["axes"]
    assert (np.abs(axes).max(0) > 0.5).all()
    chosen = by_class[some_rows(4000, 400, PrincipalComponents(4).state)]
    expected = PrincipalComponents(4).learn(view_of(chosen))["axes"]
    np.testing.assert_array_equal(axes, expected)
    with pytest.raises(UserError, match="fitted=0"):
        built(PrincipalComponents, "attack.feature", components=7, fitted=0)


def test_features_of_images_are_refused_for_tables_and_small_images() -> None:
    for feature in (OrientedGradients(), ColourHistogram()):
        feature.refuse((3, 32, 32))
        with pytest.raises(UserError, match="a record has 12 columns"):
            feature.refuse((12,))
    with pytest.raises(UserError, match=r"cell=9.*27x27.*16x32"):
        OrientedGradients().refuse((1, 16, 32))
    for feature in (Values(), PrincipalComponents(3)):
        feature.refuse((12,))
