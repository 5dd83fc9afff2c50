"""From seeds to one number: against scipy, and where an error is missing."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.measures.estimate import (
    Estimate,
    combine_differences,
    difference_between,
    of_auroc,
    over_seeds,
    over_strata,
    seeds_to_tell,
    spearman,
    widen_by,
)
from benchmark.measures.metrics import Difference

VALUES = [0.31, 0.12, 0.22, 0.27]


def test_without_errors_of_their_own_it_is_the_t_test() -> None:
    found = over_seeds(VALUES)
    test = stats.ttest_1samp(VALUES, 0, alternative="greater")
    low, high = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert found[:5] == pytest.approx((np.mean(VALUES), low, high, test.pvalue, 4))


def test_the_wider_error_counts() -> None:
    wide = over_seeds(VALUES, [0.4] * 4)  # four independent intervals of +- 0.4
    assert wide.half == pytest.approx(0.4 / 2)
    assert wide.p_value == pytest.approx(stats.norm.sf(np.mean(VALUES) / (0.2 / 1.959963985)))
    assert over_seeds(VALUES, [1e-6] * 4) == over_seeds(VALUES)


def test_seeds_that_agree_by_accident_keep_their_own_error() -> None:
    assert over_seeds([0.2, 0.2, 0.2], [0.1] * 3).half == pytest.approx(0.1 / np.sqrt(3))


def test_one_seed_has_its_own_interval_or_none() -> None:
    assert over_seeds([0.2], [0.1])[:3] == pytest.approx((0.2, 0.1, 0.3))
    assert np.isnan(over_seeds([0.2])[1:4]).all()
    assert over_seeds([], []).seeds == 0


def test_between_seeds_can_be_left_out() -> None:
    assert over_seeds(VALUES, [0.01] * 4, between=False).half == pytest.approx(0.01 / 2)


def test_exact_rank_correlation() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6))
    b += a
    found = spearman(a, b)
    assert found.mean == pytest.approx(stats.spearmanr(a, b).statistic)
    tried = [stats.spearmanr(a, order).statistic for order in permutations(b)]
    assert found.p_value == pytest.approx(np.mean(np.array(tried) >= found.mean - 1e-9))
    assert -1 <= found.low < found.mean < found.high <= 1


def test_a_perfect_order_has_the_smallest_p_value() -> None:
    assert spearman(np.arange(5.0), np.arange(5.0)).p_value == pytest.approx(1 / 120)


def test_a_perfect_order_of_few_excludes_no_more_than_chance_does() -> None:
    """Five values are in the reverse order once in 120 times, whatever the interval says."""
    found = spearman(np.arange(5.0), -np.arange(5.0))
    assert found.low == found.mean == pytest.approx(-1)
    assert found.high > -0.6
    assert found.p_at_least(0.2) >= 1 / 120


def test_a_rank_correlation_is_seldom_excluded_where_there_is_none() -> None:
    for n in (5, 7, 12):
        rng = np.random.default_rng(n)
        p_values = [spearman(*rng.normal(size=(2, n))).p_at_least(0.0) for _ in range(60)]
        assert np.mean(np.array(p_values) < 0.05) <= 0.134  # 5% and three standard errors


def test_the_error_between_families_is_welch_s() -> None:
    a, b = [0.9, 0.8, 0.95], [0.5, 0.7]
    found = difference_between(a, b)
    test = stats.ttest_ind(a, b, equal_var=False, alternative="greater")
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found[:4] == pytest.approx((np.mean(a) - np.mean(b), low, high, test.pvalue))
    narrow = over_seeds([0.28, 0.29, 0.28])
    both = widen_by(narrow, found)
    assert (both.half, both.p_value, both.seeds) == (found.half, found.p_value, 3)
    assert both.p_at_least(3) > widen_by(narrow, found._replace(freedom=np.inf)).p_at_least(3)
    assert widen_by(found._replace(seeds=2), narrow).half == found.half
    assert difference_between([1.0, 1.0], [0.5, 0.5])[:3] == (0.5, 0.5, 0.5)


def test_the_p_value_of_a_margin_or_more() -> None:
    """Exact beyond an interval of Student's; never too small."""
    found = over_seeds(VALUES)
    for margin in (0.25, 0.4, 0.5, 1.0):
        exact = stats.ttest_1samp(VALUES, margin, alternative="less").pvalue
        assert found.p_at_least(margin) >= exact * (1 - 1e-9)
        assert margin < found.high or found.p_at_least(margin) == pytest.approx(exact)
    assert found.p_at_least(found.high) == pytest.approx(0.025)
    wide = over_seeds(VALUES, [0.4] * 4)
    normal = stats.norm.cdf((wide.mean - 0.5) / (0.2 / 1.959963985))
    assert wide.p_at_least(0.5) >= normal
    assert np.isnan(over_seeds([0.2]).p_at_least(0.5))
    for certain in (0.0, 0.2):
        assert np.isnan(over_seeds([certain] * 3, [0.0] * 3).p_at_least(0.5))


def test_an_interval_that_ends_at_one_is_not_taken_for_a_narrow_one() -> None:
    """Three seeds that separate 128 of 128 each know no more than 384 of 384 (closed form)."""
    low = 0.025 ** (1 / 128)
    rows = pd.DataFrame({"auroc": [1.0] * 3, "auroc_low": [low] * 3, "auroc_high": [1.0] * 3})
    assert of_auroc(rows).low <= 0.025 ** (1 / 384)
    assert combine_differences([Difference(0.5, 0.1, 0.6, 0.01)]).half == pytest.approx(0.4)


