"""CelebA, LFW and any folder, on small files in the official layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import built
from PIL import Image

from benchmark.data import images
from benchmark.data.celeba import CelebA
from benchmark.data.dataset import Dataset, read_dataset
from benchmark.data.folder import Folder
from benchmark.data.images import centre_crop, crop_square
from benchmark.data.lfw import Lfw
from victims.errors import UserError


def noise(path: Path, width: int, height: int, seed: int) -> np.ndarray:
    """Write an image; return what a decoder must see of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return np.asarray(Image.open(path).convert("RGB"))


def prepared(source, folder: Path) -> Dataset:
    source.prepare(folder)
    return read_dataset(folder)


@pytest.fixture
def celeba(tmp_path) -> Path:
    root = tmp_path / "celeba"
    for i in range(5):
        noise(root / "img_align_celeba" / f"{i + 1:06d}.jpg", 178, 218, i)
    people = [7, 3, 7, 9, 3]
    lines = [f"{i + 1:06d}.jpg {person}\n" for i, person in enumerate(people)]
    (root / "identity_CelebA.txt").write_text("".join(reversed(lines)))
    parts = [f"{i + 1:06d}.jpg {part}\n" for i, part in enumerate([0, 0, 1, 2, 0])]
    (root / "list_eval_partition.txt").write_text("".join(parts))
    return root


def test_celeba_is_the_box_mean_of_the_published_crop(celeba, tmp_path):
    data = prepared(CelebA(str(celeba), 64), tmp_path / "out")
    assert data.values.shape == (5, 3, 64, 64)
    assert data.values.dtype == np.uint8
    assert data.identities.tolist() == [7, 3, 7, 9, 3]
    for i in range(5):
        photo = np.asarray(Image.open(celeba / "img_align_celeba" / f"{i + 1:06d}.jpg"))
        square = photo[121 - 64 : 121 + 64, 89 - 64 : 89 + 64].astype(float)
        mean = square.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.array_equal(data.values[i], np.floor(mean + 0.5).transpose(2, 0, 1))


def test_celeba_partition_and_torchvisions_layout(celeba, tmp_path):
    data = prepared(CelebA(str(celeba.parent), 32, partition="train"), tmp_path / "out")
    assert data.identities.tolist() == [7, 3, 3]


def test_missing_celeba_file_names_file_folder_and_source(celeba):
    (celeba / "identity_CelebA.txt").unlink()
    with pytest.raises(UserError, match=r"identity_CelebA.txt was not found.*mmlab") as error:
        CelebA(str(celeba), 64).identity()
    assert str(celeba) in str(error.value)


def spoil(root: Path) -> None:
    photo = root / "img_align_celeba" / "000002.jpg"
    photo.write_bytes(photo.read_bytes()[:2000])
    (root / "img_align_celeba" / "000003.jpg").write_text("this is no image")
    (root / "img_align_celeba" / "000005.jpg").unlink()


def test_corrupt_images_are_named_and_counted(celeba, tmp_path):
    spoil(celeba)
    with pytest.raises(UserError, match="3 of 5 image files") as error:
        CelebA(str(celeba), 64).prepare(tmp_path / "out")
    for said in ("000002.jpg", "000003.jpg (no image)", "000005.jpg (no such file)"):
        assert said in str(error.value)
    assert "data.on_error=skip" in str(error.value)


def test_skipping_keeps_exactly_the_whole_images(celeba, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(images, "BLOCK", 2)
    whole = prepared(CelebA(str(celeba), 64), tmp_path / "whole")
    spoil(celeba)
    data = prepared(CelebA(str(celeba), 64, on_error="skip"), tmp_path / "out")
    assert np.array_equal(data.values, whole.values[[0, 3]])
    assert np.array_equal(data.digests, whole.digests[[0, 3]])
    assert data.identities.tolist() == [7, 9]
    assert data.facts["records"] == 2
    assert data.facts["skipped"] == 3
    assert "000002.jpg" in caplog.text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "digests.npy",
        "facts.json",
        "identities.npy",
        "values.npy",
    ]


