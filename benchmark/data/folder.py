"""Any folder of images: a researcher's own data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import PositiveInt

from benchmark.data.files import OnError, find_file, hash_listing
from benchmark.data.images import (
    SUFFIXES,
    Channels,
    centre_crop,
    decode_image,
    images_below,
    write_images,
)
from benchmark.store.folders import home
from victims.errors import UserError

log = logging.getLogger(__name__)


class Folder:
    """All images below a folder, the largest centred square of each scaled to one size.

    root: searched with its sub-folders; the order is that of the names.
    resolution: pixels of a side of the (channels, r, r) records.
    channels: 1 (grey) or 3.
    identities: whether an image's folder says whom it shows (for split=identity).
    on_error: raise or skip, for corrupt images.
    """

    name = "folder"
    advice = "set data.root to a folder of images"

    def __init__(
        self,
        root: str,
        resolution: PositiveInt,
        channels: Channels = 3,
        identities: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        self.root, self.resolution, self.channels = home(root), resolution, channels
        self.identities, self.on_error = identities, on_error

    def identity(self) -> dict[str, Any]:
        """Settings, and names and sizes of the images."""
        sizes = {name: path.stat().st_size for name, path in self.find_images().items()}
        return {
            "name": self.name,
            "resolution": self.resolution,
            "channels": self.channels,
            "identities": self.identities,
            "on_error": self.on_error,
            "images": hash_listing(sizes),
        }

    def prepare(self, folder: Path) -> None:
        """Decode every image once."""
        files = self.find_images()
        if left_out := images_below(self.images_folder())[1]:
            log.warning("%s: left out: %s", self.images_folder(), left_out)
        owners = [path.parent for path in files.values()]
        people = np.unique([str(owner) for owner in owners], return_inverse=True)[1]
        write_images(
            folder,
            files,
            lambda path: decode_image(path, self.channels, self.cut_image),
            (self.channels, self.resolution, self.resolution),
            self.on_error,
            {"name": self.name},
            people if self.identities else None,
        )

    def find_images(self) -> dict[str, Path]:
        """Name below the root -> path, sorted by name."""
        root = self.images_folder()
        found, _ = images_below(root)
        if not found:
            kinds = " ".join(sorted(SUFFIXES))
            raise UserError(f"no image ({kinds}) was found in {root}; {self.advice}")
        if lost := [name for name, path in found.items() if not path.exists()]:
            raise UserError(f"{root}: {lost[0]} is a link to a file that is not there")
        return found

    def images_folder(self) -> Path:
        """The folder of the images; raises UserError where it does not exist."""
        return find_file(self.root.name, [self.root.parent], self.advice)

    def cut_image(self, image: Image.Image) -> Image.Image:
        """The part of an image that is kept, at the right size."""
        return centre_crop(image, min(image.size), self.resolution)
