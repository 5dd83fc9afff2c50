"""Labeled Faces in the Wild: 13 233 photographs of 5 749 people, one folder a person."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from pydantic import PositiveInt

from benchmark.data.files import OnError, find_file
from benchmark.data.folder import Folder
from benchmark.data.images import Channels, centre_crop

LAYOUTS = ("", "lfw", "lfw_funneled", "lfw-deepfunneled", "lfw-py/lfw_funneled")


class Lfw(Folder):
    """Faces, the 128x128 square in the middle of the 250x250 photograph box-downsampled.

    root: holds Firstname_Lastname/Firstname_Lastname_0001.jpg, directly or in one of LAYOUTS.
    resolution: pixels of a side of the (channels, r, r) records.
    channels: 1 (grey) or 3.
    on_error: raise or skip, for corrupt images.

    Source: Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild", UMass technical report
    07-49, 2007. The crop is this project's choice; GAN-Leaks did not use the data.
    """

    name = "lfw"
    advice = (
        "get lfw.tgz or lfw-funneled.tgz (vis-www.cs.umass.edu/lfw, or scikit-learn's "
        "fetch_lfw_people) and unpack it there, or set data.root"
    )

    def __init__(
        self,
        root: str,
        resolution: PositiveInt,
        channels: Channels = 3,
        on_error: OnError = "raise",
    ) -> None:
        super().__init__(root, resolution, channels, True, on_error)

    def images_folder(self) -> Path:
        """The folder that holds one folder a person."""
        layouts = [self.root / layout for layout in LAYOUTS]
        for folder in layouts:
            if next(folder.glob("*/*_0001.jpg"), None) is not None:
                return folder
        return find_file("*/*_0001.jpg", layouts, self.advice)

    def find_images(self) -> dict[str, Path]:
        """Name -> path; only what stands in a person's folder."""
        return {name: path for name, path in super().find_images().items() if name.count("/") == 1}

    def cut_image(self, image: Image.Image) -> Image.Image:
        """The face."""
        return centre_crop(image, 128, self.resolution)