def test_families_that_differ_by_chance_are_seldom_told_apart() -> None:
    """Two families against three with effects of their own, three seeds that agree well.

    Seeds alone say that nearly every such difference is certain.
    """
    rng = np.random.default_rng(4)
    alone, with_families = [], []
    for _ in range(200):
        a, b = rng.normal(0, 0.1, 2), rng.normal(0, 0.1, 3)
        own = [a.mean() - b.mean() + rng.normal(0, 0.01) for _ in range(3)]
        estimate = over_seeds(own)
        alone.append(estimate.p_value < 0.05)
        with_families.append(widen_by(estimate, difference_between(a, b)).p_value < 0.05)
    assert np.mean(with_families) <= 0.096  # 5% and three standard errors
    assert np.mean(alone) >= 0.3


def test_families_that_differ_far_more_than_they_vary_are_told_apart() -> None:
    assert (
        widen_by(over_seeds([0.29] * 3), difference_between([1.0, 0.98], [0.71, 0.7, 0.68])).p_value
        < 0.01
    )


@pytest.mark.parametrize("gain", [0.03, 0.1])
def test_as_many_seeds_as_planned_decide_four_times_in_five(gain: float) -> None:
    rng, spread, level = np.random.default_rng(0), 0.06, 0.01
    measured = Estimate(gain, 0.0, 0.0, 0.5, 3, error=spread / np.sqrt(3))
    planned = seeds_to_tell(gain, measured, level)
    assert planned is not None
    drawn = rng.normal(gain, spread, (4000, planned))
    p_values = stats.ttest_1samp(drawn, 0, axis=1, alternative="greater").pvalue
    assert 0.75 < np.mean(p_values < level) < 0.9
    half = stats.ttest_1samp(drawn[:, : planned // 2], 0, axis=1, alternative="greater").pvalue
    assert np.mean(half < level) < 0.6


def test_no_number_of_seeds_tells_what_is_not_there() -> None:
    found = over_seeds(VALUES)
    assert seeds_to_tell(-0.01, found, 0.05) is None
    assert seeds_to_tell(1e-6, found, 0.05) is None
    families = difference_between([0.1, 0.9], [0.2, 0.6])
    assert seeds_to_tell(0.1, widen_by(found, families), 0.05) is None


def seeds_of(*strata: list[float]) -> list[dict[int, float]]:
    """Strata whose seeds are 0, 1, 2, ..."""
    return [dict(enumerate(values)) for values in strata]


def test_over_strata_is_welch_s_test() -> None:
    """Of two strata that share no seed, and differ within each alike."""
    a, b = [0.31, 0.12, 0.22], [-0.02, 0.07, 0.05, 0.01]
    found = over_strata([dict(enumerate(a)), dict(enumerate(b, start=3))], 1e-6)
    test = stats.ttest_ind(a, np.negative(b), equal_var=False, alternative="greater")
    assert found.mean == pytest.approx((np.mean(a) + np.mean(b)) / 2)
    assert found.p_value == pytest.approx(test.pvalue)
    assert (found.mean / found.error) == pytest.approx(test.statistic)


def test_what_a_seed_does_to_all_strata_is_student_s_test_over_seeds() -> None:
    shared = np.array([0.1, -0.05, 0.02, 0.2])
    strata = [(shared + at).tolist() for at in (0.1, 0.5, 0.3)]
    found = over_strata(seeds_of(*strata), 1e-6)
    test = stats.ttest_1samp(np.mean(strata, axis=0), 0, alternative="greater")
    assert found.p_value == pytest.approx(test.pvalue)
    assert tuple(found[1:3]) == pytest.approx(
        stats.ttest_1samp(np.mean(strata, axis=0), 0).confidence_interval()
    )


def test_opposite_effects_of_a_seed_do_not_hide_what_lies_in_a_stratum() -> None:
    found = over_strata(seeds_of([0.1, 0.3], [0.3, 0.1]), 1e-6)
    assert found.error == pytest.approx(np.sqrt(np.var([0.1, 0.3], ddof=1) / 2 / 2))


def test_strata_may_differ_as_they_like() -> None:
    """A mean of one stratum's 0.9 and another's 0.1 is known as well as each of them."""
    apart = over_strata(seeds_of([0.9, 0.91, 0.92], [0.1, 0.11, 0.12]), 0.004)
    alike = over_strata(seeds_of([0.5, 0.51, 0.52], [0.5, 0.51, 0.52]), 0.004)
    assert apart.half == pytest.approx(alike.half)
    assert over_strata(seeds_of([0.9], [0.1]), 0.02).half == pytest.approx(0.02)


def test_a_stratum_of_one_value_spreads_as_the_others() -> None:
    one = over_strata(seeds_of([0.5, 0.6], [0.55]), 1e-6)
    spread = np.var([0.5, 0.6], ddof=1)
    assert one.error == pytest.approx(np.sqrt((spread / 2 + spread) / 4))
    assert one.half == pytest.approx(stats.t.ppf(0.975, 1) * one.error)


def test_the_order_of_strata_and_missing_seeds_change_nothing() -> None:
    strata = [{0: 0.1, 1: 0.3, 2: 0.2}, {1: 0.5, 2: 0.9}, {2: 0.4}]
    one, other = over_strata(strata, 0.01), over_strata(strata[::-1], 0.01)
    assert one[:4] == pytest.approx(other[:4])
    assert np.isfinite(one[:4]).all()
