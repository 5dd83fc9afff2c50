"""Images of an audit: a folder or an array of any size and channels, as float32 in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmark.data.dataset import Dataset, read_dataset, write_records
from benchmark.data.files import hash_listing
from benchmark.data.images import SUFFIXES, decode_image, images_below, write_images
from benchmark.store.entries import Store
from victims.errors import UserError

BLOCK = 1024
"""Images converted at a time."""
RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""Ranges of pixels that are recognised."""
SLACK, OVERSHOOT, BEYOND = 0.01, 0.1, 0.1
"""Values may lie outside of a range, as resampling leaves them: by OVERSHOOT of its width at most,
and no more than a share BEYOND of them by more than SLACK."""
NARROW = 0.1
"""Values that span less of a range, with a share BEYOND of them outside, may have another one."""
GREY = ("1", "L", "LA")
"""PIL's modes without colour."""


def from_folder(
    name: str, root: Path, channels: int | None, store: Store
) -> tuple[np.ndarray, Dataset, list[str]]:
    """File names below the folder (n,), its images (n, c, h, w) of the first one's size, and notes.

    channels: 1 reads all as grey, 3 as colour, None as the first is.
    Raises UserError naming the first images that cannot be used.
    """
    files, left_out = images_below(root)
    if not files:
        raise UserError(f"{name}={root}: no image ({' '.join(sorted(SUFFIXES))}) is in this folder")
    for file, path in files.items():
        if not path.exists():
            raise UserError(f"{name}={root}: {file} is a link to a file that is not there")
    shape = _first_shape(name, next(iter(files.values())), channels)

    def prepare(folder: Path) -> None:
        raw = folder / "raw"
        load = _build_loader(shape, strict=channels is None)
        write_images(raw, files, load, shape, "raise", {"name": name})
        _write_floats(folder, np.load(raw / "values.npy", mmap_mode="r"), (0.0, 255.0))
        for file in raw.iterdir():
            file.unlink()
        raw.rmdir()

    config = {
        "name": "audit folder",
        "shape": list(shape),
        "images": hash_listing({file: path.stat().st_size for file, path in files.items()}),
        # Another run of a generator writes the same names, and often files of the same size.
        "changed": hash_listing({file: path.stat().st_mtime_ns for file, path in files.items()}),
    }
    try:
        entry = store.get("data", config, prepare)
    except UserError as error:
        raise UserError(f"{name}={root}: {str(error).split('; data.on_error')[0]}") from error
    images = read_dataset(entry)
    notes = [f"{len(files)} images of {_size_in_words(images.shape)} from a folder"]
    notes += [f"left out: {left_out}"] if left_out else []
    notes += _list_losses(files, shape[0])
    return np.array(list(files), dtype=object), images, notes


def _list_losses(files: Mapping[str, Path], channels: int) -> list[str]:
    """What of the images is not used: further pages, transparency, colour."""
    counts = dict.fromkeys(("further pages", "transparency", "colours"), 0)
    for path in files.values():
        with Image.open(path) as image:
            counts["transparency"] += "A" in image.mode or "transparency" in image.info
            counts["colours"] += channels == 1 and image.mode not in GREY
            if path.suffix.lower() in (".gif", ".tif", ".tiff", ".webp", ".png"):
                counts["further pages"] += getattr(image, "n_frames", 1) > 1
    return [f"{what} of {count} images are left out" for what, count in counts.items() if count]


def _size_in_words(shape: Sequence[int]) -> str:
    return f"{'x'.join(map(str, shape))} (channels x height x width)"


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    wanted: str | Sequence[float],
    store: Store,
    folders: Mapping[str, tuple[int, ...]],
    ranges: Mapping[str, Any],
) -> tuple[dict[str, Dataset], list[str]]:
    """Arrays of images as (n, c, h, w) in [-1, 1], layout and range decided together, and notes.

    wanted: "auto" or (low, high) of the pixels of all; ranges: of single ones. folders: shapes
    (c, h, w) of other inputs. Raises UserError for what is ambiguous.
    """
    for name, values in arrays.items():
        if bad := sum(int((~np.isfinite(block)).sum()) for block in _blocks_of(values)):
            raise UserError(f"{name}: {bad} pixels are NaN or infinite")
    _refuse_sequences(arrays, folders)
    images = {name: _channels_first(values) for name, values in arrays.items()}
    single = {n: r for n, r in ranges.items() if n in images and r != "auto"}
    spans = {
        name: _find_span(name, values, single.get(name, wanted)) for name, values in images.items()
    }
    common = {n: span.ends for n, span in spans.items() if not span.sure and n not in single}
    if len(set(common.values())) > 1:
        said = ", ".join(f"{name} in [{a:g}, {b:g}]" for name, (a, b) in common.items())
        raise UserError(
            f"pixels seem to lie in different ranges: {said}; scale all alike, and "
            f"records.range=[low,high] says where they lie"
        )
    made, notes = {}, []
    for name, values in images.items():
        (low, high), said = spans[name].ends, spans[name].said
        notes.append(
            f"{name}: {len(values)} images of {_size_in_words(values.shape[1:])} from an array"
        )
        notes.append(f"{name}: pixels in [{low:g}, {high:g}]{said}")
        stored = _store_images(values, (low, high), store)
        facts = {} if spans[name].sure else {"range": (low, high)}
        made[name] = replace(stored, facts=facts)
    return made, notes


