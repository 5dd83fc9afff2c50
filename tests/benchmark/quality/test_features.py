"""Features of images and what they are called; Inception's network with stand-in weights."""

from __future__ import annotations

import urllib.error
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import digits
from torch.nn.functional import interpolate
from torch_fidelity import feature_extractor_inceptionv3 as package
from torch_fidelity import metric_fid

from attacks.lpips_network import load_features
from benchmark.config.build import build
from benchmark.quality.features import Columns, ImageNet, Inception
from benchmark.quality.likeness import frechet_distance, precision_recall
from victims.errors import UserError


def test_alexnets_last_map_is_averaged_over_the_enlarged_image():
    images = digits(0, 3)
    network = load_features("alex")
    large = interpolate(images, size=(64, 64), mode="bilinear").repeat(1, 3, 1, 1)
    last = network.net.slice5(
        network.net.slice4(
            network.net.slice3(network.net.slice2(network.net.slice1(network.scale(large))))
        )
    )
    assert last.shape[2] > 1
    found = ImageNet().describe(images)
    assert found.shape == (3, 256)
    torch.testing.assert_close(found, last.mean((2, 3)))


def test_large_images_are_not_enlarged_and_rows_are_independent():
    images = torch.tanh(torch.randn(4, 3, 80, 80, generator=torch.Generator().manual_seed(0)))
    found = ImageNet().describe(images)
    torch.testing.assert_close(found[1:3], ImageNet().describe(images[1:3]))
    torch.testing.assert_close(found, load_features("alex").compute_maps(images)[-1].mean((2, 3)))


def test_an_image_measure_names_its_own_distance_and_never_fid():
    real, other = (
        ImageNet().describe(digits(0, 40)).numpy(),
        ImageNet().describe(-digits(1, 40)).numpy(),
    )
    numbers = ImageNet().compare(real, other)
    assert list(numbers) == ["Frechet distance (AlexNet)", "precision", "recall"]
    assert numbers["Frechet distance (AlexNet)"] == frechet_distance(real, other) > 1
    assert (numbers["precision"], numbers["recall"]) == precision_recall(real, other)
    assert "VGG16" in ImageNet("vgg").distance
    for net in ImageNet.NAMES:
        assert "FID" not in ImageNet(net).distance


def test_tables_are_compared_by_their_columns():
    rows = torch.rand(30, 4)
    assert Columns().describe(rows) is rows
    assert list(Columns().compare(rows.numpy(), rows.numpy())) == [
        "marginal error",
        "correlation error",
    ]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> Path:
    """A folder with a file of Inception's name: its architecture with random weights, no FID."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(package.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        network = package.FeatureExtractorInceptionV3("stand-in", ["2048"])
    torch.save(network.state_dict(), folder / Inception.FILE)
    return folder


@pytest.fixture
def inception(stand_in, monkeypatch) -> Inception:
    monkeypatch.setenv("GAN_LEAKS_CACHE", str(stand_in))
    checksum = sha256((stand_in / Inception.FILE).read_bytes()).hexdigest()
    monkeypatch.setattr(Inception, "SHA256", checksum)
    return Inception()


@pytest.mark.slow
def test_inceptions_features_are_the_packages_on_8_bit_images(inception):
    images = digits(0, 2)
    found = inception.describe(images)
    assert found.shape == (2, 2048)
    pixels = ((images.double() + 1) * 127.5).round().to(torch.uint8).repeat(1, 3, 1, 1)
    torch.testing.assert_close(found, inception.network(pixels)[0])
    torch.testing.assert_close(found, inception.describe(images * 1.001))  # clipped and rounded


def test_weights_that_are_not_inceptions_are_refused(stand_in, monkeypatch):
    monkeypatch.setenv("GAN_LEAKS_CACHE", str(stand_in))
    with pytest.raises(UserError, match=r"weights-inception.*is damaged; delete it"):
        Inception().load()


def test_fid_equals_the_packages_own_formula():
    rng = torch.Generator().manual_seed(0)  # of 2048 columns the package's root takes minutes
    sets = [torch.rand(8, 40, generator=rng) * scale for scale in (1.0, 0.5)]
    statistics = [metric_fid.fid_features_to_statistics(rows) for rows in sets]
    expected = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    found = Inception().compare(*(rows.numpy() for rows in sets))
    assert found["FID"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-3)
    assert list(found) == ["FID", "precision", "recall"]


def test_without_a_network_one_line_says_where_the_weights_go_and_what_else_works(
    tmp_path, monkeypatch, config
):
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("GAN_LEAKS_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    measure = build(config("quality=inception").quality.images, "quality.images")
    with pytest.raises(UserError) as raised:
        measure.load()
    message = str(raised.value)
    assert "\n" not in message
    for part in (Inception.FILE, str(tmp_path), "no route to host", "quality=features"):
        assert part in message
    assert not (tmp_path / Inception.FILE).exists()


def test_a_download_is_kept_under_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_LEAKS_CACHE", str(tmp_path))
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, to, progress: Path(to).write_bytes(b"cut")
    )
    for _ in range(2):
        with pytest.raises(UserError, match="is damaged; delete it"):
            Inception().load()
    assert (tmp_path / Inception.FILE).read_bytes() == b"cut"
    assert package.URL_INCEPTION_V3.endswith(f"/{Inception.FILE}")
    assert np.char.find(Inception.FILE, Inception.SHA256) > 0
