"""What images are compared by when copies are looked for: networks, with real or stand-in weights."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import composed, digits
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models import alexnet
from torchvision.transforms import v2

from attacks.lpips_weights import backbone_weights
from benchmark.data.dataset import in_memory
from benchmark.data.queries import Queries
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.measures import copies
from benchmark.scores.closest import closest
from benchmark.scores.descriptors import SSCD, AlexNet
from benchmark.store.keys import key, settings
from victims.access import FullBlackBox
from victims.errors import UserError

Config = Callable[..., DictConfig]


class StandIn(nn.Module):
    """Instead of SSCD's network: mean and spread of each channel, of length one."""

    def forward(self, x: Tensor) -> Tensor:
        found = torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)
        return found / found.norm(dim=1, keepdim=True)


@pytest.fixture
def sscd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SSCD:
    path = tmp_path / SSCD.FILE
    torch.jit.trace(StandIn(), torch.rand(2, 3, 288, 288)).save(str(path))
    monkeypatch.setattr(SSCD, "SHA256", sha256(path.read_bytes()).hexdigest())
    return SSCD(str(path))


def test_a_descriptor_is_what_the_first_layer_of_alexnet_makes_of_an_image() -> None:
    """Against torchvision's classifier with the same weights, pixel by pixel."""
    x = torch.rand(2, 3, 66, 66, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[:, 0, 0, :2] = torch.tensor([-1.0, 1.0])  # nothing is left to stretch
    first = alexnet().features[0]
    kept = backbone_weights("alex")
    first.load_state_dict({n: kept[f"features.0.{n}"] for n in ("weight", "bias")})
    first.stride, first.padding = (2, 2), (5, 5)
    first.padding_mode, first._reversed_padding_repeated_twice = "replicate", [5, 5, 5, 5]
    scaled = v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])((x + 1) / 2)
    with torch.no_grad():
        means = [
            first(own).clamp(min=0).double().pow(3).mean((2, 3)).pow(1 / 3)
            for own in (scaled, scaled.flip(3))
        ]
    found = AlexNet().describe(x)
    assert found.shape == (2, 64)
    torch.testing.assert_close(found.double(), (means[0] + means[1]) / 2, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found[1:], AlexNet().describe(x[1:]))


def changed(images: Tensor) -> dict[str, Tensor]:
    """Copies of images whose margin is black: moved, mirrored, darkened."""
    moved = images.roll((2, -3), (2, 3))
    return {"moved": moved, "mirrored": images.flip(3), "darkened": (images + 1) * 0.6 - 1}


def test_changed_copies_are_found_by_features_and_not_by_pixels() -> None:
    records, samples = (pad(digits(s, n)[:, :, 5:-5, 5:-5], [5] * 4, value=-1.0)
                        for s, n in ((0, 160), (1, 240)))  # fmt: skip
    ways = changed(records[:12])
    samples[: 12 * len(ways)] = torch.cat(list(ways.values()))
    queries = Queries(
        in_memory(records.numpy()), *(np.arange(160), np.arange(160) < 80), np.arange(160)
    )
    view = FullBlackBox(torch.device("cpu"), 50, samples.numpy())
    found = {descriptor: closest(view, queries, 0, descriptor) for descriptor in (None, AlexNet())}
    for descriptor, near in found.items():
        table = copies.table(near).set_index("measure")
        nearest = near.records[:36, 0] == np.tile(np.arange(12), 3)
        assert (table["p_value"]["near copies"] < 1e-3) == (descriptor is not None)
        assert nearest.all() == (descriptor is not None)
        assert set(table["by"]) == {near.by}
    mirrored = found[None].calibrated[12:24], list(found.values())[1].calibrated[12:24]
    assert (mirrored[0] > copies.NEAR).all()
    assert (mirrored[1] < copies.EXACT).all()


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 300, 400)])
def test_sscd_sees_images_as_its_authors_recommend(sscd: SSCD, shape: tuple[int, ...]) -> None:
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    as_published = v2.Compose(
        [
            v2.Resize(288),
            v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    expected = StandIn()(as_published((images.expand(-1, 3, -1, -1) + 1) / 2))
    torch.testing.assert_close(sscd.describe(images), expected, rtol=1e-4, atol=1e-5)


def test_sscd_in_the_cache_needs_no_name(sscd: SSCD, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_LEAKS_CACHE", str(Path(str(sscd.file)).parent))
    SSCD().load()


def test_another_file_than_the_published_one_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    path = tmp_path / "other.pt"
    torch.jit.trace(StandIn(), torch.rand(2, 3, 288, 288)).save(str(path))
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("opened"))
    request = open_request(config("copies=sscd", f"copies.file={path}"))
    with pytest.raises(UserError, match=r"^copies\.file=.*other\.pt: its SHA-256 is .*not opened$"):
        prepare(request)


def test_a_missing_file_is_one_line_with_the_way_out(config: Config) -> None:
    with pytest.raises(UserError) as raised:
        prepare(open_request(config("copies=sscd", "copies.file=nowhere.pt")))
    assert "\n" not in str(raised.value)
    for part in ("nowhere.pt is not there", SSCD.URL, "copies.file=FILE", "copies=features"):
        assert part in str(raised.value)


@pytest.mark.parametrize("choice", ["features", "sscd"])
def test_tables_have_no_descriptors(config: Config, choice: str) -> None:
    table = ("data=randhie_binary", "victim=medgan", "distance=l2", "quality=none")
    with pytest.raises(UserError, match=r"^copies: .* images of 1 or 3 channels only.*copies=pix"):
        prepare(open_request(config(*table, f"copies={choice}")))


def test_keys_of_before_there_was_a_choice_hold(tmp_path: Path) -> None:
    default = settings(composed(tmp_path))
    assert "copies" not in default
    features = settings(composed(tmp_path, "copies=features"))
    assert key({k: v for k, v in features.items() if k != "copies"}) == key(default)
    named = [
        settings(composed(tmp_path, "copies=sscd", f"copies.file={name}")) for name in ("a", "b")
    ]
    assert key(named[0]) == key(named[1]) != key(default)
