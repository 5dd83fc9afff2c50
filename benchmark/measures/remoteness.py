"""How far records lie from the middle of all and from one another, without any model.

Attacks by distance use all columns, and a record that lies apart is far from any released one. So a
small difference in the spread of many columns lets them tell two groups, where a classifier of a
few components sees nothing. These features see what such attacks see. Each is made of the records
of both groups together, without their labels. If the two are drawn alike, labels are random among
them, and a rank test holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from attacks.search.nearest import find_nearest
from benchmark.data.queries import Queries

BLOCK = 2048
RECORDS = 5
"""Records for each column at least, to tell which columns go together."""
TINY = 1e-6
"""Directions with a smaller share of the largest variance are none: columns that follow from
others."""


class Standardised:
    """Records in standardised columns, a block at a time; the queries are of both groups.

    queries: the records, no two with the same content.
    """

    def __init__(self, queries: Queries) -> None:
        self.queries = queries
        blocks = [records.flatten(1).double() for _, records in queries.blocks(BLOCK)]
        self.middle = torch.stack([block.sum(0) for block in blocks]).sum(0) / len(queries)
        squares = torch.stack([(block - self.middle).square().sum(0) for block in blocks]).sum(0)
        spread = (squares / len(queries)).sqrt()
        self.scale = torch.where(spread > 0, 1 / spread, 0.0)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (start, standardised records (<= BLOCK, d) float64)."""
        for start, records in self.queries.blocks(BLOCK):
            yield start, (records.flatten(1).double() - self.middle) * self.scale

    def measure_nearest(self) -> np.ndarray:
        """Squared distance (n,) of each record to the nearest other one."""
        found = [find_nearest(self.blocks(), block, 2)[0][:, 1] for _, block in self.blocks()]
        return np.concatenate(found)

    def measure_uncorrelated(self) -> np.ndarray:
        """Mean squared value (n,) of each record in directions without correlation, of variance 1
        each."""
        together = sum((block.T @ block for _, block in self.blocks()), torch.zeros(()))
        variances, directions = torch.linalg.eigh(together / len(self.queries))
        kept = variances > TINY * variances[-1]
        whitened = directions[:, kept] / variances[kept].sqrt()
        return np.concatenate([(b @ whitened).square().mean(1).numpy() for _, b in self.blocks()])


def remoteness_of(queries: Queries) -> dict[str, np.ndarray]:
    """What it is -> one number (n,) for each record, larger the further it lies from others.

    queries: records of both groups, no two with the same content.
    """
    apart = Standardised(queries)
    found = {
        "mean absolute standardised value": [b.abs().mean(1).numpy() for _, b in apart.blocks()],
        "mean squared standardised value": [b.square().mean(1).numpy() for _, b in apart.blocks()],
        "distance to the nearest other record": [apart.measure_nearest()],
    }
    if len(queries) >= RECORDS * len(apart.middle):
        found["mean squared value without correlation"] = [apart.measure_uncorrelated()]
    return {name: np.concatenate(parts) for name, parts in found.items()}


def compare_remoteness(queries: Queries) -> tuple[str, float]:
    """In which of these two groups differ most surely, and the p-value of all tests together.

    Mann and Whitney's test of each, two-sided, with Bonferroni's correction.

    queries: at least one record of each group.
    """
    member = queries.is_member
    features = remoteness_of(queries)
    p = {n: mannwhitneyu(own[member], own[~member]).pvalue for n, own in features.items()}
    surest = min(p, key=lambda name: p[name])
    return surest, min(1.0, float(p[surest]) * len(p))
