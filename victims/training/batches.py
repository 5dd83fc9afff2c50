"""Batches of training records: functions of the seed and a number, so resuming needs no state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

Records = Callable[[np.ndarray], Tensor]


def all_records(records: Records, size: int) -> np.ndarray:
    """All training records (size, *shape), for a victim that looks at them before it begins."""
    return records(np.arange(size)).numpy()


class Batches(Dataset[Tensor]):
    """Batch t of a training run as a function of (seed, t): resuming needs no loader state.

    The records are read in a new order each epoch; a batch that crosses the end of an epoch goes on
    in the next. records: row numbers within the training set (m,) -> (m, *shape).
    """

    def __init__(
        self, records: Records, size: int, batch_size: int, first: int, last: int, seed: int
    ) -> None:
        self.records, self.size, self.batch_size = records, size, batch_size
        self.first, self.last, self.seed = first, last, seed

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, i: int) -> Tensor:
        if i >= len(self):
            raise IndexError(i)
        return self.records(self.rows_of_batch(self.first + i))

    def rows_of_batch(self, step: int) -> np.ndarray:
        """Row numbers (batch_size,) of the training records in batch `step`."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(positions, self.size)
        orders = {
            e: np.random.default_rng([self.seed, e]).permutation(self.size) for e in set(epochs)
        }
        return np.array([orders[e][p] for e, p in zip(epochs, places, strict=True)])


class PoissonBatches(Batches):
    """Batches for private training, by Opacus' sampler: batch t has each record with chance `rate`.

    Independently of the others, so that batches differ in size and may be empty; a function of
    (seed, t) all the same.
    """

    def __init__(
        self, records: Records, size: int, rate: float, first: int, last: int, seed: int
    ) -> None:
        super().__init__(records, size, 0, first, last, seed)
        self.rate = rate

    def rows_of_batch(self, step: int) -> np.ndarray:
        """Row numbers (n,), n >= 0, of the training records in batch `step`, in order."""
        (own,) = np.random.SeedSequence([self.seed, step]).generate_state(1, np.uint64)
        from opacus.utils.uniform_sampler import UniformWithReplacementSampler  # seconds

        sampler = UniformWithReplacementSampler(
            num_samples=self.size,
            sample_rate=self.rate,
            generator=torch.Generator().manual_seed(int(own)),
            steps=1,
        )
        return np.array(next(iter(sampler)), dtype=np.int64)


class PartBatches(Batches):
    """Batches that come from one part of the records each: each record belongs to one by chance.

    part: batch -> its part, one of `parts`. Drawn with replacement; empty where the part is.
    """

    def __init__(
        self,
        records: Records,
        size: int,
        batch_size: int,
        first: int,
        last: int,
        seed: int,
        parts: int,
        part: Callable[[int], int],
    ) -> None:
        super().__init__(records, size, batch_size, first, last, seed)
        own = np.random.default_rng([self.seed, parts]).integers(parts, size=self.size)
        self.members = [np.flatnonzero(own == i) for i in range(parts)]
        self.part = part

    def rows_of_batch(self, step: int) -> np.ndarray:
        """Row numbers (batch_size,), or (0,), of the training records in batch `step`."""
        members = self.members[self.part(step)]
        if not len(members):
            return members
        return np.random.default_rng([self.seed, step]).choice(members, self.batch_size)