def _store_images(images: np.ndarray, ends: tuple[float, float], store: Store) -> Dataset:
    digest = sha256(f"{images.shape} {images.dtype}".encode())
    for block in _blocks_of(images):
        digest.update(np.ascontiguousarray(block).tobytes())
    config = {"name": "audit array", "content": digest.hexdigest(), "range": list(ends)}
    return read_dataset(store.get("data", config, lambda to: _write_floats(to, images, ends)))


def _refuse_sequences(
    arrays: Mapping[str, np.ndarray], folders: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise UserError for (n, t, f): only squares, or what another input shows, are images."""
    known = {tuple(shape[1:]) for shape in folders.values()}
    known |= {v.shape[2:] for v in arrays.values() if v.ndim == 4}
    known |= {v.shape[1:3] for v in arrays.values() if v.ndim == 4}
    for name, values in arrays.items():
        if (
            values.ndim == 3
            and values.shape[1] != values.shape[2]
            and values.shape[1:] not in known
        ):
            n, t, f = values.shape
            raise UserError(
                f"{name}: an array of shape {values.shape} looks like sequences (n, time, "
                f"features), which audits do not read; give grey images as ({n}, 1, {t}, {f}), or "
                f"rows of a table as ({n}, {t * f})"
            )


@dataclass(frozen=True)
class Span:
    """Where pixels lie. sure: the file says so, no number does. said: what was clipped."""

    ends: tuple[float, float]
    sure: bool = False
    said: str = ""


def _find_span(name: str, images: np.ndarray, wanted: str | Sequence[float]) -> Span:
    """The first of the ranges in which these pixels lie; raises UserError where none fits."""
    ends = [(float(block.min()), float(block.max())) for block in _blocks_of(images)]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    if images.dtype == np.uint8 and wanted == "auto" and high > 1:
        return Span((0.0, 255.0), sure=True)
    candidates = RANGES if wanted == "auto" else (declared_range(name, wanted),)
    for a, b in candidates:
        width = b - a
        if low < a - OVERSHOOT * width or high > b + OVERSHOOT * width:
            continue
        if low >= a and high <= b:
            return Span((a, b))
        share = [
            _share_beyond(images, a - slack * width, b + slack * width) for slack in (0, SLACK)
        ]
        if share[1] <= BEYOND:
            if wanted == "auto" and share[0] > BEYOND and high - low < NARROW * width:
                raise UserError(
                    f"{name}: {share[0]:.2%} of its values lie outside of [{a:g}, {b:g}], in "
                    f"[{low:.4g}, {high:.4g}]: are its pixels standardised? Scale them back. If "
                    f"all inputs lie there, records.range=[{low:.4g},{high:.4g}] says so; "
                    f"generator.range says it of a generator alone"
                )
            said = (
                f"; {share[0]:.2%} of them lie outside, in [{low:.4g}, {high:.4g}], and are clipped"
            )
            return Span((a, b), said=said)
    allowed = " or ".join(f"[{a:g}, {b:g}]" for a, b in candidates)
    raise UserError(
        f"{name}: values lie in [{low:.4g}, {high:.4g}], pixels must lie in {allowed}; "
        f"scale them or declare their range (records.range, generator.range)"
    )


def _share_beyond(images: np.ndarray, low: float, high: float) -> float:
    outside = sum(int(((block < low) | (block > high)).sum()) for block in _blocks_of(images))
    return outside / images.size


def pixel_range(
    name: str,
    images: np.ndarray,
    wanted: str | Sequence[float],
    others: tuple[float, float] | None = None,
) -> tuple[tuple[float, float], str]:
    """(low, high) of a generator's pixels, and what was clipped; others: range of the records.

    Raises UserError where values lie outside, or where both ranges are possible.
    """
    span = _find_span(name, images, wanted)
    narrow = {span.ends, others} == {(0.0, 1.0), (-1.0, 1.0)}
    if wanted == "auto" and narrow:
        a, b = span.ends
        raise UserError(
            f"{name}: its pixels seem to lie in [{a:g}, {b:g}], those of the records in "
            f"{list(others or ())}; {name}.range=[{a:g},{b:g}] says that they do"
        )
    return span.ends, span.said


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


def _build_loader(shape: tuple[int, int, int], strict: bool) -> Callable[[Path], np.ndarray]:
    """Reads one image of this shape; strict: colour where the first image is grey is an error."""
    channels, height, width = shape

    def as_it_is(image: Image.Image) -> Image.Image:
        if strict and channels == 1 and image.mode not in GREY:
            raise ValueError("it has colours, the first image has none; see records.channels")
        return image

    def load(path: Path) -> np.ndarray:
        pixels = decode_image(path, channels, as_it_is)
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


def declared_range(name: str, wanted: str | Sequence[float]) -> tuple[float, float]:
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
        for block in _blocks_of(images):
            yield ((block.astype(np.float32) - low) * (2 / (high - low)) - 1).clip(-1, 1)

    write_records(folder, scaled(), len(images), facts={"name": "audit"})


def _blocks_of(values: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(values), BLOCK):
        yield values[start : start + BLOCK]
