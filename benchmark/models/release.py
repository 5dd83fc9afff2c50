"""What a victim releases: records of the data's own kind, not the outputs of its network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.dataset import Dataset, new_array
from benchmark.store.keys import key
from benchmark.store.seeds import sub_seed
from victims.base import Victim

ROWS = 4096
"""Records that are looked at together."""


@dataclass(frozen=True)
class Form:
    """What a table's columns may hold; images are released as they are put out.

    A network's outputs say more than records do: a probability of 0.9 where a record has a 1. So a
    column that holds whole numbers throughout the data gets whole numbers, one of zeros and ones
    these, as its owner would write it. First `Victim.publish` draws what a victim would draw.
    Of mixed columns (`Schema`) a category gets one level, a whole number that is scaled is whole.
    """

    dataset: Dataset

    @property
    def is_table(self) -> bool:
        """Whether records are rows of a table."""
        return not self.dataset.is_image

    @cached_property
    def whole_columns(self) -> np.ndarray:
        """Which columns (d,) bool hold whole numbers only, in all records."""
        values = self.dataset.values
        parts = (values[start : start + ROWS] for start in range(0, len(values), ROWS))
        return np.logical_and.reduce([(part == np.round(part)).all(0) for part in parts])

    @cached_property
    def binary_columns(self) -> np.ndarray:
        """Which columns (d,) bool hold zeros and ones only."""
        values = self.dataset.values
        parts = (values[start : start + ROWS] for start in range(0, len(values), ROWS))
        return np.logical_and.reduce([((part == 0) | (part == 1)).all(0) for part in parts])

    def key_part(self) -> dict[str, Any]:
        """What it adds to the keys of samples, and of what is found with their help."""
        if not self.is_table:
            return {}
        kinds = {"whole": self.whole_columns.tolist(), "binary": self.binary_columns.tolist()}
        schema = self.dataset.schema
        mixed = {"schema": schema.as_plain()} if schema is not None and schema.mixed else {}
        return {"released": key(kinds | mixed)}

    def records_from(self, victim: Victim, outputs: Tensor, chances: np.ndarray) -> Tensor:
        """Records (n, *shape) on the CPU from outputs (n, *shape); chances: likewise, in [0, 1)."""
        outputs = outputs.cpu()
        if not self.is_table:
            return outputs
        found = victim.publish(outputs, torch.from_numpy(chances).float())
        schema = self.dataset.schema
        if schema is not None and schema.mixed:
            return schema.nearest_records(found)
        found = torch.where(torch.from_numpy(self.whole_columns), found.round(), found)
        return torch.where(torch.from_numpy(self.binary_columns), found.clamp(0, 1), found)

    def draw_chances(self, seed: int) -> np.random.Generator:
        """Where `records_from` gets its chances; a larger bank has a smaller one's first."""
        return np.random.default_rng(sub_seed(seed, "bank", "records"))


def release_samples(
    victim: Victim, form: Form, folder: Path, size: int, seed: int, rows: int
) -> None:
    """Make `size` samples, `rows` at a time: samples.npy, codes.npy; of tables also outputs.npy."""
    shape = (size, *victim.shape)
    files = ["samples", "outputs"] if form.is_table else ["samples"]
    arrays = [new_array(folder / f"{name}.npy", np.dtype(np.float32), shape) for name in files]
    codes, chances = prior_codes(seed, "bank", size, victim.z_dim), form.draw_chances(seed)
    for start in range(0, size, rows):
        block = torch.from_numpy(codes[start : start + rows])
        outputs = victim.emit(block, start).cpu()
        drawn = chances.random(outputs.shape) if form.is_table else np.empty(0)
        for array, made in zip(
            arrays, (form.records_from(victim, outputs, drawn), outputs), strict=False
        ):
            array[start : start + rows] = made.numpy()
    for array in arrays:
        array.flush()
    np.save(folder / "codes.npy", codes)


def prior_codes(seed: int, name: str, n: int, z_dim: int) -> np.ndarray:
    """Latent codes (n, z_dim) float32, drawn under a name."""
    draw = np.random.default_rng(sub_seed(seed, name)).standard_normal((n, z_dim))
    return draw.astype(np.float32)
