"""The price of Gaussian mechanisms by Opacus' accountants, and the noise for a price."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import scipy

from victims.errors import UserError

log = logging.getLogger(__name__)

ACCOUNTANTS = ("prv", "rdp")

NEAR = 0.99
"""Share of a target epsilon that the noise found for it must at least use."""

ERROR = 0.001
"""The PRV accountant's own, at least, part of its figure; half of it takes twice as long."""

MOST_NOISE = 1e7  # more than any training bears, in units of the sensitivity

LOOSE = 1000.0
"""Epsilon above which RDP's bound is good enough: the PRV accountant would take minutes."""

FEW = (1.1, 1.3, 1.6, *range(2, 9), 10, 12, 16, 20, 24, 32, 48, 64, 128, 256, 512)
"""Orders for a fast RDP bound; fractional ones are slow, and Opacus tries a hundred."""


def epsilon_of_steps(noise: float, steps: int, rate: float, delta: float, accountant: str) -> float:
    """Epsilon of `steps` Gaussian mechanisms on Poisson samples; an upper bound, by Opacus.

    noise: in units of the sensitivity. rate: chance of each record to be in a batch.
    The least of its bounds: the accountant's figure, RDP's by FEW orders, `epsilon_unsampled`.
    RDP alone where it is the accountant and gives a number. The PRV accountant's own error, part of
    the figure, is about 5% of it up to 0.2, then 0.01, then 0.5%. It is not asked above LOOSE, nor
    below ERROR, where the figure may be several times the truth, but never below it.
    """
    if steps == 0:
        return 0.0
    bound = quick_bound(noise, steps, rate, delta, accountant)
    if accountant == "rdp":
        bound = min(bound, rdp_epsilon(noise, steps, rate, delta))
        return bound if math.isfinite(bound) else epsilon_unsampled(noise, steps, delta)
    if bound > LOOSE or bound < ERROR:
        return bound
    try:
        error = max(ERROR, min(bound / 20, 0.01), min(bound / 200, 0.5))
        found = _ask_opacus(accountant, noise, steps, rate, delta, eps_error=error)
        return min(bound, found if math.isfinite(found) else bound)
    except (RuntimeError, ValueError):
        return bound


def quick_bound(noise: float, steps: int, rate: float, delta: float, accountant: str) -> float:
    """A bound on `epsilon_of_steps` that takes milliseconds."""
    bound = rdp_epsilon(noise, steps, rate, delta, FEW)
    return bound if accountant == "rdp" else min(bound, epsilon_unsampled(noise, steps, delta))


def epsilon_unsampled(noise: float, steps: int, delta: float) -> float:
    """Epsilon of Gaussian mechanisms that always see the record: exact, and a bound for samples.

    Together they are one with 1 / sqrt(steps) of the noise (Balle, Wang 2018, arXiv 1805.06530,
    theorem 8, solved by bisection; always finite).
    """
    mu = math.sqrt(steps) / noise

    def log_excess(epsilon: float) -> float:
        first, second = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        a, b = float(scipy.special.log_ndtr(first)), epsilon + float(scipy.special.log_ndtr(second))
        return a + math.log(max(-math.expm1(b - a), 1e-300)) - math.log(delta)

    if log_excess(0.0) <= 0:
        return 0.0
    high = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta))  # where first is below -sqrt(...)
    return float(scipy.optimize.brentq(log_excess, 0.0, high, xtol=1e-12, rtol=1e-12))


def rdp_epsilon(
    noise: float, steps: int, rate: float, delta: float, orders: tuple[float, ...] | None = None
) -> float:
    """The RDP accountant's epsilon, an upper bound for any choice of orders (None: Opacus').

    Infinite where it overflows, or where its sums lose all digits.
    """
    try:
        found = _ask_opacus("rdp", noise, steps, rate, delta, alphas=orders)
    except (OverflowError, ValueError):
        return math.inf
    return found if found > 0 else math.inf


def noise_for(
    target: float, cost: Callable[[float], float], bound: Callable[[float], float]
) -> float:
    """The least noise, in units of the sensitivity, whose cost is at most `target`, within 1%.

    cost: noise -> epsilon. bound: likewise, not lower than cost and faster.
    Raises UserError where no noise is enough.
    """
    high, price = 1.0, bound(1.0)
    least = price
    while price > target:
        if high > MOST_NOISE:
            raise UserError(
                f"dp.epsilon={target}: no amount of noise reaches it, the least that this "
                f"accountant shows is {least:.3g}; raise it, or take dp.accountant=prv"
            )
        high, price = 2 * high, bound(2 * high)
        least = min(least, price)
    low = high
    while bound(low) <= target:
        low /= 2
    high = _search_noise(low, high, target, bound)
    log.info("dp.epsilon=%g: looking for the least noise, at most %.4g", target, high)

    def told(noise: float) -> float:
        price = cost(noise)
        log.info("dp.epsilon=%g: noise %.4g gives epsilon %.4g", target, noise, price)
        return price

    return _search_noise(0.5 * high, high, target, told)


def affordable_steps(target: float, cost: Callable[[int], float], steps: int) -> int:
    """The largest number of steps up to `steps` whose cost is at most `target`."""
    if cost(steps) <= target:
        return steps
    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= target else (low, middle)
    return low


def _search_noise(low: float, high: float, target: float, cost: Callable[[float], float]) -> float:
    """Search for a noise, from a high one that costs at most `target`; so does the result.

    Epsilon is nearly a power of the noise: after a step of bisection, guesses follow the ratio.
    """
    found = cost(high)
    while found < NEAR * target and high - low > 1e-6 * high:
        guess = high * max(found, 1e-9) / (0.997 * target)
        middle = guess if low < guess < high else (low + high) / 2
        price = cost(middle)
        if price <= target:
            high, found = middle, price
        else:
            low = middle
    return high


@cache  # a job asks the same for each reference model, up to two seconds each time
def _ask_opacus(
    accountant: str, noise: float, steps: int, rate: float, delta: float, **more: Any
) -> float:
    from opacus.accountants import create_accountant  # seconds

    ledger = create_accountant(accountant)
    ledger.history = [(noise, rate, steps)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # hints on the orders of RDP that it tries
        return float(ledger.get_epsilon(delta, **more))
