from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import brunnermunzel, mannwhitneyu, norm, t
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    roc_auc_score,
    roc_curve,
)
from statsmodels.stats.multitest import multipletests

from benchmark.measures import columns, metrics, rates

# Few distinct values: ties within and across the groups.
SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=25)


def joined(x, y):
    return np.r_[np.ones(len(x), int), np.zeros(len(y), int)], np.r_[x, y]


def draw(seed, m=60, n=40, shift=0.7, ties=False):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(shift, 1, m), rng.normal(0, 1, n)
    return (np.round(x), np.round(y)) if ties else (x, y)


def slow_delong(x, y):
    """AUROC, V10 and V01 by the definition: the kernel of every pair."""
    kernel = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return kernel.mean(), kernel.mean(1), kernel.mean(0)


def slow_sides(*pairs):
    """Variance of each group's part of an AUROC, or of the difference of two, and its size."""
    sides = []
    for axis in (1, 2):
        v = slow_delong(*pairs[0])[axis]
        if len(pairs) == 2:
            v = v - slow_delong(*pairs[1])[axis]
        mean = sum(v) / len(v)
        sides.append((sum((e - mean) ** 2 for e in v) / (len(v) - 1) / len(v), len(v)))
    return sides


def slow_variance(*pairs):
    return sum(variance for variance, _ in slow_sides(*pairs))


def slow_quantile(level, *pairs):
    """Student's, with the degrees of freedom of Welch: by its textbook formula."""
    sides = slow_sides(*pairs)
    freedom = sum(v for v, _ in sides) ** 2 / sum(v**2 / (n - 1) for v, n in sides)
    return t.ppf((1 + level) / 2, freedom)


@given(SCORES, SCORES)
def test_against_scikit_learn(x, y):
    labels, scores = joined(x, y)
    assert metrics.auroc(x, y) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert metrics.average_precision(x, y) == pytest.approx(expected, abs=1e-12)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(metrics.roc_curve(x, y), (fpr, tpr), atol=1e-12)


@given(SCORES, SCORES)
def test_best_balanced_accuracy_by_trying_every_threshold(x, y):
    labels, scores = joined(x, y)
    tried = [balanced_accuracy_score(labels, scores >= t) for t in {*scores, np.inf}]
    assert metrics.best_balanced_accuracy(x, y) == pytest.approx(max(tried))
    assert metrics.advantage(x, y) == pytest.approx(2 * max(tried) - 1, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_interval_from_delongs_variance_by_definition(ties, level):
    x, y = draw(2, ties=ties)
    area = slow_delong(x, y)[0]
    margin = slow_quantile(level, (x, y)) * np.sqrt(slow_variance((x, y))) / area / (1 - area)
    odds = np.log(area / (1 - area))
    expected = [1 / (1 + np.exp(-(odds + s * margin))) for s in (-1, 1)]
    np.testing.assert_allclose(metrics.auroc_interval(x, y, level), expected, rtol=1e-10)


@pytest.mark.parametrize("shift", [0.0, 0.6, 1.5])
def test_interval_covers_the_true_auroc(shift):
    truth, runs = norm.cdf(shift / np.sqrt(2)), 600
    hits = 0
    for seed in range(runs):
        low, high = metrics.auroc_interval(*draw([7, seed], 60, 60, shift))
        hits += low <= truth <= high
    # Nominal 95%; four standard errors of 600 runs are 3.6%.
    assert 0.914 <= hits / runs <= 0.986


@pytest.mark.parametrize("n", [5, 10, 20])
def test_few_non_members_prove_no_more_than_the_level_allows(n):
    """Normal quantiles claim an AUROC above 0.5 in up to 5% of guesses where 2.5% are allowed."""
    above = [
        metrics.auroc_interval(*draw([23, seed], 400, n, 0.0))[0] > 0.5 for seed in range(1500)
    ]
    assert np.mean(above) <= 0.036  # 2.5% and less than three standard errors of 1 500 runs


def test_the_error_of_a_small_group_is_that_of_brunner_and_munzel():
    x, y = draw(8, 30, 12, 0.9)
    area, error, freedom = metrics.auroc(x, y), *metrics._delong_error(*metrics._place_scores(x, y))
    expected = brunnermunzel(y, x)
    assert (area - 0.5) / error == pytest.approx(expected.statistic)
    assert 2 * t.sf((area - 0.5) / error, freedom) == pytest.approx(expected.pvalue)


@pytest.mark.slow
@pytest.mark.parametrize(("m", "n", "untied"), [(400, 15, 0.02), (60, 300, 0.02), (200, 200, 0.3)])
def test_a_score_that_most_share_proves_no_leak(m, n, untied):
    """15 non-members that all hold the commonest score have no variance, and prove nothing."""
    rng = np.random.default_rng(5)
    proofs = 0
    for _ in range(200):
        x, y = (np.where(rng.random(k) < untied, rng.random(k), 0) for k in (m, n))
        low, high = metrics.auroc_interval(x, y, 0.99)
        proofs += low > 0.5 or high < 0.5
    assert proofs <= 6
    leaking = np.where(rng.random(m) < 0.5, 1.0, 0.0)
    assert metrics.auroc_interval(leaking, np.zeros(n), 0.99)[0] > 0.5


def test_perfect_separation_keeps_an_interval():
    x, y = np.arange(200.0) + 1000, np.arange(300.0)
    low, high = metrics.auroc_interval(x, y)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 200)), 1.0)  # closed form for k of k
    assert metrics.auroc_interval(y, x) == pytest.approx((0.0, 1 - low))


