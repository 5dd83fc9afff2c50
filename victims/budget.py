"""What private training promises and what it has spent, by Opacus' accountants."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from victims.access import UserError
from victims.base import Victim
from victims.private import Mechanism

log = logging.getLogger(__name__)

ACCOUNTANTS = ("prv", "rdp")
SPENT = "privacy.json"

NEAR = 0.99
"""Share of a target epsilon that the noise found for it must at least use."""

ERROR = 0.01  # the PRV accountant's own at small epsilon: below it, its figure could only be larger
MOST_NOISE = 1e7  # more than any training bears, in units of the sensitivity

LOOSE = 1000.0
"""Epsilon above which RDP's bound is good enough: the PRV accountant would take minutes."""

FEW = (1.1, 1.3, 1.6, *range(2, 9), 10, 12, 16, 20, 24, 32, 48, 64, 128, 256, 512)
"""Orders for a fast RDP bound; fractional ones are slow, and Opacus tries a hundred."""


@dataclass(frozen=True)
class Privacy:
    """What private training shall promise: that one record more or less hardly changes the victim.

    epsilon: the promise. noise_multiplier: the noise, in units of max_grad_norm. One is enough:
    noise is then what the promise needs for all of the victim's steps, or the promise what the
    noise gives. With both, training stops before the promise is broken.
    max_grad_norm: what each record's gradient is clipped to, in every private step.
    delta: of the promise; None for a tenth of 1 / training records.
    accountant: prv (Gopi, Lee, Wutschitz 2021, arXiv 2106.02848; tight) or rdp (Mironov 2017,
    arXiv 1702.07476; faster). micro_batch: records whose gradients are in memory at once.
    public_encoding: whether an encoding of columns that is measured on all records (data.encode)
    may be taken for public knowledge; else it is refused.
    Raises UserError for values outside these.
    """

    epsilon: float | None
    noise_multiplier: float | None
    max_grad_norm: float
    delta: float | None
    accountant: str
    micro_batch: int
    public_encoding: bool = False

    def __post_init__(self) -> None:
        if self.epsilon is None and self.noise_multiplier is None:
            raise UserError("dp.epsilon and dp.noise_multiplier are null: at least one is needed")
        for name in ("epsilon", "noise_multiplier", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"dp.{name}={value}: a finite number above 0 is needed")
        if self.delta is not None and not 0 < self.delta < 1:
            raise UserError(f"dp.delta={self.delta}: a number between 0 and 1 is needed, or null")
        if self.accountant not in ACCOUNTANTS:
            raise UserError(
                f"dp.accountant={self.accountant}: allowed are {', '.join(ACCOUNTANTS)}"
            )
        if self.micro_batch < 1:
            raise UserError(f"dp.micro_batch={self.micro_batch}: at least 1 is needed")

    def check(self, victim: Victim, size: int) -> None:
        """Raise UserError where `victim` cannot be trained privately on `size` records; cheap."""
        if victim.terms(size).rate > 1:
            raise UserError(
                f"victim.batch_size={victim.batch_size}: private training draws each of the {size} "
                "training records with chance batch_size / records; lower victim.batch_size"
            )
        if self.delta is not None and self.delta >= 1 / size:
            raise UserError(
                f"dp.delta={self.delta}: with {size} training records a promise is only worth "
                f"something below 1/{size}; lower dp.delta or leave it null"
            )

    def ledger(self, victim: Victim, size: int) -> Ledger:
        """What `victim`'s steps on `size` records cost; for a target epsilon the noise is found."""
        self.check(victim, size)
        delta = default_delta(size) if self.delta is None else self.delta
        terms, noise = victim.terms(size), self.noise_multiplier
        times = -(-victim.steps // terms.batches)
        if noise is None:
            assert self.epsilon is not None
            price = times, terms.rate, delta
            noise = terms.sensitivity * noise_for(
                self.epsilon,
                lambda noise: epsilon(noise, *price, self.accountant),
                lambda noise: quick_bound(noise, *price, self.accountant),
            )
        return Ledger(
            noise,
            self.max_grad_norm,
            delta,
            terms.rate,
            terms.sensitivity,
            terms.together,
            self.accountant,
        )

    def attach(self, victim: Victim, size: int) -> Ledger:
        """Give a victim (after `make_private`) its mechanism, and as many steps as it may take."""
        ledger, each = self.ledger(victim, size), victim.terms(size).batches
        times = -(-victim.steps // each)
        if self.epsilon is not None and self.noise_multiplier is not None:
            times = affordable(self.epsilon, ledger.epsilon, times)
            victim.steps = min(victim.steps, times * each)
            if victim.steps == 0:
                raise UserError(
                    f"dp.epsilon={self.epsilon}: with dp.noise_multiplier={self.noise_multiplier} "
                    f"one step already costs {ledger.epsilon(1):.3g}; raise one of the two"
                )
        victim.mechanism = Mechanism(
            ledger.noise_multiplier,
            self.max_grad_norm,
            ledger.sample_rate,
            victim.batch_size,
            self.micro_batch,
            limit=times * ledger.together,
        )
        return ledger


@dataclass(frozen=True)
class Ledger:
    """What determines the price of private steps, see `victims.private.Terms`."""

    noise_multiplier: float
    max_grad_norm: float
    delta: float
    sample_rate: float
    sensitivity: float
    together: int
    accountant: str

    def epsilon(self, times: int) -> float:
        """Epsilon, at `delta`, of this many exposures; each is one batch for most victims."""
        noise = self.noise_multiplier / self.sensitivity
        return epsilon(noise, times, self.sample_rate, self.delta, self.accountant)

    def write(self, victim: Victim, folder: Path) -> None:
        """Note beside the weights what the steps that the victim has taken have spent."""
        steps = int(victim.private_steps)
        times = -(-steps // self.together)
        facts = asdict(self) | {"private_steps": steps, "epsilon": self.epsilon(times)}
        (folder / SPENT).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def default_delta(size: int) -> float:
    """A tenth of 1 / training records: far too little to give any record away for certain."""
    return 0.1 / size


def epsilon(noise: float, steps: int, rate: float, delta: float, accountant: str) -> float:
    """Epsilon of `steps` Gaussian mechanisms on Poisson samples; an upper bound, by Opacus.

    noise: in units of the sensitivity. rate: chance of each record to be in a batch.
    The least of what bounds it: the accountant's figure, RDP's by FEW orders, and `unsampled`.
    RDP alone where it is the accountant and gives a number. PRV accountant's own error, part of
    the figure, is kept under 0.01 or 0.5% of it; it is not asked above LOOSE.
    """
    if steps == 0:
        return 0.0
    bound = quick_bound(noise, steps, rate, delta, accountant)
    if accountant == "rdp":
        bound = min(bound, rdp(noise, steps, rate, delta))
        return bound if math.isfinite(bound) else unsampled(noise, steps, delta)
    if bound > LOOSE or bound < ERROR:
        return bound
    try:
        error = min(max(ERROR, bound / 200), 0.5)
        found = _opacus(accountant, noise, steps, rate, delta, eps_error=error)
        return min(bound, found if math.isfinite(found) else bound)
    except (RuntimeError, ValueError):
        return bound


def quick_bound(noise: float, steps: int, rate: float, delta: float, accountant: str) -> float:
    """A bound on `epsilon` that takes milliseconds."""
    bound = rdp(noise, steps, rate, delta, FEW)
    return bound if accountant == "rdp" else min(bound, unsampled(noise, steps, delta))


def unsampled(noise: float, steps: int, delta: float) -> float:
    """Epsilon of Gaussian mechanisms that always see the record: exact, and a bound for samples.

    Together they are one with 1 / sqrt(steps) of the noise (Balle, Wang 2018, arXiv 1805.06530,
    theorem 8, solved by bisection; always finite).
    """
    mu = math.sqrt(steps) / noise

    def log_excess(epsilon: float) -> float:
        first, second = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        a, b = float(log_ndtr(first)), epsilon + float(log_ndtr(second))
        return a + math.log(max(-math.expm1(b - a), 1e-300)) - math.log(delta)

    if log_excess(0.0) <= 0:
        return 0.0
    high = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta))  # where first is below -sqrt(...)
    return float(brentq(log_excess, 0.0, high, xtol=1e-12, rtol=1e-12))


def rdp(
    noise: float, steps: int, rate: float, delta: float, orders: Sequence[float] | None = None
) -> float:
    """The RDP accountant's epsilon, an upper bound for any choice of orders (None: Opacus').

    Infinite where it overflows, or where its sums lose all digits.
    """
    try:
        found = _opacus("rdp", noise, steps, rate, delta, alphas=orders)
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
    while price > target:
        high, before, price = 2 * high, price, bound(2 * high)
        if high > MOST_NOISE or (math.isfinite(before) and price > 0.999 * before):
            raise UserError(
                f"dp.epsilon={target}: no amount of noise reaches it, the least that this "
                f"accountant shows is {before:.3g}; raise it, or take dp.accountant=prv"
            )
    low = high
    while bound(low) <= target:
        low /= 2
    high = _between(low, high, target, bound)
    log.info("dp.epsilon=%g: looking for the least noise, at most %.4g", target, high)

    def told(noise: float) -> float:
        price = cost(noise)
        log.info("dp.epsilon=%g: noise %.4g gives epsilon %.4g", target, noise, price)
        return price

    return _between(0.5 * high, high, target, told)


def affordable(target: float, cost: Callable[[int], float], steps: int) -> int:
    """The largest number of steps up to `steps` whose cost is at most `target`."""
    if cost(steps) <= target:
        return steps
    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= target else (low, middle)
    return low


def _between(low: float, high: float, target: float, cost: Callable[[float], float]) -> float:
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


def _opacus(
    accountant: str, noise: float, steps: int, rate: float, delta: float, **more: Any
) -> float:
    from opacus.accountants import create_accountant  # seconds

    ledger = create_accountant(accountant)
    ledger.history = [(noise, rate, steps)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # hints on the orders of RDP that it tries
        return float(ledger.get_epsilon(delta, **more))
