"""Partial black box and white box: search the latent space for the best reconstruction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from attacks.distances import Distance, Targets
from attacks.lbfgs import lbfgs
from attacks.nearest import nearest
from attacks.optimise import Search, halving, minimise
from attacks.powell import powell
from victims.access import PartialBlackBox, UserError, WhiteBox

Starts = Callable[[PartialBlackBox, Tensor, int, int], np.ndarray]
"""View, queries (n, *shape), how many starts, seed -> latent codes (n, starts, z_dim)."""


def start_nearest(view: PartialBlackBox, queries: Tensor, count: int, seed: int) -> np.ndarray:
    """The codes of the nearest released samples by L2."""
    return view.codes[nearest(view.blocks(), queries, count, device=view.device)[1]]


def start_zero(view: PartialBlackBox, queries: Tensor, count: int, seed: int) -> np.ndarray:
    """The centre of the latent space; starts beyond the first are random."""
    codes = start_random(view, queries, count, seed).copy()
    codes[:, 0] = 0.0
    return codes


def start_random(view: PartialBlackBox, queries: Tensor, count: int, seed: int) -> np.ndarray:
    """Codes from the prior, the same for every query: none depends on its place in the batch."""
    codes = np.random.default_rng(seed).standard_normal((count, view.z_dim))
    return np.broadcast_to(codes, (len(queries), count, view.z_dim))


STARTS: dict[str, Starts] = {
    "nearest": start_nearest,
    "zero": start_zero,
    "random": start_random,
}


class LatentSearch(ABC):
    """Minimise the distance between a query and G(z) over z; score = minus the least distance.

    distance: how reconstruction and query are compared, latent regulariser included.
    start: where it begins: `nearest` (codes of the nearest released samples), `zero`, `random`.
    starts: how many searches a query gets; they share its budget by successive halving.
    max_evals: generator evaluations for each query, over all its starts.
    """

    access: type[PartialBlackBox]

    def __init__(
        self, distance: Distance, start: str, starts: int, max_evals: int, seed: int
    ) -> None:
        if start not in STARTS:
            raise UserError(f"attack start={start}: allowed are {', '.join(STARTS)}")
        for name, value in {"starts": starts, "max_evals": max_evals}.items():
            if value < 1:
                raise UserError(f"attack {name}={value}: at least 1 is needed")
        self.distance, self.start, self.starts = distance, start, starts
        self.max_evals, self.seed = max_evals, seed

    @property
    def samples_needed(self) -> int:
        """How many released samples there must be."""
        return self.starts if self.start == "nearest" else 0

    @abstractmethod
    def search(self, z0: np.ndarray) -> Search:
        """The optimiser of one query from one start (z_dim,)."""

    @abstractmethod
    def evaluate(self, view: Any, targets: Targets, z: Tensor) -> Any:
        """Losses (m,), or (losses (m,), gradients (m, z_dim)), at codes z (m, z_dim)."""

    def reconstruct(self, view: Any, queries: Tensor) -> tuple[np.ndarray, Tensor]:
        """Losses (n,) and the best G(z) found for each query (n, *shape)."""
        with torch.no_grad():
            targets = self.distance.targets(queries.to(view.device))
        codes = STARTS[self.start](view, queries, self.starts, self.seed).astype(np.float64)
        searches = (self._search_from(starts) for starts in codes)

        def evaluate(rows: np.ndarray, points: np.ndarray) -> Any:
            z = torch.from_numpy(points).to(view.device, torch.float32)
            return self.evaluate(view, targets.select(torch.from_numpy(rows).to(view.device)), z)

        total = len(queries) * self.max_evals
        with tqdm(total=total, desc=type(self).__name__, unit="eval", leave=False) as bar:
            minima = minimise(searches, evaluate, view.batch_size, self.max_evals, bar.update)
        return minima.losses, _generate(view, torch.from_numpy(minima.points).float())

    def _search_from(self, starts: np.ndarray) -> Search:
        searches = [self.search(z0) for z0 in starts]
        # A start gets as many evaluations as lets all rounds together use half of the budget.
        rounds = max(1, int(np.ceil(np.log2(len(searches)))))
        first = max(1, self.max_evals // (2 * rounds * len(searches)))
        return searches[0] if len(searches) == 1 else halving(searches, first)

    def score(self, view: Any, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> minus the reconstruction loss (n,)."""
        return -self.reconstruct(view, queries)[0]


class PowellSearch(LatentSearch):
    """Partial black box: Powell's conjugate directions, no gradient.

    Source: Chen et al. 2020, arXiv 1909.03935, section 4.3; the published code calls scipy's Powell
    query by query with maxiter 10. Deviations: see `attacks.powell`; the budget is in evaluations.
    """

    access = PartialBlackBox

    def search(self, z0: np.ndarray) -> Search:
        """Powell's method for one query."""
        return powell(z0)

    @torch.no_grad()
    def evaluate(self, view: PartialBlackBox, targets: Targets, z: Tensor) -> np.ndarray:
        """Losses (m,) at codes z (m, z_dim)."""
        return self.distance(targets, view.generate(z), z).double().cpu().numpy()


class GradientSearch(LatentSearch):
    """White box: L-BFGS through the generator.

    Source: Chen et al. 2020, arXiv 1909.03935, section 4.4; the published code runs L-BFGS with a
    Wolfe line search, history 20, on 20 queries jointly for 1000 steps of learning rate 0.015.
    Deviations: each query has its own step size and history; several starts share the budget.
    history: pairs of steps and gradient changes that L-BFGS keeps.
    """

    access = WhiteBox

    def __init__(self, history: int = 20, **search: Any) -> None:
        super().__init__(**search)
        self.history = history

    def search(self, z0: np.ndarray) -> Search:
        """L-BFGS for one query."""
        return lbfgs(z0, history=self.history)

    def evaluate(
        self, view: WhiteBox, targets: Targets, z: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """Losses (m,) and gradients (m, z_dim) at codes z (m, z_dim)."""
        with torch.enable_grad():
            z = z.requires_grad_(True)
            losses = self.distance(targets, view.differentiate(z), z)
            (gradient,) = torch.autograd.grad(losses.sum(), z)
        return losses.detach().double().cpu().numpy(), gradient.double().cpu().numpy()


def _generate(view: PartialBlackBox, z: Tensor) -> Tensor:
    """G(z) on the CPU, a batch at a time."""
    return torch.cat([view.generate(block).cpu() for block in z.split(view.batch_size)])
