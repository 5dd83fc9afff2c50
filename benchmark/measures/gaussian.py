"""Lower bounds on epsilon for mechanisms that lose privacy as the Gaussian mechanism does.

Many noisy steps of private training lose privacy nearly as one Gaussian mechanism would: telling
members from others is then telling N(mu, 1) from N(0, 1) (Dong, Roth, Su 2019, arXiv 1905.02383).
Who assumes this knows the whole trade-off of the two errors from one number, and needs fewer
guesses to prove a loss than `benchmark.measures.epsilon`, which holds for every mechanism. For
others (randomised response, say) the figures here are too large: no promise is called broken by
them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from benchmark.measures.epsilon import (
    SHARES,
    high_end,
    largest_refuted,
    shares_of_guesses,
    split_in_halves,
)

LARGEST = 64.0
"""mu above which nothing is looked for: two Gaussians that far apart never meet."""


def epsilon_of(mu: float, delta: float) -> float:
    """Epsilon of a Gaussian mechanism with means mu apart, at delta; >= 0.

    Balle and Wang 2018, arXiv 1805.06530, theorem 8, solved for epsilon.

    >>> round(epsilon_of(1.0, 1e-5), 3)
    4.377
    """
    if mu <= 0 or ndtr(mu / 2) - ndtr(-mu / 2) <= delta:
        return 0.0

    def excess(epsilon: float) -> float:
        tail = np.exp(min(0.0, epsilon + log_ndtr(-epsilon / mu - mu / 2)))
        return float(ndtr(-epsilon / mu + mu / 2) - tail - delta)

    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-10))


def one_run(
    scores: ArrayLike, included: ArrayLike, delta: float, level: float = 0.95, seed: int = 0
) -> float:
    """Epsilon's lower bound from canaries that a coin put into one training run or not; >= 0.

    The guesses, and the correction for their number, are those of `epsilon.one_run`; what they
    refute is every Gaussian mechanism with a smaller epsilon at delta. That holds however canaries
    hang together in the run. scores (m,), included (m,) bool: see there. Source: see `is_refuted`.
    """
    risk = (1 - level) / len(SHARES)
    found = [_largest_mu(*count, risk) for count in shares_of_guesses(scores, included, seed)]
    return epsilon_of(max(found, default=0.0), delta)


@cache  # as `epsilon.at_least`
def _largest_mu(correct: int, guesses: int, canaries: int, risk: float) -> float:
    """The largest trade-off that so many correct guesses refute; 0 where none is."""
    return largest_refuted(lambda mu: is_refuted(correct, guesses, canaries, mu, risk), LARGEST)


def is_refuted(correct: int, guesses: int, canaries: int, mu: float, risk: float) -> bool:
    """Whether so many correct guesses come in fewer than `risk` of all runs of a mechanism.

    The mechanism is one with a Gaussian trade-off mu. Suppose such runs had that chance. Let right
    (wrong) be the chance that a random canary is guessed rightly (wrongly) in a run with at least i
    correct guesses. The trade-off bounds right by wrong for every i; going down from i = correct,
    both must grow so far that together they exceed the share of the canaries that is guessed.
    Source: Mahloujifar, Melis, Chaudhuri 2024, arXiv 2410.22235, algorithm for f-DP, with k = 2.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} of {guesses} guesses about {canaries} canaries")
    right, wrong = risk * correct / canaries, risk * (guesses - correct) / canaries
    share = guesses / canaries
    for i in range(correct - 1, -1, -1):
        needed = max(wrong, float(ndtr(ndtri(right) - mu)))
        if needed == wrong and i < correct - 1:
            break  # nothing grows any more
        right = min(1.0, right + i / (guesses - i) * (needed - wrong))
        wrong = needed
        if right + wrong > share:
            break  # neither ever falls
    return right + wrong > share


def from_roc(
    members: ArrayLike, non_members: ArrayLike, delta: float, level: float = 0.95, seed: int = 0
) -> float:
    """Epsilon's lower bound from one point of the ROC curve; >= 0.

    mu is at least z(1 - FPR) - z(FNR), z the normal quantiles and the rates the upper ends of
    Clopper and Pearson's intervals, each of level (1 + level) / 2. The threshold is chosen on a
    random half of the scores. members (m,), non_members (n,): scores, larger = more likely a
    member. As `epsilon.from_scores` it takes the queries for independent trials. Canaries of one
    run are that only where nothing in training moves several scores together: else it can pass the
    truth more often than `level` allows, whatever each canary by itself shows. `one_run` cannot.
    Source: Nasr et al. 2023, arXiv 2302.07956.
    Deviation: the threshold is chosen on other queries, not by a correction for all thresholds.
    """
    (choose_in, test_in), (choose_out, test_out) = split_in_halves(members, non_members, seed)
    if min(len(choose_in), len(choose_out)) == 0:
        return 0.0
    thresholds = np.unique(np.concatenate([choose_in, choose_out]))
    best = int(np.argmax(_bounds_on_mu(choose_in, choose_out, thresholds, level)))
    mu = _bounds_on_mu(test_in, test_out, thresholds[best : best + 1], level)
    return epsilon_of(float(mu[0]), delta)


def _bounds_on_mu(
    members: np.ndarray, non_members: np.ndarray, thresholds: np.ndarray, level: float
) -> np.ndarray:
    """Lower bounds (t,): scores >= threshold called members."""
    m, n, tail = len(members), len(non_members), (1 - level) / 2
    missed = high_end(np.searchsorted(np.sort(members), thresholds), m, tail)
    accused = high_end(n - np.searchsorted(np.sort(non_members), thresholds), n, tail)
    return -ndtri(accused) - ndtri(missed)
