"""CIFAR-10: 60 000 colour photographs, 32x32, from the official Python batches."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.dataset import write_records
from benchmark.data.files import find_file, hash_content
from benchmark.store.folders import home
from victims.errors import UserError

BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
ADVICE = (
    "get cifar-10-python.tar.gz at cs.toronto.edu/~kriz/cifar.html (or let torchvision's CIFAR10 "
    "download it) and unpack it there, or set data.root"
)
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""All that the official files name; a pickle that names more could run code."""


class Cifar10:
    """Colour photographs, (3, 32, 32) uint8. A class is no identity, so labels are not used.

    root: holds cifar-10-batches-py/, as torchvision and the official archive unpack it.
    parts: any of train (50 000) and test (10 000), in this order.
    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    def __init__(self, root: str, parts: Sequence[str] = ("train", "test")) -> None:
        if not parts or any(part not in BATCHES for part in parts):
            raise UserError(f"data.parts={list(parts)}: allowed are train, test")
        self.root, self.parts = home(root), list(parts)

    def identity(self) -> dict[str, Any]:
        """Name and a hash of each batch."""
        hashes = [hash_content(path) for path in self._find_batches()]
        return {"name": "cifar10", "parts": self.parts, "batches": hashes}

    def prepare(self, folder: Path) -> None:
        """Read the batches one after the other (30 MB each)."""
        counts = [len(images) for images in self._read_batches()]
        facts = {"name": "cifar10", "records": sum(counts)}
        write_records(folder, self._read_batches(), sum(counts), facts=facts)

    def _find_batches(self) -> list[Path]:
        folders = [self.root / "cifar-10-batches-py", self.root]
        names = [name for part in self.parts for name in BATCHES[part]]
        return [find_file(name, folders, ADVICE) for name in names]

    def _read_batches(self) -> Iterator[np.ndarray]:
        for path in self._find_batches():
            yield read_batch(path)


def read_batch(path: Path) -> np.ndarray:
    """The images of one batch: (n, 3, 32, 32) uint8; raises UserError where it is no batch."""
    try:
        with path.open("rb") as stream:
            pixels = _Unpickler(stream, encoding="bytes").load()[b"data"]
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f"{path} is no CIFAR-10 batch: {error or type(error).__name__}") from error
    right = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
    if not right or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise UserError(f"{path} is no CIFAR-10 batch: its data are not (n, 3072) bytes")
    return pixels.reshape(-1, 3, 32, 32)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
        return ALLOWED[module, name]
