"""Accountants: what Gaussian mechanisms cost, and how much noise a price needs."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.optimize import brentq
from scipy.stats import norm

from victims.accounting import (
    ERROR,
    FEW,
    epsilon_of_steps,
    epsilon_unsampled,
    noise_for,
    quick_bound,
)
from victims.errors import UserError


@pytest.fixture
def _few_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fractional orders are slow and only tighten RDP's bound."""
    monkeypatch.setattr(RDPAccountant, "DEFAULT_ALPHAS", list(FEW))


@pytest.mark.usefixtures("_few_orders")
@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_every_noise_has_a_finite_price_that_falls(accountant: str) -> None:
    """Accountants overflow at little noise and lose their digits at much: Infinity is no JSON."""
    for steps in (1, 20, 1500):
        prices = [
            epsilon_of_steps(n, steps, 0.25, 1e-3, accountant) for n in (1e-5, 0.001, 0.052, 1e9)
        ]
        assert np.isfinite(prices).all()
        assert prices == sorted(prices, reverse=True)
    assert (
        epsilon_of_steps(0.052, 1, 0.25, 1e-3, accountant) < 254
    )  # RDP's bound by few orders: 253.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "steps", "delta"),
    [(10.0, 1500, 8e-4), (0.1, 1500, 8e-4), (0.001, 1500, 8e-4), (0.02, 60, 1e-3), (1e-3, 4, 4e-3)],
)
def test_noise_is_found_soon_for_any_promise(target: float, steps: int, delta: float) -> None:
    """PRV's own error is 0.001: a promise below it was looked for without end.

    Where RDP's bound falls no further, another one may (the last: 4 steps, RDP shows 0.0041).
    """
    price, asked = (steps, 0.3, delta), []

    def cost(noise: float) -> float:
        asked.append(noise)
        return epsilon_of_steps(noise, *price, "prv")

    noise = noise_for(target, cost, lambda noise: quick_bound(noise, *price, "prv"))
    assert 0.99 * target <= epsilon_of_steps(noise, *price, "prv") <= target
    assert len(asked) <= 12


def test_what_rdp_cannot_show_is_refused_at_once() -> None:
    price = 1500, 0.25, 1e-6, "rdp"
    with pytest.raises(UserError, match=r"dp.epsilon=0.001: no amount of noise.*accountant=prv"):
        noise_for(0.001, lambda _: pytest.fail("asked"), lambda noise: quick_bound(noise, *price))


def test_without_sampling_epsilon_is_that_of_one_gaussian_mechanism() -> None:
    for noise, steps, delta in ((1.0, 1, 1e-5), (5.0, 9, 1e-3)):
        theirs = dp_accounting.get_epsilon_gaussian(noise / math.sqrt(steps), delta)
        assert epsilon_unsampled(noise, steps, delta) == pytest.approx(theirs, rel=1e-6)


def exact(noise: float, rate: float, delta: float) -> float:
    """Epsilon of one Gaussian mechanism on a Poisson sample, from its two densities.

    Where the record may be, their ratio is above e^epsilon beyond one output, `edge`.
    """

    def excess(epsilon: float) -> float:
        edge = noise**2 * math.log1p(math.expm1(epsilon) / rate) + 0.5
        without = norm.sf(edge / noise)
        there = (1 - rate) * without + rate * norm.sf((edge - 1) / noise)
        return float(there - math.exp(epsilon) * without - delta)

    return float(brentq(excess, 0.0, 50.0, xtol=1e-12))


@pytest.mark.parametrize("noise", [1.0, 2.0, 5.0, 20.0])
def test_epsilon_is_never_below_the_truth_and_near_it_however_small(noise: float) -> None:
    """PRV's own error of 0.01 was a third of an epsilon of 0.03, and noise went with it."""
    rate, delta = 0.1, 1e-3
    truth = exact(noise, rate, delta)
    assert truth <= epsilon_of_steps(noise, 1, rate, delta, "prv") <= 1.1 * truth + 2 * ERROR


SETTINGS = [(5.0, 300, 0.25, 4e-4), (0.8, 500, 0.0032, 5e-6), (2.0, 20, 1.0, 1e-3)]
"""Noise, steps, sampling rate, delta."""


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS)
def test_epsilon_is_that_of_opacus_and_nearly_that_of_dp_accounting(
    settings: tuple[float, int, float, float],
) -> None:
    noise, steps, rate, delta = settings
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    event = dp_accounting.SelfComposedDpEvent(event, steps)
    for accountant, opacus, theirs in (
        ("prv", PRVAccountant(), PLDAccountant()),
        ("rdp", RDPAccountant(), RdpAccountant()),
    ):
        ours = epsilon_of_steps(*settings, accountant)
        opacus.history = [(noise, rate, steps)]
        bound = epsilon_of_steps(*settings, "rdp")
        error = {"eps_error": max(0.01, bound / 200)} if accountant == "prv" else {}
        assert ours == pytest.approx(opacus.get_epsilon(delta, **error), rel=1e-2)
        assert ours == pytest.approx(theirs.compose(event).get_epsilon(delta), rel=0.02)
