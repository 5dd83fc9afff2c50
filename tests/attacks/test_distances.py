"""Distances against closed forms and the `lpips` package."""

from __future__ import annotations

import warnings

import pytest
import torch
from conftest import built, digits
from torch import Tensor
from torch.nn.functional import interpolate

from attacks.distances import L2, L2LPIPS, LPIPS, Euclidean
from attacks.lpips_network import load_features
from attacks.lpips_weights import Net, backbone_weights
from victims.errors import UserError

X, Y = digits(0, 4), digits(1, 4)


def package(net: str) -> torch.nn.Module:
    from lpips import LPIPS as Package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Package(net=net, pretrained=True, pnet_rand=True, verbose=False)
    own = {
        n: backbone_weights(net)["features." + n.split(".", 1)[1]] for n in model.net.state_dict()
    }
    model.net.load_state_dict(own)
    return model


def test_the_euclidean_distance_is_the_root_of_l2_and_has_a_gradient_at_zero() -> None:
    for distance in (L2(), Euclidean()):
        targets = distance.targets(X)
        found = distance(targets, Y)
        expected = (X - Y).square().flatten(1).mean(1)
        root = isinstance(distance, Euclidean)
        torch.testing.assert_close(found, expected.sqrt() if root else expected)
        same = X.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(distance(targets, same).sum(), same)
        assert not gradient.any()


def test_l2_is_the_mean_over_pixels() -> None:
    distance = L2()
    expected = ((X - Y) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(distance(distance.targets(X), Y), expected)


@pytest.mark.parametrize(("net", "channels", "side"), [
    ("alex", 1, 32), ("alex", 3, 32), ("alex", 3, 36), ("alex", 1, 64),
    pytest.param("vgg", 1, 32, marks=pytest.mark.slow),
])  # fmt: skip
def test_lpips_and_its_gradient_equal_the_package(net: Net, channels: int, side: int) -> None:
    x, y = (
        interpolate(images, side, mode="bilinear").expand(-1, channels, -1, -1).clone()
        for images in (X, Y)
    )
    distance, reference = LPIPS(net), package(net)
    ours, theirs = y.clone().requires_grad_(True), y.clone().requires_grad_(True)
    a = distance(distance.targets(x), ours)
    wide = (x.expand(-1, 3, -1, -1), theirs.expand(-1, 3, -1, -1))
    b = reference(*wide).flatten()
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    a.sum().backward()
    b.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_the_package_heads_equal_those_the_features_are_weighted_by() -> None:
    for root, head in zip(load_features("alex").roots, package("alex").lins, strict=True):
        torch.testing.assert_close(root.square(), head.model[-1].weight)


def test_small_images_are_enlarged_bilinearly() -> None:
    small_x, small_y = (interpolate(images, size=(8, 8)) for images in (X, Y))
    distance = LPIPS("alex")
    large = [interpolate(s, size=(32, 32), mode="bilinear") for s in (small_x, small_y)]
    expected = distance(distance.targets(large[0]), large[1])
    torch.testing.assert_close(distance(distance.targets(small_x), small_y), expected)


@pytest.mark.parametrize("weights", [(1.0, 0.2, 0.001), (0.0, 1.0, 0.5), (2.0, 0.0, 0.0)])
def test_the_combination_is_the_weighted_sum(weights: tuple[float, float, float]) -> None:
    z = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    parts = [distance(distance.targets(X), Y) for distance in (L2(), LPIPS("alex"))]
    latent = (z.square().sum(1) - 10).square()
    combined = L2LPIPS(*weights)
    found = combined(combined.targets(X), Y, z)
    expected = weights[0] * parts[0] + weights[1] * parts[1] + weights[2] * latent
    torch.testing.assert_close(found, expected)
    without = expected - weights[2] * latent
    torch.testing.assert_close(combined(combined.targets(X), Y), without)


def test_the_query_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    distance, seen = LPIPS("alex"), []
    forward = distance.model.forward

    def counted(x: Tensor) -> list[Tensor]:
        seen.append(len(x))
        return forward(x)

    monkeypatch.setattr(distance.model, "forward", counted)
    targets = distance.targets(X)
    for _ in range(3):
        distance(targets, Y)
    assert seen == [4, 4, 4, 4]  # once the queries, then only reconstructions


@pytest.mark.parametrize("distance", [L2(), LPIPS("alex"), L2LPIPS()])
def test_selected_rows_are_those_queries(distance: L2) -> None:
    rows = torch.tensor([2, 0, 2])
    whole = distance(distance.targets(X), Y)
    found = distance(distance.targets(X).select_rows(rows), Y[rows])
    torch.testing.assert_close(found, whole[rows], rtol=1e-4, atol=1e-6)
    assert (distance(distance.targets(X), X).abs() < 1e-6).all()
    every = distance.targets(X)
    assert every.select_rows(torch.arange(4)) is every
    assert every.select_rows(torch.tensor([0, 1, 3, 2])) is not every


def test_tables_have_no_perceptual_distance() -> None:
    with pytest.raises(UserError, match="distance=l2"):
        LPIPS("alex").targets(torch.zeros(2, 20))


def test_unknown_backbone_and_negative_weight() -> None:
    with pytest.raises(UserError, match=r"distance.net=resnet.*'alex' or 'vgg'"):
        built(LPIPS, "distance", net="resnet")
    with pytest.raises(UserError, match=r"distance.l2=-1"):
        built(L2LPIPS, "distance", l2=-1)
