"""Queries: the records that attackers are asked about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from benchmark.data.dataset import Dataset


@dataclass(frozen=True)
class Queries:
    """Records of known membership, no two with the same content, shuffled.

    dataset: where the records are. rows: (q,) their row numbers in it. is_member: (q,) bool.
    numbers: (q,) what stands for each in tables of scores. ids: (q,) names of the
    records; empty without names.
    """

    dataset: Dataset
    rows: np.ndarray
    is_member: np.ndarray
    numbers: np.ndarray
    ids: np.ndarray = field(default_factory=lambda: np.array([]))

    def __len__(self) -> int:
        return len(self.rows)

    def records(self, places: np.ndarray | slice) -> Tensor:
        """The queries at these places, (m, *shape) float32."""
        return self.dataset.records(self.rows[places])

    def blocks(self, size: int) -> Iterator[tuple[int, Tensor]]:
        """Yield (start, records (<= size, *shape)) over all queries."""
        for start in range(0, len(self), size):
            yield start, self.records(slice(start, start + size))

    @property
    def digests(self) -> np.ndarray:
        """A content hash of each query, (q, 16) uint8."""
        return self.dataset.digests[self.rows]

    @property
    def digest(self) -> str:
        """One hash of all contents in this order: what is found for them is filed under it."""
        return self.dataset.digest(self.rows)

    def take(self, places: np.ndarray) -> Queries:
        """Some of the queries."""
        return Queries(
            dataset=self.dataset,
            rows=self.rows[places],
            is_member=self.is_member[places],
            numbers=self.numbers[places],
            ids=self.ids[places] if len(self.ids) else self.ids,
        )
