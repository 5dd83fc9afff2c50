"""Bounds for Gaussian mechanisms: simulated ones whose epsilon is known, and independent code."""

from __future__ import annotations

import re
from statistics import NormalDist

import numpy as np
import pytest
from dp_accounting import get_epsilon_gaussian
from numpy.random import default_rng

from benchmark.job.canaries import audit_canaries
from benchmark.measures import epsilon, gaussian
from benchmark.show.texts import canary_sentence

DELTA = 1e-5
MU = {1: 0.2681, 4: 0.9279, 16: 2.8916}
"""Epsilon at DELTA -> about the distance of the two means."""
NORMAL = NormalDist()


def run(mu: float, canaries: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each canary is shown with noise, as a Gaussian mechanism with sigma 1 / mu shows it."""
    rng = default_rng([3, seed])
    coins = rng.random(canaries) < 0.5
    return rng.normal(size=canaries) + mu * coins, coins


@pytest.mark.parametrize("mu", [0.05, 0.5, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 0.01])
def test_epsilon_is_that_of_the_gaussian_mechanism(mu: float, delta: float) -> None:
    assert gaussian.epsilon_of(mu, delta) == pytest.approx(
        get_epsilon_gaussian(1 / mu, delta), rel=1e-6, abs=1e-9
    )


def test_nothing_is_lost_without_a_distance() -> None:
    assert gaussian.epsilon_of(0.0, DELTA) == gaussian.epsilon_of(1e-7, DELTA) == 0.0


def plainly(c: int, g: int, m: int, mu: float, risk: float) -> bool:
    """The published loop, step by step, without any shortcut."""
    r, h = risk * c / m, risk * (g - c) / m
    for i in reversed(range(c)):
        z = NORMAL.inv_cdf(r) if 0 < r < 1 else (-np.inf if r <= 0 else np.inf)
        bound = NORMAL.cdf(z - mu) if np.isfinite(z) else float(r >= 1)
        new = max(h, bound)
        r, h = min(1.0, r + i / (g - i) * (new - h)), new
    return r + h > g / m


COUNTS = [(60, 100, 1000), (80, 100, 1000), (99, 100, 100), (55, 100, 100), (6, 10, 200)]
COUNTS += [(300, 500, 500), (45, 50, 1000), (12, 20, 100), (100, 100, 100), (570, 1000, 1000)]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("mu", [0.0, 0.3, 1.0, 2.5])
def test_what_is_refuted_equals_the_published_loop(counts: tuple[int, int, int], mu: float) -> None:
    for risk in (0.05, 0.01):
        assert gaussian.is_refuted(*counts, mu, risk) == plainly(*counts, mu, risk)


@pytest.mark.parametrize("wanted", MU)
def test_gaussian_mechanisms_are_not_accused_more_often_than_promised(wanted: int) -> None:
    """60 runs at 95%: more than 8 accusations have a chance of 0.3%."""
    truth = gaussian.epsilon_of(MU[wanted], DELTA)
    assert truth == pytest.approx(wanted, rel=0.01)
    runs = [run(MU[wanted], 400, seed) for seed in range(60)]
    assert sum(gaussian.one_run(*r, DELTA) > truth for r in runs) <= 8
    assert sum(gaussian.from_roc(s[c], s[~c], DELTA) > truth for s, c in runs) <= 8


@pytest.mark.parametrize("mu", [1.0, 3.0])
def test_knowing_the_trade_off_proves_more(mu: float) -> None:
    runs = [run(mu, 500, seed) for seed in range(10)]
    assert all(gaussian.one_run(*r, DELTA) >= epsilon.one_run(*r, DELTA) for r in runs)


def observed(coins: np.ndarray, tails: bool, rng: np.random.Generator) -> np.ndarray:
    """Canaries of N(coin, 1), all in the outer quarter of these two together, or none."""
    found, open_ = np.empty(len(coins)), np.arange(len(coins))
    while len(open_):
        drawn = rng.normal(size=len(open_)) + coins[open_]
        kept = (np.abs(drawn - 0.5) > OUTER) == tails
        found[open_[kept]], open_ = drawn[kept], open_[~kept]
    return found


OUTER = 1.29401
"""A quarter of N(0, 1), as of N(1, 1), is farther than this from the middle of both."""


def test_what_is_stated_of_an_audit_holds_where_canaries_hang_together() -> None:
    """Each canary is one of a Gaussian mechanism, but one coin puts all in the tails or in none.

    40 runs at 95%: more than 5 above the truth have a chance of 1.4%.
    """
    truth, above = gaussian.epsilon_of(1.0, DELTA), []
    for seed in range(40):
        rng = default_rng([4, seed])
        coins = rng.random(1000) < 0.5
        scores = observed(coins, seed % 4 == 0, rng)
        audit = audit_canaries({"one": scores}, coins, {"delta": DELTA}, seed)
        stated = re.findall(r"at least ([0-9.]+[0-9])", canary_sentence(audit))
        above.append([float(bound) > truth for bound in (*stated, audit["epsilon_roc"].iloc[0])])
    whatever, same, roc = np.sum(above, axis=0)
    assert max(whatever, same) <= 5
    assert roc > 5  # so it must not be stated


def test_too_few_prove_nothing() -> None:
    assert gaussian.one_run([1.0], [True], DELTA) == 0.0
    assert gaussian.from_roc([1.0], [0.0], DELTA) == 0.0
    with pytest.raises(ValueError, match="guesses"):
        gaussian.is_refuted(5, 4, 10, 1.0, 0.05)
