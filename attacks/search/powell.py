"""Powell's conjugate directions, without gradients, for one query (see `search.optimise`)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from attacks.search.optimise import Search

Line = list[tuple[float, float]]
"""(step, loss) of the trials on a line, in the order of their steps."""


class LineMinimum(NamedTuple):
    """Where a line search ended; curvature: second derivative there, nan if unknown."""

    step: float
    loss: float
    curvature: float


LineSearch = Generator[np.ndarray, Any, LineMinimum]


def search_by_powell(z0: np.ndarray, first_step: float = 0.5, tolerance: float = 1e-6) -> Search:
    """Minimise along a set of directions in turn from z0 (d,), in float64; is sent the loss alone.

    first_step: first trial step along each axis, in units of z. Ends when a whole sweep lowers the
    loss by less than `tolerance`, relatively, or by less than 1e-20.
    Source: Powell 1964 (The Computer Journal 7, 155-162), with his rule for when the overall
    displacement of a sweep replaces the direction of largest decrease. As there, the curvature
    along a direction is remembered, so that a later search of it needs two losses. Deviation: a
    line search ends when its next parabola promises less than a tenth of what it has gained.
    """
    z = np.array(z0, np.float64)
    loss = yield z
    if not np.isfinite(loss):
        return "start not finite"
    directions = list(np.eye(len(z)))
    steps, curvatures = [first_step] * len(z), [np.nan] * len(z)
    while True:
        start, start_loss, gains = z, loss, []
        for i, direction in enumerate(directions):
            found = yield from line_search(z, loss, direction, steps[i], curvatures[i])
            gains.append(loss - found.loss)
            z, loss = z + found.step * direction, found.loss
            steps[i] = _next_step(steps[i], found.step)
            curvatures[i] = found.curvature
        if start_loss - loss <= tolerance * abs(start_loss) + 1e-20:
            return "loss stalled"
        total = z - start
        beyond = yield z + total
        if _worth_adopting(start_loss, loss, beyond, max(gains)):
            found = yield from line_search(z, loss, total, 1.0, np.nan, beyond)
            z, loss = z + found.step * total, found.loss
            largest = int(np.argmax(gains))
            del directions[largest], steps[largest], curvatures[largest]
            directions.append(total)
            steps.append(1.0)
            curvatures.append(found.curvature)


def _worth_adopting(start: float, loss: float, beyond: float, largest_gain: float) -> bool:
    """Powell's condition: the displacement is neither exhausted nor due to one direction."""
    if not beyond < start:
        return False
    bend = 2.0 * (start - 2.0 * loss + beyond) * (start - loss - largest_gain) ** 2
    return bend < largest_gain * (start - beyond) ** 2


def _next_step(tried: float, taken: float) -> float:
    """First trial step for the next search of a direction: this one's, within factors of 5."""
    return min(max(abs(taken), 0.2 * tried), 5.0 * tried)


def line_search(
    point: np.ndarray,
    loss: float,
    direction: np.ndarray,
    step: float,
    curvature: float,
    loss_at_step: float | None = None,
    accuracy: float = 0.1,
    max_trials: int = 8,
) -> LineSearch:
    """Bracket the minimum along a line and close in on it by parabolas.

    loss: at the point; curvature: second derivative if known from before, else nan; loss_at_step:
    given if already known. Losses of inf are walls that the search stays clear of.
    """
    line: Line = [(0.0, loss)]
    for _ in range(max_trials):
        known, loss_at_step = loss_at_step, None
        insort(line, (step, (yield point + step * direction) if known is None else known))
        best = min(range(len(line)), key=lambda i: line[i][1])
        step, promised, curvature = propose_step(line, best, curvature)
        if promised <= accuracy * (loss - line[best][1]) + 1e-8 * abs(loss):
            break
    return LineMinimum(*line[best], curvature)


def propose_step(line: Line, best: int, curvature: float) -> tuple[float, float, float]:
    """Next step to try, how far below the best loss it should lie, and the curvature.

    line: at least two trials, line[best] the lowest. The parabola goes through the three trials
    around the best, or through two with the curvature given. Without one that has a minimum, the
    promise is inf and the curvature nan.
    """
    first = min(max(best - 1, 0), max(len(line) - 3, 0))
    near = line[first : first + 3]
    if len(near) == 3:
        curvature = _curvature_at(near)
    (t0, f0), (t1, f1) = line[best], line[best - 1] if best else line[1]
    outwards = _search_outwards(line, best)
    if not (0 < curvature < np.inf and f1 < np.inf):
        return outwards, np.inf, np.nan
    slope = (f1 - f0) / (t1 - t0) - 0.5 * curvature * (t1 - t0)
    reach = 2.0 * abs(outwards - t0)  # a nearly straight parabola is not trusted far away
    shift = min(max(-slope / curvature, -reach), reach)
    return t0 + shift, -shift * (slope + 0.5 * curvature * shift), curvature


def _search_outwards(line: Line, best: int) -> float:
    """The step to try without a parabola: beyond the end that is best, or inside the wider gap."""
    steps = [step for step, _ in line]
    if best == 0:
        return steps[0] - 1.6 * (steps[1] - steps[0])
    if best == len(line) - 1:
        return steps[-1] + 1.6 * (steps[-1] - steps[-2])
    left, right = steps[best] - steps[best - 1], steps[best + 1] - steps[best]
    return steps[best] + (0.4 * right if right > left else -0.4 * left)


def _curvature_at(near: Line) -> float:
    """Second derivative of the parabola through three trials."""
    (ta, fa), (tb, fb), (tc, fc) = near
    return 2.0 * ((fc - fb) / (tc - tb) - (fb - fa) / (tb - ta)) / (tc - ta)
