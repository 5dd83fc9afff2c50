"""What every data set becomes: one memory-mapped array of records, with a digest of each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from victims.schema import Schema

if TYPE_CHECKING:  # a stored job reads a data set's identity, and torch takes seconds
    from torch import Tensor

DIGEST_BYTES = 16


class Source(Protocol):
    """A data set on disk or in a package; its hyper-parameters are the arguments of `__init__`."""

    def identity(self) -> dict[str, Any]:
        """What determines the content, without any path: the key under which it is prepared."""
        ...

    def prepare(self, folder: Path) -> None:
        """Write the records into `folder` with `write_records`; may take long, is done once."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Records of one data set.

    values: (n, c, h, w) uint8 for images, (n, d) float32 for tables; memory-mapped.
    digests: (n, 16) uint8, a content hash per record; equal digests are duplicates.
    identities: (n,) int64, whom a record shows, or None where the data does not say.
    facts: what the table's reader should know (source, licence, skipped rows).
    schema: what the columns of a table are, or None for images, and where that is not known.
    """

    values: np.ndarray
    digests: np.ndarray
    identities: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    schema: Schema | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one record: (c, h, w) for images, (d,) for tables."""
        return tuple(int(side) for side in self.values.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether a record is an image."""
        return len(self.shape) == 3

    def records(self, indices: np.ndarray) -> Tensor:
        """Records as float32: images (m, c, h, w) in [-1, 1], table rows (m, d) as stored."""
        # torch indexes a memory map faster in ascending order; the caller's order is restored.
        order = np.argsort(indices, kind="stable")
        rows = np.empty((len(indices), *self.shape), self.values.dtype)
        rows[order] = self.values[indices[order]]
        return as_float(rows)

    def digest(self, indices: np.ndarray) -> str:
        """One hash of these records in this order: what a model trained on them is filed under."""
        return sha256(np.ascontiguousarray(self.digests[indices]).tobytes()).hexdigest()


def as_float(values: np.ndarray) -> Tensor:
    """Stored values as float32: uint8 images become [-1, 1], floats stay what they are."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if tensor.dtype is torch.uint8:
        return tensor.float().div_(127.5).sub_(1.0)
    return tensor.float()


def write_records(
    folder: Path,
    blocks: Iterable[np.ndarray],
    count: int,
    identities: np.ndarray | None = None,
    facts: dict[str, Any] | None = None,
    schema: Schema | None = None,
) -> None:
    """Write records block by block as `read_dataset` reads them.

    blocks: arrays (m, *shape) of one dtype, `count` rows in all; only one block is in memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, start = folder / "values.npy", 0
    digests = np.empty((count, DIGEST_BYTES), np.uint8)
    for block in blocks:
        if start == 0:
            new_array(path, block.dtype, (count, *block.shape[1:]))
        # Mapped anew for each block: pages once written would stay in this process's memory.
        np.load(path, mmap_mode="r+")[start : start + len(block)] = block
        digests[start : start + len(block)] = list(_digest_rows(block))
        start += len(block)
    if not start or start != count:
        raise ValueError(f"{start} records were written where {count} were announced")
    np.save(folder / "digests.npy", digests)
    if identities is not None:
        np.save(folder / "identities.npy", np.asarray(identities, np.int64))
    (folder / "facts.json").write_text(json.dumps(facts or {}, indent=1))
    if schema is not None:
        (folder / "schema.json").write_text(json.dumps(schema.as_plain(), indent=1))


def new_array(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """A memory-mapped array on disk to be filled; raises OSError now where the disk is too small.

    Without the reservation a full disk would end the process at some later write, without a word.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def read_dataset(folder: Path) -> Dataset:
    """Open what `write_records` wrote, without reading the records into memory."""
    identities = folder / "identities.npy"
    return Dataset(
        values=np.load(folder / "values.npy", mmap_mode="r"),
        digests=np.load(folder / "digests.npy"),
        identities=np.load(identities) if identities.exists() else None,
        facts=json.loads((folder / "facts.json").read_text()),
        schema=_read_schema(folder / "schema.json"),
    )


def _read_schema(path: Path) -> Schema | None:
    return Schema.of_plain(json.loads(path.read_text())) if path.exists() else None


def in_memory(values: np.ndarray) -> Dataset:
    """A data set of records (n, *shape) that are at hand and need no file."""
    digests = np.empty((len(values), DIGEST_BYTES), np.uint8)
    digests[:] = list(_digest_rows(values))
    return Dataset(values, digests)


def _digest_rows(block: np.ndarray) -> Iterator[np.ndarray]:
    for row in np.ascontiguousarray(block):
        yield np.frombuffer(sha256(row.tobytes()).digest()[:DIGEST_BYTES], np.uint8)