def test_nothing_but_corrupt_images_is_an_error_also_when_skipping(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_text("x")
    with pytest.raises(UserError, match=r"1 of 1 image files cannot be used: a.png"):
        Folder(str(tmp_path / "in"), 8, on_error="skip").prepare(tmp_path / "out")


def test_celeba_refuses_images_of_another_size(celeba, tmp_path):
    noise(celeba / "img_align_celeba" / "000001.jpg", 100, 100, 0)
    with pytest.raises(UserError, match=r"000001.jpg .*100x100"):
        CelebA(str(celeba), 64).prepare(tmp_path / "out")


def test_lfw_people_are_the_folders(tmp_path):
    root = tmp_path / "lfw"
    first = noise(root / "lfw_funneled" / "Ada_B" / "Ada_B_0001.jpg", 250, 250, 0)
    noise(root / "lfw_funneled" / "Ada_B" / "Ada_B_0002.jpg", 250, 250, 1)
    noise(root / "lfw_funneled" / "Zoe_C" / "Zoe_C_0001.jpg", 250, 250, 2)
    data = prepared(Lfw(str(root), 32), tmp_path / "out")
    assert data.identities.tolist() == [0, 0, 1]
    mean = first[61:189, 61:189].astype(float).reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.array_equal(data.values[0], np.floor(mean + 0.5).transpose(2, 0, 1))
    with pytest.raises(UserError, match="vis-www"):
        Lfw(str(tmp_path / "nowhere"), 32).identity()


def test_folder_is_in_the_order_of_names_and_grey_where_asked(tmp_path):
    root = tmp_path / "own"
    noise(root / "b.png", 40, 24, 0)
    noise(root / "a" / "z.PNG", 24, 40, 1)
    noise(root / "a" / ".hidden.png", 24, 24, 2)
    (root / "notes.txt").write_text("no image")
    data = prepared(Folder(str(root), 24, channels=1), tmp_path / "out")
    assert data.identities is None
    expected = [
        Image.open(root / "a" / "z.PNG").convert("L").crop((0, 8, 24, 32)),
        Image.open(root / "b.png").convert("L").crop((8, 0, 32, 24)),
    ]
    assert np.array_equal(data.values, np.stack([np.asarray(part)[None] for part in expected]))
    people = prepared(Folder(str(root), 24, identities=True), tmp_path / "people")
    assert sorted(people.identities.tolist()) == [0, 1]
    assert people.values.shape == (2, 3, 24, 24)


def test_folder_without_images_and_16_bit_images_are_errors(tmp_path):
    with pytest.raises(UserError, match="no image"):
        Folder(str(tmp_path), 8).identity()
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match=r"deep.png .*more than 8 bits"):
        Folder(str(tmp_path), 8).prepare(tmp_path / "out")


def test_other_scales_agree_with_pil():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 100, 3), np.uint8))
    down = image.crop((20, 15, 80, 75)).resize((32, 32), Image.Resampling.BOX)
    assert np.array_equal(centre_crop(image, 60, 32), down)
    up = image.crop((20, 15, 80, 75)).resize((64, 64), Image.Resampling.BILINEAR)
    inner = (slice(2, -2), slice(2, -2))  # at the rim `resize` may see beyond the box
    assert np.array_equal(
        np.asarray(crop_square(image, 20, 15, 60, 64))[inner], np.asarray(up)[inner]
    )
    with pytest.raises(ValueError, match="do not hold"):
        crop_square(image, 50, 0, 64, 32)


def test_identity_follows_names_and_sizes_not_places(celeba, tmp_path):
    before = CelebA(str(celeba), 64).identity()
    assert before != CelebA(str(celeba), 32).identity()
    moved = celeba.rename(tmp_path / "elsewhere")
    assert CelebA(str(moved), 64).identity() == before
    (moved / "img_align_celeba" / "000001.jpg").write_bytes(b"shorter")
    assert CelebA(str(moved), 64).identity() != before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: built(CelebA, "data", root=".", resolution=0), "data.resolution=0"),
        (
            lambda: built(CelebA, "data", root=".", resolution=64, partition="trian"),
            "data.partition=trian",
        ),
        (
            lambda: built(CelebA, "data", root=".", resolution=64, on_error="ignore"),
            "data.on_error=ignore",
        ),
        (lambda: built(Folder, "data", root=".", resolution=8, channels=4), "data.channels=4"),
    ],
)
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(UserError, match=said):
        wrong()
