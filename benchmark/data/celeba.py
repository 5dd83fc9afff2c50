"""CelebA: 202 599 aligned faces of 10 177 people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

from benchmark.data.files import OnError, find_file, hash_content, hash_listing
from benchmark.data.images import crop_square, decode_image, write_images
from benchmark.store.folders import home
from victims.errors import UserError

ADVICE = (
    "get the aligned and cropped images and the annotations of CelebA at "
    "mmlab.ie.cuhk.edu.hk/projects/CelebA.html and unpack them there, or set data.root"
)
CENTRE, SIDE = (89, 121), 128
PARTITIONS = {"train": "0", "valid": "1", "test": "2"}


class CelebA:
    """Aligned faces, the 128x128 square around (x=89, y=121) box-downsampled.

    root: holds img_align_celeba/, identity_CelebA.txt and, where `partition` is not null,
    list_eval_partition.txt; torchvision's folder `celeba` below root is found too.
    resolution: pixels of a side of the (3, r, r) records.
    partition: null for all images, or train, valid, test.
    on_error: raise or skip, for images that are missing or corrupt.
    Source: Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015, arXiv
    1411.7766; the crop is that of the GAN-Leaks code (Chen et al. 2020, arXiv 1909.03935).
    Deviation: a mean that ends in one half is rounded up, not to the even number.
    """

    def __init__(
        self,
        root: str,
        resolution: PositiveInt,
        partition: Literal["train", "valid", "test"] | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self.folders = [home(root), home(root) / "celeba"]
        self.resolution, self.partition = resolution, partition
        self.on_error = on_error

    def identity(self) -> dict[str, Any]:
        """Settings, the two lists' content, and names and sizes of the images."""
        folder = find_file("img_align_celeba", self.folders, ADVICE)
        with os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
        return {
            "name": "celeba",
            "resolution": self.resolution,
            "partition": self.partition,
            "on_error": self.on_error,
            "people": hash_content(find_file("identity_CelebA.txt", self.folders, ADVICE)),
            "parts": self.partition and hash_content(self._partition_file()),
            "images": hash_listing(sizes),
        }

    def prepare(self, folder: Path) -> None:
        """Decode every image that identity_CelebA.txt names, in the order of the names."""
        people = _read_pairs(find_file("identity_CelebA.txt", self.folders, ADVICE))
        names = sorted(people)
        if self.partition is not None:
            part = _read_pairs(self._partition_file())
            names = [name for name in names if part.get(name) == PARTITIONS[self.partition]]
        images = find_file("img_align_celeba", self.folders, ADVICE)
        write_images(
            folder,
            {name: images / name for name in names},
            self._decode_image,
            (3, self.resolution, self.resolution),
            self.on_error,
            {"name": "celeba", "partition": self.partition},
            np.array([int(people[name]) for name in names], np.int64),
        )

    def _partition_file(self) -> Path:
        return find_file("list_eval_partition.txt", self.folders, ADVICE)

    def _decode_image(self, path: Path) -> np.ndarray:
        left, top = (middle - SIDE // 2 for middle in CENTRE)
        return decode_image(
            path, 3, lambda image: crop_square(image, left, top, SIDE, self.resolution)
        )


def _read_pairs(path: Path) -> dict[str, str]:
    """Lines "000001.jpg 2880" as a dict; raises UserError for a line that is none."""
    pairs = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        parts = line.split()
        if len(parts) != 2 or not parts[1].isdecimal():
            raise UserError(f"{path}, line {number}: {line!r} is not an image name and a number")
        pairs[parts[0]] = parts[1]
    return pairs
