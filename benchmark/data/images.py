"""From image files to the memory-mapped array, one block at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from benchmark.data.dataset import write_records
from benchmark.data.files import Faults, OnError

BLOCK = 256
"""Images in memory at a time."""
SUFFIXES = {
    ".bmp",
    ".gif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
}

OTHERS = "files of other kinds"

Frame = Callable[[Image.Image], Image.Image]

Channels = Literal[1, 3]
"""Of an image: grey, or colour."""


def images_below(root: Path) -> tuple[dict[str, Path], str]:
    """Name below the root -> path of all images, sorted by name; and what was left out, in words.

    Linked folders are searched too; what is hidden (a name that begins with a point) is not.
    """
    found: dict[str, Path] = {}
    counts: dict[str, int] = {}
    seen: set[Path] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        place = Path(folder)
        if place.resolve() in seen:  # a link to a folder above would have no end
            below.clear()
            counts["folders reached twice"] = counts.get("folders reached twice", 0) + 1
            continue
        seen.add(place.resolve())
        hidden = [name for name in (*below, *names) if name.startswith(".")]
        below[:] = [name for name in below if not name.startswith(".")]
        shown = [name for name in names if not name.startswith(".")]
        found |= {
            (place / name).relative_to(root).as_posix(): place / name
            for name in shown
            if Path(name).suffix.lower() in SUFFIXES
        }
        other = [name for name in shown if Path(name).suffix.lower() not in SUFFIXES]
        for what, some in (("hidden files and folders", hidden), (OTHERS, other)):
            counts[what] = counts.get(what, 0) + len(some)
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return dict(sorted(found.items())), said


def decode_image(path: Path, channels: int, frame: Frame) -> np.ndarray:
    """Read one image: (channels, h, w) uint8, cut and scaled by `frame`.

    Raises OSError, ValueError or SyntaxError where the file is no whole 8-bit image.
    """
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):  # PIL would clip these to white without a word
            raise ValueError(f"its mode is {image.mode}, more than 8 bits a channel")
        if _bits_a_channel(image) > 8:  # PIL would drop the lower ones
            raise ValueError("it has more than 8 bits a channel")
        framed = frame(ImageOps.exif_transpose(image).convert("RGB" if channels == 3 else "L"))
    pixels = np.asarray(framed, np.uint8)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]


def _bits_a_channel(image: Image.Image) -> int:
    """Bits of a channel in the file, which PIL's mode does not say."""
    how: list[Any] = []
    for tile in getattr(image, "tile", []):
        how += tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    deep = any(isinstance(part, str) and ";16" in part for part in how)
    high = image.format == "PPM" and any(isinstance(part, int) and part > 255 for part in how)
    return 16 if deep or high else 8


def crop_square(image: Image.Image, left: int, top: int, side: int, resolution: int) -> Image.Image:
    """Cut a square and scale it to (resolution, resolution).

    By a whole factor every new pixel is the mean of its box, rounded half up. Other reductions
    weigh the boxes' borders by area; enlarging interpolates linearly.
    Raises ValueError where the square is not inside the image.
    """
    box = (left, top, left + side, top + side)
    if left < 0 or top < 0 or box[2] > image.width or box[3] > image.height:
        raise ValueError(f"{image.width}x{image.height} pixels do not hold the crop {box}")
    if side % resolution == 0:
        return image.reduce(side // resolution, box)
    how = Image.Resampling.BOX if resolution < side else Image.Resampling.BILINEAR
    return image.resize((resolution, resolution), how, box)


def centre_crop(image: Image.Image, side: int, resolution: int) -> Image.Image:
    """`crop_square` of the square in the middle."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return crop_square(image, left, top, side, resolution)


def write_images(
    folder: Path,
    files: dict[str, Path],
    load: Callable[[Path], np.ndarray],
    shape: tuple[int, ...],
    on_error: OnError,
    facts: dict[str, Any],
    identities: np.ndarray | None = None,
) -> None:
    """Decode `files` (name -> path) once, in their order, into the data set at `folder`.

    load: one file -> shape uint8, or OSError, ValueError, SyntaxError where it is corrupt.
    Raises UserError for corrupt files, with names and count, unless on_error is "skip".
    """
    faults, bad = Faults(on_error), []

    def pixels(row: int, name: str) -> np.ndarray:
        try:
            return load(files[name])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            faults.add(name, _reason_of(error))
            bad.append(row)
            return np.zeros(shape, np.uint8)  # holds the place until all corrupt ones are known

    if not files:
        faults.settle(0, "image files")
    blocks = (np.stack([pixels(*item) for item in part]) for part in _parts_of_names(list(files)))
    write_records(folder, blocks, len(files), identities, facts | {"records": len(files)})
    facts = facts | faults.settle(len(files), "image files")
    if bad:
        _leave_out(folder, np.array(bad), identities, facts)


def _parts_of_names(names: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    with tqdm(total=len(names), desc="decoding images", unit="image", disable=None) as bar:
        for start in range(0, len(names), BLOCK):
            part = list(enumerate(names[start : start + BLOCK], start))
            yield part
            bar.update(len(part))


def _leave_out(
    folder: Path, bad: np.ndarray, identities: np.ndarray | None, facts: dict[str, Any]
) -> None:
    """Write the data set again without the rows `bad`; copies pixels, decodes nothing."""
    everything = folder / "with_corrupt.npy"
    (folder / "values.npy").replace(everything)
    count = len(np.load(everything, mmap_mode="r"))
    kept = np.setdiff1d(np.arange(count), bad)
    # Mapped anew for each block: pages once read would stay in this process's memory.
    blocks = (
        np.load(everything, mmap_mode="r")[kept[start : start + BLOCK]]
        for start in range(0, len(kept), BLOCK)
    )
    known = None if identities is None else identities[kept]
    write_records(folder, blocks, len(kept), known, facts | {"records": len(kept)})
    everything.unlink()


def _reason_of(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "no image"
    return str(error) or type(error).__name__
