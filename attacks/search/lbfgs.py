"""L-BFGS with a strong Wolfe line search, for one query (see `attacks.search.optimise`)."""

from __future__ import annotations

from collections.abc import Generator
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.blas import dtrsv

from attacks.search.optimise import Run, Search, go_on


class Trial(NamedTuple):
    """A point on the line that is searched; slope is the derivative of the loss in the step."""

    step: float
    loss: float
    slope: float
    point: np.ndarray
    gradient: np.ndarray


LineSearch = Generator[np.ndarray, Any, Trial | None]


def search_by_lbfgs(
    z0: np.ndarray,
    history: int = 20,
    first_step: float = 1.0,
    gradient_tolerance: float = 1e-9,
    loss_tolerance: float = 1e-7,
    memory: Memory | None = None,
) -> Search:
    """Limited-memory BFGS from z0 (d,), in float64; is sent (loss, gradient).

    history: pairs of steps and gradient changes kept; first_step: length of the first trial step,
    in units of z (a latent code's entries are about 1). Ends when no entry of the gradient exceeds
    gradient_tolerance, or an iteration lowers the loss by less than loss_tolerance, relatively.
    memory: pairs of an earlier search to go on with, changed in place; by default none.
    Source: Nocedal and Wright, Numerical Optimization (2006), algorithm 7.5 with the line search of
    3.5 and 3.6. Deviation: the direction comes from the compact form of the same matrix (Byrd,
    Nocedal, Schnabel 1994), which needs a dozen numpy calls instead of one hundred.
    """
    z = np.array(z0, np.float64)
    loss, gradient = yield z
    if not np.isfinite(loss) or not np.isfinite(gradient).all():
        return "start not finite"
    memory = memory or Memory(history, len(z))
    while np.abs(gradient).max() > gradient_tolerance:
        direction = memory.find_direction(gradient)
        slope = float(gradient @ direction)
        if not slope < 0:
            memory.forget_pairs()
            continue
        step = 1.0 if memory.size else first_step / float(np.sqrt(-slope))
        found = yield from strong_wolfe(Trial(0.0, loss, slope, z, gradient), direction, step)
        if found is None and not memory.size:
            return "line search failed"
        if found is None:
            memory.forget_pairs()
            continue
        memory.add_pair(found.point - z, found.gradient - gradient)
        gain, z, loss, gradient = loss - found.loss, found.point, found.loss, found.gradient
        if gain <= loss_tolerance * abs(loss):
            return "loss stalled"
    return "gradient vanished"


def hop_between_minima(
    z0: np.ndarray,
    seed: int,
    rise: float,
    history: int = 20,
    loss_tolerance: float = 3e-4,
    patience: int = 2,
) -> Search:
    """L-BFGS from z0 (d,), then again and again from near the best minimum found.

    Networks with kinks have many shallow minima close together; from a neighbouring point, with the
    curvature that is already known, the next one costs a fraction of the first.
    seed: of the jumps, normal with the approximate inverse Hessian as covariance; rise: the loss
    that a jump should add on average, relative to that of the minimum. history, loss_tolerance: as
    in `search_by_lbfgs`; patience: how many hops in a row may find nothing better.
    Source: Wales and Doye 1997, arXiv cond-mat/9803344 (basin-hopping). Deviations: only better
    minima are accepted (no temperature); the length and shape of jumps follow the curvature.
    """
    rng = np.random.default_rng(seed)
    best: Run | None = None
    start, memory, misses = z0, Memory(history, len(z0)), 0
    while misses < patience:
        trial = memory.copy_pairs()
        run = Run(
            search_by_lbfgs(start, first_step=0.5, loss_tolerance=loss_tolerance, memory=trial)
        )
        yield from go_on(run, None)
        if best is None or run.loss < best.loss:
            best, memory, misses = run, trial, 0
        else:
            misses += 1
        if not np.isfinite(best.loss) or best.loss == 0:
            return "start not finite" if best.loss else "loss vanished"
        start = best.best + np.sqrt(2 * rise * best.loss / len(z0)) * memory.draw_jump(rng)
    return "hops found nothing better"


