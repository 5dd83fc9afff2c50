"""Nearest-record baselines: what practitioners report as the privacy of synthetic data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import PositiveInt
from torch import Tensor

from attacks.base import Learns, Learnt
from attacks.mixed import ByColumns, OfColumns, scale_places
from attacks.search.nearest import find_nearest
from victims.access import FullBlackBox, FullBlackBoxWithReference

TINY = 1e-12
"""Under a logarithm: a record may equal its nearest ones."""


class ClosestRecord(ByColumns, Learns):
    """DCR: score = minus the distance to the closest released sample.

    Practice: the distance to the closest record, as in the package SDMetrics and many reports on
    synthetic tables. Deviation: there it is a mean or quantile over the synthetic records, for the
    whole data; here each record gets its own. Columns of tables are divided by their standard
    deviation among the released samples (a constant one is left out), pixels are not. Of mixed
    columns numbers are so divided, and two levels of a category are 1 apart.
    distance: of tables, how columns are compared instead: `attacks.mixed.Gower`.
    """

    access = FullBlackBox
    neighbours = 1

    def __init__(self, distance: OfColumns | None = None) -> None:
        self.distance = distance

    @property
    def samples_needed(self) -> int:
        """How many released samples there must be."""
        return self.neighbours

    def learn(self, view: FullBlackBox, work: Path) -> Learnt:
        """The factor of each column."""
        if (factors := self.learn_factors(view)) is not None:
            return factors
        if view.released.ndim > 2:
            return {"scale": np.ones(1, np.float32)}
        spread = np.std(view.released, axis=0, dtype=np.float64)
        varies = spread > 1e-12
        return {"scale": np.where(varies, 1 / np.where(varies, spread, 1), 0).astype(np.float32)}

    def judge(self, learnt: Learnt, view: FullBlackBox, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> minus the distance (n,)."""
        return -self.measure_distances(learnt, view, queries)[:, 0]

    def measure_distances(self, learnt: Learnt, view: FullBlackBox, queries: Tensor) -> np.ndarray:
        """Distances (n, neighbours) to the nearest samples, nearest first."""
        blocks = ((start, scale_places(learnt, block)) for start, block in view.blocks())
        own = scale_places(learnt, queries.cpu())
        found, _ = find_nearest(blocks, own, self.neighbours, device=view.device, power=self.power)
        return found ** (1 / self.power)


class ClosestRecordRatio(ClosestRecord):
    """NNDR: score = minus the ratio of the distances to the nearest and second nearest sample.

    Practice: the nearest neighbour distance ratio; far under 1 means that a synthetic record was
    made from this very record. Deviations: as for `ClosestRecord`; where both distances are zero
    the ratio is 1.
    """

    neighbours = 2
    misses_repeated_records = True
    """A record that is released twice has both distances small, and passes for a stranger."""

    def judge(self, learnt: Learnt, view: FullBlackBox, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> minus the ratio (n,) in [-1, 0]."""
        first, second = self.measure_distances(learnt, view, queries).T
        return -np.divide(first, second, out=np.ones_like(first), where=second > 0)


class NeighbourDensity(Learns):
    """Score = log of the mean distance to the k nearest reference records over that to samples.

    The density at a point falls with the distance to its k nearest neighbours (Loftsgaarden and
    Quesenberry 1965, Annals of Mathematical Statistics 36): the score says how much denser samples
    lie around a record than other records of its kind do, as DOMIAS does with kernels (van Breugel
    et al. 2023, arXiv 2302.12580). This attack is the benchmark's own. The dimension, which the
    density would need, only stretches the scores; so with a distance of mixed columns, of which no
    kernel is a matter of course, it is DOMIAS all the same. Records are compared as by
    `ClosestRecord`.
    neighbours: k, at most a quarter of the reference records, and at most all samples.
    distance: as of `ClosestRecord`.
    """

    access = FullBlackBoxWithReference

    def __init__(self, neighbours: PositiveInt, distance: OfColumns | None = None) -> None:
        self.neighbours, self.search = neighbours, ClosestRecord(distance)

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError where the distance does not compare records of this shape."""
        self.search.refuse(shape)

    def learn(self, view: FullBlackBoxWithReference, work: Path) -> Learnt:
        """The factor of each column."""
        return self.search.learn(view, work)

    def judge(self, learnt: Learnt, view: FullBlackBoxWithReference, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> (n,); 0 where a record is among the nearest of both k times."""
        reference = FullBlackBox(view.device, view.batch_size, view.reference)
        near = {
            "samples": self._mean_distance(learnt, view, queries, len(view.released)),
            "reference": self._mean_distance(learnt, reference, queries, len(view.reference) // 4),
        }
        return np.log(near["reference"] + TINY) - np.log(near["samples"] + TINY)

    def _mean_distance(
        self, learnt: Learnt, view: FullBlackBox, queries: Tensor, most: int
    ) -> np.ndarray:
        """Mean distance (n,) to the nearest of a view's records."""
        search = ClosestRecord(self.search.distance)
        search.neighbours = max(1, min(self.neighbours, most))
        return search.measure_distances(learnt, view, queries).mean(1)
