"""Images of an audit: a folder or an array of any size and channels, as float32 in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmark.data.dataset import Dataset, read, write
from benchmark.data.files import listing
from benchmark.data.images import SUFFIXES, decode, write_images
from benchmark.store import Store
from victims.access import UserError

BLOCK = 1024
"""Images converted at a time."""
RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""Ranges of pixels that are recognised."""
SLACK = 0.01
"""How far, as a share of its width, values may lie outside of a range: resampling overshoots."""
GREY = ("1", "L", "LA")
"""PIL's modes without colour."""


def from_folder(
    name: str, root: Path, channels: int | None, store: Store
) -> tuple[np.ndarray, Dataset]:
    """File names below the folder (n,) and its images (n, c, h, w), all of the first one's size.

    channels: 1 reads all as grey, 3 as colour, None as the first is.
    Raises UserError naming the first images that cannot be used.
    """
    files = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("[!.]*")  # no hidden files: macOS leaves some beside each image
        if path.suffix.lower() in SUFFIXES
    }
    if not files:
        raise UserError(f"{name}={root}: no image ({' '.join(sorted(SUFFIXES))}) is in this folder")
    files = dict(sorted(files.items()))
    shape = _first_shape(name, next(iter(files.values())), channels)

    def prepare(folder: Path) -> None:
        raw = folder / "raw"
        load = _loader(shape, strict=channels is None)
        write_images(raw, files, load, shape, "raise", {"name": name})
        _write_floats(folder, np.load(raw / "values.npy", mmap_mode="r"), (0.0, 255.0))
        for file in raw.iterdir():
            file.unlink()
        raw.rmdir()

    config = {
        "name": "audit folder",
        "shape": list(shape),
        "images": listing({file: path.stat().st_size for file, path in files.items()}),
        # Another run of a generator writes the same names, and often files of the same size.
        "changed": listing({file: path.stat().st_mtime_ns for file, path in files.items()}),
    }
    try:
        entry = store.get("data", config, prepare)
    except UserError as error:
        raise UserError(f"{name}={root}: {str(error).split('; data.on_error')[0]}") from error
    return np.array(list(files), dtype=object), read(entry)


def from_array(
    name: str, values: np.ndarray, wanted: str | Sequence[float], store: Store
) -> Dataset:
    """Images (n, h, w), (n, c, h, w) or (n, h, w, c) as (n, c, h, w); wanted: see `pixel_range`."""
    if bad := sum(int((~np.isfinite(block)).sum()) for block in _blocks(values)):
        raise UserError(f"{name}: {bad} pixels are NaN or infinite")
    images = _channels_first(values)
    low_high = pixel_range(name, images, wanted)
    digest = sha256(f"{images.shape} {images.dtype}".encode())
    for block in _blocks(images):
        digest.update(np.ascontiguousarray(block).tobytes())
    config = {"name": "audit array", "content": digest.hexdigest(), "range": list(low_high)}
    return read(store.get("data", config, lambda to: _write_floats(to, images, low_high)))


def pixel_range(
    name: str, images: np.ndarray, wanted: str | Sequence[float]
) -> tuple[float, float]:
    """(low, high) of pixels: "auto" recognises [0, 1], [-1, 1] and [0, 255].

    Raises UserError where values lie outside.
    """
    if images.dtype == np.uint8 and wanted == "auto":
        return (0.0, 255.0)
    ends = [(float(block.min()), float(block.max())) for block in _blocks(images)]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    candidates = RANGES if wanted == "auto" else (declared(name, wanted),)
    for a, b in candidates:
        slack = SLACK * (b - a)
        if a - slack <= low and high <= b + slack:
            return (a, b)
    allowed = " or ".join(f"[{a:g}, {b:g}]" for a, b in candidates)
    raise UserError(
        f"{name}: values lie in [{low:.4g}, {high:.4g}], pixels must lie in {allowed}; "
        f"scale them or declare their range"
    )


def _first_shape(name: str, path: Path, channels: int | None) -> tuple[int, int, int]:
    if channels not in (None, 1, 3):
        raise UserError(f"records.channels={channels}: allowed are 1, 3, null")
    try:
        with Image.open(path) as image:
            grey = image.mode in GREY
            width, height = ImageOps.exif_transpose(image).size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{name}: {path.name} is no image that can be read ({error})") from error
    return channels or (1 if grey else 3), height, width


def _loader(shape: tuple[int, int, int], strict: bool) -> Callable[[Path], np.ndarray]:
    """Reads one image of this shape; strict: colour where the first image is grey is an error."""
    channels, height, width = shape

    def as_it_is(image: Image.Image) -> Image.Image:
        if strict and channels == 1 and image.mode not in GREY:
            raise ValueError("it has colours, the first image has none; see records.channels")
        return image

    def load(path: Path) -> np.ndarray:
        pixels = decode(path, channels, as_it_is)
        if pixels.shape != shape:
            found = f"{pixels.shape[2]}x{pixels.shape[1]}"
            raise ValueError(f"{found} pixels, the first image has {width}x{height}")
        return pixels

    return load


def _channels_first(values: np.ndarray) -> np.ndarray:
    """Images as (n, c, h, w): the channels are the axis of 1, 3 or 4, the second if in doubt."""
    if values.ndim == 3:
        return values[:, None]
    last = values.shape[3] in (1, 3, 4) and values.shape[1] not in (1, 3, 4)
    return np.moveaxis(values, 3, 1) if last else values


def declared(name: str, wanted: str | Sequence[float]) -> tuple[float, float]:
    """(low, high) as the user gave it; raises UserError for anything else."""
    try:
        low, high = (float(end) for end in wanted)
        if low < high:
            return low, high
    except (TypeError, ValueError):
        pass
    raise UserError(f"the range of {name} is {wanted}: allowed are auto and [low, high]")


def _write_floats(folder: Path, images: np.ndarray, ends: tuple[float, float]) -> None:
    low, high = ends

    def scaled() -> Iterator[np.ndarray]:
        for block in _blocks(images):
            yield ((block.astype(np.float32) - low) * (2 / (high - low)) - 1).clip(-1, 1)

    write(folder, scaled(), len(images), facts={"name": "audit"})


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(values), BLOCK):
        yield values[start : start + BLOCK]
