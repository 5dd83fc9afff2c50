"""Records found at a low false positive rate, against brute force, scipy and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, binomtest, norm

from benchmark.measures import rates

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=25)


def draw(seed, m=60, n=40, shift=0.7):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, m), rng.normal(0, 1, n)


@given(SCORES, SCORES, st.sampled_from([0.04, 0.1, 0.2, 0.3, 0.5, 1.0]))
def test_tpr_at_fpr_by_trying_every_threshold(x, y, fpr):
    found = rates.tpr_at_fpr(x, y, fpr)
    x, y = np.array(x), np.array(y)
    if 1 / len(y) > fpr:
        assert np.isnan(found).all()
        return
    tried = [(x >= t).mean() for t in [*x, *y, np.inf] if (y >= t).mean() <= fpr + 1e-12]
    assert found.tpr == max(tried)
    assert (x >= found.threshold).mean() == found.tpr
    assert (y >= found.threshold).mean() <= fpr + 1e-12


def test_all_or_none_of_the_members_are_found():
    _, y = draw(0, 200, 200)
    assert rates.tpr_at_fpr(y - 99, y, 0.1).tpr == rates.tpr_interval(y - 99, y, 0.1)[0] == 0
    assert rates.tpr_at_fpr(y + 99, y, 0.1).tpr == rates.tpr_interval(y + 99, y, 0.1)[1] == 1


@pytest.mark.parametrize(("k", "n"), [(0, 9), (3, 9), (9, 9), (70, 200)])
def test_the_interval_of_a_proportion_is_that_of_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(method="exact")
    assert rates.clopper_pearson(k, n) == pytest.approx((expected.low, expected.high))


@given(SCORES, SCORES, st.sampled_from([0.04, 0.2, 0.5, 1.0]))
def test_the_interval_at_a_false_positive_rate_holds_the_estimate(x, y, fpr):
    tpr, (low, high) = rates.tpr_at_fpr(x, y, fpr).tpr, rates.tpr_interval(x, y, fpr)
    assert (np.isnan(tpr) and np.isnan([low, high]).all()) or 0 <= low <= tpr <= high <= 1
    assert 0 <= rates.found_p_value(x, y, fpr) <= 1


@pytest.mark.parametrize(("n", "resolved"), [(99, False), (100, True)])
def test_a_rate_needs_enough_non_members(n, resolved):
    x, y = draw(1, 50, n)
    assert np.isfinite(rates.tpr_at_fpr(x, y, 0.01).tpr) == resolved


def test_ties_are_not_split():
    x, y = np.ones(10), np.r_[np.ones(5), np.zeros(5)]
    assert rates.tpr_at_fpr(x, y, 0.4).tpr == 0  # five false alarms come at once
    assert rates.tpr_at_fpr(x, y, 0.5).tpr == 1


def test_allowed_false_positives_survive_rounding():
    y = np.arange(100.0)  # 0.29 * 100 < 29 in binary
    assert rates.tpr_at_fpr([71.0, 70.0], y, 0.29).tpr == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 2.0])
@pytest.mark.parametrize(("n", "fpr"), [(200, 0.01), (1000, 0.01), (200, 0.1)])
def test_the_interval_covers_the_threshold_too_and_no_more(shift, n, fpr):
    """With the threshold taken as given a 95% interval misses in up to half of all cases."""
    truth, runs = norm.sf(norm.isf(fpr) - shift), 400
    ends = [rates.tpr_interval(*draw([13, seed], n, n, shift), fpr) for seed in range(runs)]
    low, high = np.array(ends).T
    # 2.5% each; four standard errors of 400 runs are 3.1%.
    assert max((low > truth).mean(), (high < truth).mean()) <= 0.056
    if n * fpr >= 10:  # counts of a few members jump over their level
        assert ((low > truth) | (high < truth)).mean() >= 0.01


SHAPES = {
    "laplace": (lambda rng, n: rng.laplace(size=n) + 1, lambda rng, n: rng.laplace(size=n)),
    "exponential": (lambda rng, n: 2 * rng.exponential(size=n), lambda rng, n: rng.exponential(size=n)),
    "cauchy": (lambda rng, n: rng.standard_cauchy(n) + 5, lambda rng, n: rng.standard_cauchy(n)),
    "copies": (lambda rng, n: rng.normal(size=n) + 99 * (rng.random(n) < 0.05), lambda rng, n: rng.normal(size=n)),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_interval_covers_other_shapes_than_the_normal(shape):
    inside, outside = SHAPES[shape]
    many = [draw_one(np.random.default_rng(0), 400_000) for draw_one in (inside, outside)]
    truth = (many[0] > np.quantile(many[1], 0.99)).mean()
    missed = 0
    for seed in range(200):
        rng = np.random.default_rng([29, seed])
        low, high = rates.tpr_interval(inside(rng, 500), outside(rng, 500), 0.01)
        missed += not low <= truth <= high
    assert missed <= 20  # 5% of 200 may; more than 20 with a chance of 0.2%


@pytest.mark.parametrize("found", [4, 12, 25])
@pytest.mark.parametrize(("n", "fpr"), [(500, 0.02), (500, 0.002)])
def test_the_interval_of_a_guess_is_that_of_random_orders(n, fpr, found):
    """Of a curve as steep as guessing, the ends are where scipy's distributions put them."""
    allowed, m = int(fpr * n), 400
    y = -np.arange(n, dtype=float)  # the (k + 1)-th largest is -k
    x = np.r_[np.full(found, 0.5), np.full(m - found, -1000.0)]
    level = 1 - 2 * rates.found_p_value(x, y, fpr)
    # Where the members are drawn like the non-members: beta-binomial, or negative hypergeometric.
    p_value = betabinom.sf(found - 1, m, allowed + 1, n - allowed)
    assert rates.found_p_value(x, y, fpr) == pytest.approx(p_value)
    if 1e-4 < p_value < 0.5:  # the quadrature is for levels that somebody asks for
        assert rates.tpr_interval(x, y, fpr, level)[0] == pytest.approx(fpr, rel=0.01)


def test_interval_and_test_agree_about_a_guess():
    """A page that says "leak" beside an interval that reaches guessing contradicts itself."""
    both = set()
    for seed in range(300):
        x, y = draw([31, seed], 500, 500, 0.45)
        proven = rates.found_p_value(x, y, 0.01) < 0.025
        above = rates.tpr_interval(x, y, 0.01)[0] > 0.01
        assert proven or not above
        both.add((proven, above))
    assert {(True, True), (False, False)} <= both


def test_members_above_all_non_members_by_counting_orders():
    x, y = np.r_[np.full(10, 5.0), np.full(990, -5.0)], np.linspace(-1, 1, 1000)
    expected = np.prod([(1000 - i) / (2000 - i) for i in range(10)])
    assert rates.found_p_value(x, y, 0) == pytest.approx(expected)
    assert rates.found_p_value(x, y, 0.0005) == 1  # half a false alarm is not resolved
    assert rates.found_p_value(y, y, 0) == 1