@given(SCORES, SCORES)
def test_interval_always_holds_the_estimate_and_never_vanishes(x, y):
    low, high = metrics.auroc_interval(x, y)
    assert 0 <= low <= metrics.auroc(x, y) <= high <= 1
    assert high > low


def test_equal_scores_say_nothing():
    low, high = metrics.auroc_interval(np.zeros(50), np.zeros(50))
    assert low < 0.4
    assert high > 0.6
    assert metrics.auroc_p_value(np.zeros(50), np.zeros(50)) == 1


def test_monotone_maps_and_order_change_nothing():
    x, y = draw(3)
    rng = np.random.default_rng(0)
    same = columns.summarise_scores(
        np.exp(rng.permutation(x)) * 1e-3, np.exp(rng.permutation(y)) * 1e-3
    )
    assert same == pytest.approx(columns.summarise_scores(x, y), nan_ok=True)


def test_scores_far_apart_and_close_together_stay_distinct():
    x, y = np.array([1e300, 1 + 1e-15]), np.array([-1e300, 1.0])
    assert metrics.auroc(x, y) == 1
    assert len(metrics.roc_curve(x, y)[0]) == 5


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_p_value_by_permutation(alternative):
    x, y = draw(5, 30, 30, 0.35)
    rng = np.random.default_rng(0)
    both, area = np.r_[x, y], metrics.auroc(x, y)
    null = []
    for _ in range(3000):
        shuffled = rng.permutation(both)
        null.append(slow_delong(shuffled[:30], shuffled[30:])[0])
    null = np.array(null)
    expected = {
        "greater": (null >= area).mean(),
        "less": (null <= area).mean(),
        "two-sided": (abs(null - 0.5) >= abs(area - 0.5)).mean(),
    }[alternative]
    assert metrics.auroc_p_value(x, y, alternative) == pytest.approx(expected, abs=0.035)
    assert (
        metrics.auroc_p_value(x, y, alternative) == mannwhitneyu(x, y, alternative=alternative)[1]
    )


