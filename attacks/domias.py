"""Density ratio attack: where the victim's samples are denser than the attacker's own records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attacks.base import Learns, Learnt
from attacks.density import Density
from attacks.features import PrincipalComponents
from victims.access import FullBlackBoxWithReference
from victims.errors import Unsuited

LEAST = 8
"""Records that two densities in few dimensions can be estimated from at all."""


FLAT = 1e-8
"""Least variance, in the direction in which points about standard normal vary least."""

ALIKE = "alike"
"""Is learnt of released samples that are all the same: they have no density."""


class DensityRatio(Learns):
    """DOMIAS: score = log density of released samples minus log density of reference records.

    Source: van Breugel, Sun, Qian, van der Schaar 2023, AISTATS, arXiv 2302.12580, and its code: a
    ratio of densities p_G(x) / p_R(x), by kernels (scipy's gaussian_kde) or a block neural
    autoregressive flow. Deviations: a neural spline flow; both densities are of the first principal
    components of the released samples, each divided by its standard deviation (the ratio does not
    depend on such scales); the logarithm, so that no ratio overflows.
    density: one of `attacks.density`.
    components: dimensions, at most half of the reference records.
    seed: of the principal components.
    """

    access = FullBlackBoxWithReference

    def __init__(self, density: Density, components: int, seed: int) -> None:
        self.density, self.seed = density, seed
        self.feature = PrincipalComponents(components, seed)

    def learn(self, view: FullBlackBoxWithReference, work: Path) -> Learnt:
        """The axes and their scales, and both densities."""
        if min(len(view.reference), len(view.released)) < LEAST:
            raise Unsuited(
                f"a ratio of densities needs at least {LEAST} reference records and {LEAST} "
                f"released samples; there are {len(view.reference)} and {len(view.released)}"
            )
        first = view.released[:1]
        if all((block.numpy() == first).all() for _, block in view.blocks()):
            return {ALIKE: np.ones(1)}
        space = self.feature.learn(view)
        released = torch.cat([self.feature(space, block) for _, block in view.blocks()]).numpy()
        spread = released.std(0)
        kept = np.flatnonzero(spread > 1e-4 * spread.max())[: len(view.reference) // 2]
        space["axes"] = space["axes"][kept] / spread[kept, None]
        points = {
            "released": (released / np.where(spread > 0, spread, 1))[:, kept].astype(np.float64),
            "reference": self._points_in_space(space, torch.from_numpy(view.reference)),
        }
        learnt = dict(space)
        for name, of in points.items():
            _refuse_flat(name, of)
            found = self.density.learn(of, f"density of {name} records")
            learnt |= {f"{name}.{key}": value for key, value in found.items()}
        return learnt

    def judge(self, learnt: Learnt, view: FullBlackBoxWithReference, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> logarithm of the ratio (n,); 0 where all samples are alike."""
        if ALIKE in learnt:
            return np.zeros(len(queries))
        points = self._points_in_space(learnt, queries.cpu())
        return self._log_density("released", learnt, points) - self._log_density(
            "reference", learnt, points
        )

    def _points_in_space(self, space: Learnt, records: Tensor) -> np.ndarray:
        return self.feature(space, records).double().numpy()

    def _log_density(self, name: str, learnt: Learnt, points: np.ndarray) -> np.ndarray:
        own = {k.removeprefix(f"{name}."): v for k, v in learnt.items() if k.startswith(f"{name}.")}
        return self.density.log(own, points)


def _refuse_flat(name: str, points: np.ndarray) -> None:
    """Raise Unsuited for points (n, d) that lie in fewer than d dimensions."""
    if np.linalg.eigvalsh(np.atleast_2d(np.cov(points.T)))[0] < FLAT:
        raise Unsuited(
            f"the {len(points)} {name} records have no density: they do not vary in all "
            f"{points.shape[1]} directions in which the released samples vary most; lower the "
            f"attack's components"
        )
