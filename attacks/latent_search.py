"""Partial black box and white box: search the latent space for the best reconstruction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from tqdm import tqdm

from attacks.distances import Compares, Distance, Targets, nearest_samples
from attacks.search.inverse import predicted_codes, stretch_coordinates
from attacks.search.lbfgs import hop_between_minima
from attacks.search.optimise import Search, halve_budget, minimise_losses, stretch_search
from attacks.search.powell import search_by_powell
from victims.access import PartialBlackBox, WhiteBox, setting_of

Start = Literal["nearest", "predicted", "zero", "random"]


def start_nearest(
    view: PartialBlackBox, queries: Tensor, count: int, distance: Distance
) -> np.ndarray:
    """The codes (n, count, z_dim) of the nearest released samples, see `nearest_samples`."""
    return view.codes[nearest_samples(distance, view, queries, count)[1]]


def start_predicted(
    view: PartialBlackBox, queries: Tensor, count: int, distance: Distance
) -> np.ndarray:
    """The codes that a regression on the released samples predicts; beyond the first, nearest."""
    first = predicted_codes(view, queries)[:, None]
    if count == 1:
        return first
    return np.concatenate([first, start_nearest(view, queries, count - 1, distance)], 1)


def start_random(view: PartialBlackBox, queries: Tensor, count: int, seed: int) -> np.ndarray:
    """Codes from the prior, the same for every query: none depends on its place in the batch."""
    codes = np.random.default_rng(seed).standard_normal((count, view.z_dim))
    return np.broadcast_to(codes, (len(queries), count, view.z_dim))


def start_zero(view: PartialBlackBox, queries: Tensor, count: int, seed: int) -> np.ndarray:
    """The centre of the latent space; starts beyond the first are random."""
    codes = start_random(view, queries, count, seed).copy()
    codes[:, 0] = 0.0
    return codes


class LatentSearch(Compares, ABC):
    """Minimise the distance between a query and G(z) over z; score = minus the least distance.

    distance: how reconstruction and query are compared, latent regulariser included.
    start: where it begins: `nearest` (codes of the nearest released samples, by L2 or by a distance
    of mixed columns itself), `predicted` (the code that a regression of the released codes on their
    samples predicts), `zero`, `random`.
    starts: how many searches a query gets; they share its budget by successive halving.
    max_evals: generator evaluations for each query, over all its starts.
    seed: of random starts, and of hops between minima.
    """

    access: type[PartialBlackBox]
    ranking: float
    """Share of the budget for finding the best of several starts: at least one evaluation each."""

    def __init__(
        self,
        distance: Distance,
        start: Start,
        starts: PositiveInt,
        max_evals: PositiveInt,
        seed: int,
    ) -> None:
        self.distance, self.start, self.starts = distance, start, starts
        self.max_evals, self.seed = max_evals, seed

    @property
    def evaluations(self) -> int:
        """How often the generator is asked for a query at most."""
        return self.max_evals

    @property
    def samples_needed(self) -> int:
        """How many released samples there must be."""
        return {"nearest": self.starts, "predicted": max(1, self.starts - 1)}.get(self.start, 0)

    def choose_starts(self, view: PartialBlackBox, queries: Tensor) -> np.ndarray:
        """Codes (n, starts, z_dim) that the searches of each query begin at."""
        given = view, queries, self.starts
        if self.start in ("zero", "random"):
            drawn = start_zero if self.start == "zero" else start_random
            return drawn(*given, self.seed)
        near = start_nearest if self.start == "nearest" else start_predicted
        return near(*given, self.distance)

    @abstractmethod
    def choose_optimiser(self, view: Any) -> Callable[[np.ndarray], Search]:
        """What searches this view for one query, from one start (z_dim,)."""

    @abstractmethod
    def evaluate_codes(self, view: Any, targets: Targets, z: Tensor) -> Any:
        """Losses (m,), or (losses (m,), gradients (m, z_dim)), at codes z (m, z_dim)."""

    def reconstruct(self, view: Any, queries: Tensor) -> tuple[np.ndarray, Tensor]:
        """Losses (n,) and the best G(z) found for each query (n, *shape)."""
        with torch.no_grad():
            targets = self.distance.of(view).targets(queries.to(view.device))
        codes = self.choose_starts(view, queries).astype(np.float64)
        optimiser = self.choose_optimiser(view)
        searches = (self._share_budget([optimiser(z0) for z0 in starts]) for starts in codes)

        def evaluate_points(rows: np.ndarray, points: np.ndarray) -> Any:
            z = torch.from_numpy(points).to(view.device, torch.float32)
            return self.evaluate_codes(
                view, targets.select_rows(torch.from_numpy(rows).to(view.device)), z
            )

        total = len(queries) * self.max_evals
        with tqdm(total=total, desc=setting_of(self.access), unit="eval", leave=False) as bar:
            minima = minimise_losses(
                searches, evaluate_points, view.batch_size, self.max_evals, bar.update
            )
        return minima.losses, _generate_samples(view, torch.from_numpy(minima.points).float())

    def _share_budget(self, searches: list[Search]) -> Search:
        """One search of the budget that several starts share."""
        rounds = max(1, int(np.ceil(np.log2(len(searches)))))
        first = max(1, int(self.ranking * self.max_evals / (rounds * len(searches))))
        return searches[0] if len(searches) == 1 else halve_budget(searches, first)

    def score(self, view: Any, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> minus the reconstruction loss (n,)."""
        return -self.reconstruct(view, queries)[0]


