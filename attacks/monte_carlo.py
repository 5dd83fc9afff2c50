"""Monte Carlo attack: how many released samples lie in a small ball around the query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from attacks.base import Learns, Learnt, some_rows
from attacks.features import Values
from attacks.search.nearest import Tile, distance_tiles, exact_distances, find_nearest
from victims.access import FullBlackBox, FullBlackBoxWithReference

Form = Literal["share", "log"]

STAND_INS = 256
"""Records of the attacker's that stand in for queries when epsilon is chosen."""

RANGE = (50, 25, 12.5, 6.25, 3.125, 1.5625, 0)
"""Percentiles of the strangers' distances to their nearest samples: the range of epsilon."""

CLOSEST = 1e-6
"""Distances under this part of epsilon count as this: the logarithm of zero is infinite."""


class MonteCarlo(Learns):
    """Score = share of the released samples within epsilon of the query, or its log-weighted form.

    Source: Hilprecht, Haerterich, Bernau 2019, PETS 2019(4), arXiv 1906.03006, and its code. Forms:
    `share`, the mean of 1[d < epsilon]; `log`, the mean of -log(d / epsilon) 1[d < epsilon].
    epsilon: there, `median` is the median over all queries, members among them, of the distance to
    the nearest sample; a number, the percentile of all distances between queries and samples (the
    code tries 1, 0.1, 0.01, ...). Here a score may not depend on its company, so up to STAND_INS
    records of the attacker's, all strangers to the victim, take the queries' place.

    Strangers lie further away than members, so their `median` is too wide where a generator is
    overfitted: of digits with noise of 0.05 to 0.3 around the members, `share` has an AUROC of 0.73
    to 0.76 and `log` of 0.93 to 0.96, the published choice 1.00. So the default is an addition,
    `range`: epsilon runs through RANGE, a query's sum at each is divided by what strangers have
    there on average (one more sample among all of them, against zero), and the largest quotient is
    its score. On 19 kinds of generators, overfitted, weak and copying, it is at most 0.002 below
    the published choice, and above it on average (`python bench/epsilon.py 3`).

    `nearest` needs no epsilon: the score is minus the distance to the nearest sample. The published
    median over the queries leaves samples in the balls of just half of them. These are the half
    with the nearest samples, so `nearest` ranks the same half first, without looking at company.

    Further deviations: d <= epsilon instead of d < epsilon; CLOSEST; the code fits components to
    records that are set aside, here released samples take their place; its third form, the mean of
    epsilon / d, and its variant that compares within a label are left out. A query with no sample
    in any ball scores 0, as do many others: such ties are the method's own.
    feature: what is compared, one of `attacks.features`.
    form: `share` or `log`, see above.
    """

    access = FullBlackBoxWithReference

    def __init__(
        self,
        feature: Values,
        epsilon: Literal["range", "median", "nearest"]
        | Annotated[float, Field(gt=0, le=100)] = "range",
        form: Form = "log",
    ) -> None:
        self.feature, self.epsilon, self.form = feature, epsilon, form

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError where records of this shape have no such feature."""
        self.feature.refuse(shape)

    def learn(self, view: FullBlackBoxWithReference, work: Path) -> Learnt:
        """What the feature needs, the released samples' features (k, d), and epsilon."""
        learnt = dict(self.feature.learn(view))
        if self.feature.computed:
            blocks = [block for _, block in self.stream_samples(learnt, view)]
            learnt["samples"] = torch.cat(blocks).numpy()
        if self.epsilon == "nearest":
            return learnt
        own = view.reference[some_rows(len(view.reference), STAND_INS)]
        stand_ins = self.feature(learnt, torch.from_numpy(own))
        learnt["epsilon"] = self._choose_radii(learnt, view, stand_ins)
        if self.epsilon == "range":
            found = self._sum_in_balls(learnt, view, stand_ins)
            learnt["usual"] = (found.sum(1) + 1) / len(stand_ins)
        return learnt

    def judge(self, learnt: Learnt, view: FullBlackBoxWithReference, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> shares (n,), or log-weighted shares; quotients for a range."""
        if self.epsilon == "nearest":
            own = self.feature(learnt, queries.cpu())
            return -(self._to_nearest(learnt, view, own) ** (1 / self.feature.power))
        found = self._sum_in_balls(learnt, view, self.feature(learnt, queries.cpu()))
        if "usual" in learnt:
            return (found / learnt["usual"][:, None]).max(0)
        return found[0] / len(view.released)

    def _choose_radii(self, learnt: Learnt, view: FullBlackBox, stand_ins: Tensor) -> np.ndarray:
        """Epsilon (1,), or its range (e,)."""
        if isinstance(self.epsilon, str):
            sums = self._to_nearest(learnt, view, stand_ins)
            chosen = np.percentile(sums, RANGE if self.epsilon == "range" else [50])
        else:
            tiles = self._stream_tiles(learnt, view, stand_ins)
            sums = np.concatenate([tile.sums.cpu().numpy().ravel() for tile in tiles])
            chosen = np.percentile(sums, [self.epsilon])
        return chosen ** (1 / self.feature.power)

    def _to_nearest(self, learnt: Learnt, view: FullBlackBox, records: Tensor) -> np.ndarray:
        """What `find_nearest` says of features (n, d): (n,)."""
        samples, power = self.stream_samples(learnt, view), self.feature.power
        return find_nearest(samples, records, 1, device=view.device, power=power)[0][:, 0]

    def _stream_tiles(self, learnt: Learnt, view: FullBlackBox, records: Tensor) -> Iterator[Tile]:
        samples, power = self.stream_samples(learnt, view), self.feature.power
        return distance_tiles(samples, records, view.device, power=power)

    def _sum_in_balls(self, learnt: Learnt, view: FullBlackBox, records: Tensor) -> np.ndarray:
        """Samples near each record, counted or log-weighted: features (n, d) -> (e, n)."""
        balls = Balls(records, learnt["epsilon"])
        for tile in self._stream_tiles(learnt, view, balls.queries):
            balls.add_tile(tile)
        return balls.shares if self.form == "share" else balls.logs

    def stream_samples(self, learnt: Learnt, view: FullBlackBox) -> Iterator[tuple[int, Tensor]]:
        """The features of the released samples, block by block: those that are kept, or anew."""
        if "samples" in learnt:
            return FullBlackBox(view.device, view.batch_size, learnt["samples"]).blocks()
        return ((start, self.feature(learnt, block)) for start, block in view.blocks())


class Balls:
    """Samples in balls of several radii around each query; one pass serves all radii.

    Takes the tiles of `distance_tiles` in any order. queries: (n, d) float32; radii: (e,).
    shares: (e, n) samples within a radius; logs: (e, n), the sum of -log(distance / radius) over
    them. Samples whose float32 distance cannot decide, or is too rough for a logarithm, are
    compared again in float64: the shares are those of a float64 search.
    """

    ROUGH = 100.0  # a sum of differences below this many times its possible error is too rough

    def __init__(self, queries: Tensor, radii: Sequence[float] | np.ndarray) -> None:
        self.queries = queries
        self.radii = np.maximum(np.asarray(radii, np.float64), 1e-12)
        self.shares = np.zeros((len(self.radii), len(queries)))
        self.logs = np.zeros_like(self.shares)

    def add_tile(self, tile: Tile) -> None:
        """Take in one tile."""
        limits = self.radii**tile.power
        reach = (limits.max() + tile.error).to(tile.sums.dtype)
        row, column = (tile.sums <= reach[:, None]).nonzero(as_tuple=True)
        sums = tile.sums[row, column].double().cpu().numpy()
        error = tile.error[row].double().cpu().numpy()
        unsure = sums < self.ROUGH * error
        for limit in limits:
            unsure |= np.abs(sums - limit) <= error
        row, column = row.cpu().numpy() + tile.queries.start, column.cpu().numpy()
        pairs = self.queries.numpy(), tile.block.numpy(), row[unsure], column[unsure]
        sums[unsure] = exact_distances(*pairs, tile.power)
        for i, limit in enumerate(limits):
            inside = sums <= limit
            self._add_inside(i, row[inside], (sums[inside] / limit) ** (1 / tile.power))

    def _add_inside(self, i: int, row: np.ndarray, part: np.ndarray) -> None:
        n = len(self.queries)
        logs = -np.log(np.maximum(part, CLOSEST))
        self.shares[i] += np.bincount(row, minlength=n)
        self.logs[i] += np.bincount(row, logs, minlength=n)