class Memory:
    """The last pairs (step s, change of gradient y), newest last, and the matrix they imply.

    The approximate inverse Hessian in compact form, with R the upper triangle of S Y^T, D its
    diagonal, and c = s.y / y.y of the newest pair:
    H = c I + [S; cY]^T [[R^-T (D + c Y Y^T) R^-1, -R^-T], [-R^-1, 0]] [S; cY].
    """

    def __init__(self, history: int, dimension: int) -> None:
        self.steps, self.changes = np.zeros((2, history, dimension))
        self.upper, self.gram = np.zeros((2, history, history))
        self.size = 0

    def forget_pairs(self) -> None:
        """Forget all pairs; the next direction is steepest descent."""
        self.size = 0

    def copy_pairs(self) -> Memory:
        """The same pairs, to be changed independently."""
        return deepcopy(self)

    def add_pair(self, step: np.ndarray, change: np.ndarray) -> None:
        """Keep a pair, dropping the oldest if full; without positive curvature it is ignored."""
        if not step @ change > 1e-12 * (change @ change):
            return
        if self.size == len(self.steps):
            for rows in (self.steps, self.changes):
                rows[:-1] = rows[1:].copy()
            for square in (self.upper, self.gram):
                square[:-1, :-1] = square[1:, 1:].copy()
            self.size -= 1
        last, self.size = self.size, self.size + 1
        self.steps[last], self.changes[last] = step, change
        self.upper[: self.size, last] = self.steps[: self.size] @ change
        self.gram[: self.size, last] = self.gram[last, : self.size] = (
            self.changes[: self.size] @ change
        )

    def find_direction(self, gradient: np.ndarray) -> np.ndarray:
        """-H gradient, (d,)."""
        n = self.size
        if not n:
            return -gradient
        steps, changes = self.steps[:n], self.changes[:n]
        upper, gram = self.upper[:n, :n], self.gram[:n, :n]
        scale = upper[-1, -1] / gram[-1, -1]
        inner = dtrsv(upper, steps @ gradient)
        outer = upper.diagonal() * inner + scale * (gram @ inner - changes @ gradient)
        outer = dtrsv(upper, outer, trans=1)
        return scale * (inner @ changes - gradient) - outer @ steps

    def draw_jump(self, generator: np.random.Generator) -> np.ndarray:
        """A normal vector (d,) with the approximate inverse Hessian as its covariance.

        One BFGS update turns H into V^T H V + s s^T / s.y with V = I - y s^T / s.y; so it turns a
        draw x from N(0, H) into V^T x plus a normal multiple of s / sqrt(s.y).
        """
        n = self.size
        scale = self.upper[n - 1, n - 1] / self.gram[n - 1, n - 1] if n else 1.0
        x = np.sqrt(scale) * generator.standard_normal(self.steps.shape[1])
        for step, change in zip(self.steps[:n], self.changes[:n], strict=True):
            product = step @ change
            x += step * (generator.standard_normal() / np.sqrt(product) - change @ x / product)
        return x


def strong_wolfe(
    start: Trial,
    direction: np.ndarray,
    step: float,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    max_trials: int = 20,
) -> LineSearch:
    """Look for loss <= loss0 + decrease * step * slope0 and |slope| <= curvature * |slope0|.

    start: the trial at step 0, its slope negative. Where trials run out, the best with the first
    property is returned, or None if there is none. A loss or slope that is not finite counts as an
    infinite loss, so the search backs off.
    Source: Nocedal and Wright (2006), algorithms 3.5 and 3.6 with cubic interpolation (3.59).
    """
    low, high = start, None  # low: the best trial with sufficient decrease; high: the other end
    for _ in range(max_trials):
        trial = yield from _probe_point(start, direction, step)
        too_high = trial.loss > start.loss + decrease * trial.step * start.slope
        if too_high or (trial.loss >= low.loss and low is not start):
            high = trial
        elif abs(trial.slope) <= -curvature * start.slope:
            return trial
        else:
            ahead = (high.step if high else np.inf) - low.step
            if trial.slope * ahead >= 0:
                high = low
            low, beyond = trial, low
        step = _point_between(low, high) if high else _point_beyond(low, beyond)
    return low if low is not start else None


def _probe_point(
    start: Trial, direction: np.ndarray, step: float
) -> Generator[np.ndarray, Any, Trial]:
    point = start.point + step * direction
    loss, gradient = yield point
    slope = float(gradient @ direction)
    if not np.isfinite(slope):
        loss, slope = np.inf, np.inf
    return Trial(step, loss, slope, point, gradient)


def _point_between(low: Trial, high: Trial) -> float:
    """The cubic's minimiser, kept a tenth of the interval away from its ends; else the middle."""
    width = high.step - low.step
    step = _cubic_minimum(low, high)
    if not np.isfinite(step):
        return low.step + 0.5 * width
    return low.step + min(max((step - low.step) / width, 0.1), 0.9) * width


def _point_beyond(low: Trial, before: Trial) -> float:
    """The cubic's minimiser, at least twice and at most ten times as far as the last step."""
    step = _cubic_minimum(before, low)
    return min(max(step, 2.0 * low.step), 10.0 * low.step) if np.isfinite(step) else 10.0 * low.step


def _cubic_minimum(a: Trial, b: Trial) -> float:
    """Minimiser of the cubic through two losses and slopes; nan where it has none."""
    width = b.step - a.step
    if not (np.isfinite(b.loss) and width):
        return np.nan
    d1 = a.slope + b.slope - 3.0 * (b.loss - a.loss) / width
    square = d1 * d1 - a.slope * b.slope
    if square < 0.0:
        return np.nan
    d2 = float(np.copysign(np.sqrt(square), width))
    bottom = b.slope - a.slope + 2.0 * d2
    return b.step - width * (b.slope + d2 - d1) / bottom if bottom else np.nan