class PowellSearch(LatentSearch):
    """Partial black box: Powell's conjugate directions, no gradient.

    Source: Chen et al. 2020, arXiv 1909.03935, section 4.3; the published code calls scipy's Powell
    query by query with maxiter 10, about 4 200 evaluations of the generator on a DCGAN of digits.
    Deviations: see `search.powell`; the budget is in evaluations, and smaller at scale=laptop. On
    128 + 128 digits 300, 600 and 1 000 evaluations gave median losses of 0.086, 0.068 and 0.056 and
    AUROCs of 0.673, 0.679 and 0.689: a small budget understates the leak.
    """

    access = PartialBlackBox
    ranking = 0.5

    def choose_optimiser(self, view: PartialBlackBox) -> Callable[[np.ndarray], Search]:
        """Powell's method."""
        return search_by_powell

    @torch.no_grad()
    def evaluate_codes(self, view: PartialBlackBox, targets: Targets, z: Tensor) -> np.ndarray:
        """Losses (m,) at codes z (m, z_dim)."""
        return self.distance.of(view)(targets, view.generate(z), z).double().cpu().numpy()


class GradientSearch(LatentSearch):
    """White box: L-BFGS through the generator.

    Source: Chen et al. 2020, arXiv 1909.03935, section 4.4; the published code runs L-BFGS with a
    Wolfe line search, history 20, on 20 queries jointly for 1000 steps of learning rate 0.015.
    Deviations: each query has its own step size and history; codes are searched in coordinates in
    which all directions matter more alike (`search.inverse.stretch_coordinates`); where L-BFGS
    converges, it goes on from near the best minimum (`search.lbfgs.hop_between_minima`), then from
    the next start.
    history: pairs of steps and gradient changes that L-BFGS keeps.
    rise: by how much, relatively, going on from near a minimum raises the loss at first.
    """

    access = WhiteBox
    ranking = 0.0  # early losses say little about where a search will end

    def __init__(self, history: PositiveInt = 20, rise: PositiveFloat = 0.1, **search: Any) -> None:
        super().__init__(**search)
        self.history, self.rise = history, rise

    def choose_optimiser(self, view: WhiteBox) -> Callable[[np.ndarray], Search]:
        """L-BFGS from minimum to minimum, in stretched coordinates."""
        matrix = stretch_coordinates(view)
        inverse = np.linalg.inv(matrix)

        def search_from(z0: np.ndarray) -> Search:
            found = hop_between_minima(inverse @ z0, self.seed, self.rise, self.history)
            return stretch_search(found, matrix)

        return search_from

    def evaluate_codes(
        self, view: WhiteBox, targets: Targets, z: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """Losses (m,) and gradients (m, z_dim) at codes z (m, z_dim)."""
        with torch.enable_grad():
            z = z.requires_grad_(True)
            losses = self.distance.of(view)(targets, view.differentiate(z), z)
            (gradient,) = torch.autograd.grad(losses.sum(), z)
        return losses.detach().double().cpu().numpy(), gradient.double().cpu().numpy()


def _generate_samples(view: PartialBlackBox, z: Tensor) -> Tensor:
    """G(z) on the CPU, a batch at a time."""
    return torch.cat([view.generate(block).cpu() for block in z.split(view.batch_size)])