@pytest.mark.parametrize("ties", [False, True])
def test_paired_comparison_by_definition(ties):
    rng = np.random.default_rng(4)
    labels = rng.permutation(np.arange(90) < 50)
    common = rng.normal(size=90) + labels
    a, b = common + 0.4 * rng.normal(size=90), common + rng.normal(size=90)
    if ties:
        a, b = np.round(a), np.round(b)
    pairs = [(s[labels], s[~labels]) for s in (a, b)]
    found = metrics.delong_test(a, b, labels)
    difference = roc_auc_score(labels, a) - roc_auc_score(labels, b)
    error = np.sqrt(slow_variance(*pairs))
    assert found.difference == pytest.approx(difference)
    margin = slow_quantile(0.95, *pairs) * error
    assert (found.low, found.high) == pytest.approx((difference - margin, difference + margin))
    # The p-value is the level at which the interval just reaches 0.
    assert slow_quantile(1 - found.p_value, *pairs) * error == pytest.approx(abs(difference))
    swapped = metrics.delong_test(b, a, labels)
    assert swapped[:3] == pytest.approx((-found.difference, -found.high, -found.low))


def test_paired_comparison_rejects_at_its_level():
    runs, hits = 400, 0
    labels = np.arange(80) < 40
    for seed in range(runs):
        rng = np.random.default_rng([11, seed])
        a, b = (0.8 * labels + rng.normal(size=80) for _ in range(2))
        hits += metrics.delong_test(a, b, labels).p_value < 0.05
    assert 0.01 <= hits / runs <= 0.1  # nominal 5%, four standard errors are 4.4%


def test_paired_comparison_without_variance():
    labels = np.arange(20) < 10
    perfect, useless = labels.astype(float), np.zeros(20)
    assert metrics.delong_test(perfect, perfect, labels).p_value == 1
    found = metrics.delong_test(perfect, useless, labels)
    assert found.difference == 0.5
    assert found.low < 0.5 < found.high
    assert found.p_value == 2.0**-9


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_against_statsmodels(p_values):
    with mock.patch("gc.collect"):  # statsmodels collects garbage in each call: a minute in all
        expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert metrics.holm(p_values).tolist() == pytest.approx(expected)


def test_summary_has_the_columns_of_the_table():
    x, y = draw(6, 150, 120)
    found = columns.summarise_scores(x, y)
    assert set(found) == {
        *("auroc", "auroc_low", "auroc_high", "average_precision", "balanced_accuracy"),
        *("advantage", "n_members", "n_non_members"),
        *(f"{name}{end}" for name in rates.FPR_COLUMNS for end in ("", "_low", "_high")),
    }
    assert (found["n_members"], found["n_non_members"]) == (150, 120)
    assert found["tpr_at_1"] == rates.tpr_at_fpr(x, y, 0.01).tpr
    assert (found["tpr_at_1_low"], found["tpr_at_1_high"]) == rates.tpr_interval(x, y, 0.01)
    assert np.isnan(found["tpr_at_0p1_low"])
    assert found["auroc_low"] < found["auroc"] < found["auroc_high"]


@pytest.mark.parametrize(
    "function",
    [
        columns.summarise_scores,
        metrics.auroc,
        metrics.auroc_interval,
        metrics.auroc_p_value,
        metrics.roc_curve,
        metrics.average_precision,
        metrics.advantage,
        metrics.best_balanced_accuracy,
        lambda x, y: rates.tpr_at_fpr(x, y, 0.5),
    ],
)
def test_bad_scores_are_named(function):
    with pytest.raises(ValueError, match=r"1 of 2 scores of non_members are not finite"):
        function([0.0, 1.0], [0.0, np.nan])
    with pytest.raises(ValueError, match=r"scores of members have shape \(0,\)"):
        function([], [0.0])
    with pytest.raises(ValueError, match=r"scores of members have shape \(2, 1\)"):
        function([[0.0], [1.0]], [0.0])


def test_paired_comparison_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="shapes differ"):
        metrics.delong_test([0.0, 1.0], [0.0], [True, False])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_summary_of_many_scores_is_fast_and_consistent(seed):
    x, y = draw(seed, 2000, 2000)
    found = columns.summarise_scores(x, y)
    assert found["balanced_accuracy"] == (1 + found["advantage"]) / 2
    assert found["tpr_at_10"] >= found["tpr_at_1"] >= found["tpr_at_0p1"]
