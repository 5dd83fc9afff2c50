"""CIFAR-10 from pickles as Python 2 wrote them."""

from __future__ import annotations

import io
import os
import pickle
import struct
from typing import ClassVar

import numpy as np
import pytest

from benchmark.data.cifar10 import Cifar10, read_batch
from benchmark.data.dataset import read_dataset
from victims.errors import UserError


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its str, and numpy's module under its old name."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)

    dispatch[bytes] = save_bytes


def batch(pixels: object) -> bytes:
    stream = io.BytesIO()
    content = {b"batch_label": b"one", b"labels": [3, 1], b"data": pixels, b"filenames": [b"a"]}
    Python2Pickler(stream, 2).dump(content)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture
def cifar(tmp_path):
    folder = tmp_path / "cifar" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 2, 3072), np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name, part in zip(names, pixels, strict=True):
        (folder / name).write_bytes(batch(part))
    return folder.parent, pixels


def test_batches_in_their_order_channel_first(cifar, tmp_path):
    root, pixels = cifar
    Cifar10(str(root)).prepare(tmp_path / "out")
    data = read_dataset(tmp_path / "out")
    assert data.values.shape == (12, 3, 32, 32)
    # The official description: 1024 red values first, row by row, then green, then blue.
    assert data.values[11, 1, 4, 5] == pixels[5, 1, 1024 + 4 * 32 + 5]
    assert np.array_equal(data.values.reshape(12, -1), pixels.reshape(12, -1))
    assert data.identities is None
    assert Cifar10(str(root), ["test"]).identity() != Cifar10(str(root)).identity()


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(cifar, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    path = cifar[0] / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps({"data": Evil()}, 2))
    with pytest.raises(UserError, match=r"test_batch is no CIFAR-10 batch: it asks for .*mkdir"):
        read_batch(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", batch([1, 2]), batch(np.zeros((2, 5)))])
def test_damaged_batches_are_named(tmp_path, content):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(UserError, match="test_batch is no CIFAR-10 batch"):
        read_batch(tmp_path / "test_batch")


def test_missing_batch_names_file_folder_and_source(cifar):
    (cifar[0] / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(UserError, match=r"data_batch_4 was not found.*cs\.toronto\.edu") as error:
        Cifar10(str(cifar[0])).identity()
    assert str(cifar[0]) in str(error.value)
