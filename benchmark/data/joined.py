"""Two data sets as one, without a copy of the records."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmark.data.dataset import Dataset


@dataclasses.dataclass(frozen=True)
class Joined:
    """Stored records with some more behind them; rows are read as from an array.

    stored: (n, *shape), may be memory-mapped. more: (m, *shape) of the same dtype.
    """

    stored: np.ndarray
    more: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(n + m, *shape)."""
        return len(self), *self.stored.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """Of the records."""
        return self.stored.dtype

    def __len__(self) -> int:
        return len(self.stored) + len(self.more)

    def __getitem__(self, at: np.ndarray | slice) -> np.ndarray:
        rows = np.arange(len(self))[at] if isinstance(at, slice) else at
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        late = rows >= len(self.stored)
        found[~late] = self.stored[rows[~late]]
        found[late] = self.more[rows[late] - len(self.stored)]
        return found


def join_datasets(dataset: Dataset, more: Dataset) -> Dataset:
    """The records of a data set, and behind them those of another of the same kind."""
    return dataclasses.replace(
        dataset,
        values=Joined(dataset.values, more.values),  # type: ignore[arg-type]
        digests=np.concatenate([dataset.digests, more.digests]),
    )
