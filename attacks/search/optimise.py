"""Many small minimisations at once: each query has its own optimiser, all share one generator call.

An optimiser is a generator function for one query. It yields the point (d,) whose loss it wants
and is sent the answer: the loss, or (loss, gradient (d,)). Step sizes, histories and stopping are
therefore each query's own, as if it were alone, while `minimise_losses` asks the generative model
for the points of a whole batch of queries in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Search = Generator[np.ndarray, Any, str]
"""Yields points (d,), is sent a loss or (loss, gradient), returns the reason why it stopped."""

Evaluate = Callable[[np.ndarray, np.ndarray], Any]
"""Query numbers (m,), points (m, d) -> losses (m,), or (losses (m,), gradients (m, d))."""


@dataclass(frozen=True)
class Minima:
    """What `minimise_losses` found for n queries.

    points: (n, d), the best point visited; losses: (n,), inf where no finite loss was met;
    evaluations: (n,), losses asked for; reasons: why each search ended.
    """

    points: np.ndarray
    losses: np.ndarray
    evaluations: np.ndarray
    reasons: list[str]


class Run:
    """A search in progress: the point it waits for, and the best it has seen."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.wanted = next(search)
        self.best, self.loss, self.evaluations = self.wanted, np.inf, 0
        self.reason = ""

    def take_answer(self, loss: float, *gradient: np.ndarray) -> None:
        """Hand over the answer for `wanted`; sets `reason` at the end. Not finite is inf."""
        loss = loss if np.isfinite(loss) else np.inf
        self.evaluations += 1
        if loss < self.loss:
            self.best, self.loss = self.wanted, loss
        try:
            self.wanted = self.search.send((loss, *gradient) if gradient else loss)
        except StopIteration as end:
            self.reason = end.value


def minimise_losses(
    searches: Iterable[Search],
    evaluate: Evaluate,
    batch_size: int,
    max_evals: int,
    progress: Callable[[int], Any] = lambda evaluations: None,
) -> Minima:
    """Advance all searches together, at most `batch_size` at a time, each to at most `max_evals`.

    searches: one per query, in the order of the queries. A query that ends leaves the batch and a
    waiting one takes its place; what is found for it doesn't depend on the company it had.
    progress: called after each batch with how much of the budget it used up or made unnecessary,
    so that the sum over all calls is n * max_evals.
    """
    waiting = enumerate(searches)
    active: dict[int, Run] = {}
    ended: dict[int, Run] = {}
    while True:
        while len(active) < batch_size and (entry := next(waiting, None)):
            active[entry[0]] = Run(entry[1])
        if not active:
            return _collect_points(ended)
        spent = len(active)
        _advance_searches(active, evaluate)
        for i in [i for i, run in active.items() if run.reason or run.evaluations >= max_evals]:
            ended[i] = active.pop(i)
            ended[i].search.close()
            spent += max_evals - ended[i].evaluations
        progress(spent)


def _advance_searches(active: dict[int, Run], evaluate: Evaluate) -> None:
    """One evaluation for every active run."""
    answers = evaluate(np.fromiter(active, int), np.stack([run.wanted for run in active.values()]))
    losses, *gradients = answers if isinstance(answers, tuple) else (answers,)
    columns = [
        np.asarray(losses, np.float64).tolist(),
        *(np.asarray(g, np.float64) for g in gradients),
    ]
    for run, *answer in zip(active.values(), *columns, strict=True):
        run.take_answer(*answer)


def _collect_points(ended: dict[int, Run]) -> Minima:
    runs = [ended[i] for i in range(len(ended))]
    return Minima(
        np.stack([run.best for run in runs]) if runs else np.empty((0, 0)),
        np.array([run.loss for run in runs], np.float64),
        np.array([run.evaluations for run in runs], int),
        [run.reason or "budget" for run in runs],
    )


def halve_budget(searches: Sequence[Search], evals: int) -> Search:
    """Several searches of one query as one search, by successive halving.

    Each gets `evals` evaluations in the first round; then the better half goes on where it stopped
    for twice as many, until one is left, which runs to its end. If it ends before the budget does,
    the ones set aside are taken up again, best first.
    Source: Karnin, Koren, Somekh, ICML 2013 (sequential halving). Deviations: nothing is restarted
    between rounds, and the budget that a converged search leaves over goes to the losers.
    """
    runs = [Run(search) for search in searches]
    keep = runs
    while len(keep) > 1:
        for run in keep:
            yield from go_on(run, evals)
        keep = sorted(keep, key=lambda run: run.loss)[: (len(keep) + 1) // 2]
        evals *= 2
    for run in sorted(runs, key=lambda run: (run not in keep, run.loss)):
        yield from go_on(run, None)
    return "all starts ended"


def stretch_search(search: Search, matrix: np.ndarray) -> Search:
    """A search in coordinates u for a minimum in z = matrix @ u; it is sent gradients in u."""
    u = next(search)
    while True:
        loss, gradient = yield matrix @ u
        try:
            u = search.send((loss, matrix.T @ gradient))
        except StopIteration as end:
            return str(end.value)


def go_on(run: Run, evals: int | None) -> Generator[np.ndarray, Any, None]:
    """Up to `evals` more evaluations of a run (None: until it ends)."""
    last = np.inf if evals is None else run.evaluations + evals
    while not run.reason and run.evaluations < last:
        answer = yield run.wanted
        run.take_answer(*(answer if isinstance(answer, tuple) else (answer,)))
