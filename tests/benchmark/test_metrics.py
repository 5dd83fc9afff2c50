import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest, mannwhitneyu, norm
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    roc_auc_score,
    roc_curve,
)
from statsmodels.stats.multitest import multipletests

from benchmark import metrics
from benchmark.result import TPR_COLUMNS

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


def slow_variance(*pairs):
    """Variance of the AUROC, or of the difference of two: sums over components, no numpy.var."""
    sides = []
    for axis in (1, 2):
        v = slow_delong(*pairs[0])[axis]
        if len(pairs) == 2:
            v = v - slow_delong(*pairs[1])[axis]
        mean = sum(v) / len(v)
        sides.append(sum((e - mean) ** 2 for e in v) / (len(v) - 1) / len(v))
    return sum(sides)


@given(SCORES, SCORES)
def test_against_scikit_learn(x, y):
    labels, scores = joined(x, y)
    assert metrics.auroc(x, y) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert metrics.average_precision(x, y) == pytest.approx(expected, abs=1e-12)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(metrics.roc(x, y), (fpr, tpr), atol=1e-12)


@given(SCORES, SCORES)
def test_best_balanced_accuracy_by_trying_every_threshold(x, y):
    labels, scores = joined(x, y)
    tried = [balanced_accuracy_score(labels, scores >= t) for t in [*scores, np.inf]]
    assert metrics.best_balanced_accuracy(x, y) == pytest.approx(max(tried))
    assert metrics.advantage(x, y) == pytest.approx(2 * max(tried) - 1, abs=1e-12)


@given(SCORES, SCORES, st.sampled_from([0.04, 0.1, 0.2, 0.3, 0.5, 1.0]))
def test_tpr_at_fpr_by_trying_every_threshold(x, y, fpr):
    found = metrics.tpr_at_fpr(x, y, fpr)
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
    assert metrics.tpr_at_fpr(y - 99, y, 0.1).tpr == metrics.tpr_interval(y - 99, y, 0.1)[0] == 0
    assert metrics.tpr_at_fpr(y + 99, y, 0.1).tpr == metrics.tpr_interval(y + 99, y, 0.1)[1] == 1


@pytest.mark.parametrize(("k", "n"), [(0, 9), (3, 9), (9, 9), (70, 200)])
def test_the_interval_of_a_proportion_is_that_of_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(method="exact")
    assert metrics.clopper_pearson(k, n) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("shift", [0.0, 2.0])
@pytest.mark.parametrize(("n", "fpr"), [(200, 0.01), (1000, 0.01), (200, 0.1)])
def test_the_interval_at_a_false_positive_rate_covers_the_threshold_too(shift, n, fpr):
    """With the threshold taken as given a 95% interval misses in up to half of all cases."""
    truth, runs = norm.sf(norm.isf(fpr) - shift), 400
    ends = [metrics.tpr_interval(*draw([13, seed], n, n, shift), fpr) for seed in range(runs)]
    low, high = np.array(ends).T
    # 2.5% each; four standard errors of 400 runs are 3.1%.
    assert max((low > truth).mean(), (high < truth).mean()) <= 0.056


@pytest.mark.parametrize(("n", "fpr"), [(500, 0.02), (500, 0.002)])
def test_the_interval_at_a_false_positive_rate_by_its_parts(n, fpr):
    x, y = draw(3, 400, n, 1.5)
    low, high = metrics.tpr_interval(x, y, fpr)
    top, kept = np.sort(y)[::-1], 1.0
    sure = [k for k in range(n) if binom.cdf(k, n, fpr) <= 0.0125]  # k of n are above top[k]
    if not sure:
        sure, kept = [1], fpr / beta.ppf(0.9875, 2, n - 1)
    found = (x > top[sure[-1]]).sum()
    assert low == pytest.approx(kept * beta.ppf(0.0125, found, 401 - found))
    most = (x >= top[next(j for j in range(n) if binom.sf(j, n, fpr) <= 0.0125)]).sum()
    assert high == pytest.approx(beta.ppf(0.9875, most + 1, 400 - most))
    assert low < metrics.tpr_at_fpr(x, y, fpr).tpr < high


@given(SCORES, SCORES, st.sampled_from([0.04, 0.2, 0.5, 1.0]))
def test_the_interval_at_a_false_positive_rate_holds_the_estimate(x, y, fpr):
    tpr, (low, high) = metrics.tpr_at_fpr(x, y, fpr).tpr, metrics.tpr_interval(x, y, fpr)
    assert (np.isnan(tpr) and np.isnan([low, high]).all()) or 0 <= low <= tpr <= high <= 1
    assert 0 <= metrics.found_p_value(x, y, fpr) <= 1


@pytest.mark.parametrize(("n", "resolved"), [(99, False), (100, True)])
def test_a_rate_needs_enough_non_members(n, resolved):
    x, y = draw(1, 50, n)
    assert np.isfinite(metrics.tpr_at_fpr(x, y, 0.01).tpr) == resolved


def test_ties_are_not_split():
    x, y = np.ones(10), np.r_[np.ones(5), np.zeros(5)]
    assert metrics.tpr_at_fpr(x, y, 0.4).tpr == 0  # five false alarms come at once
    assert metrics.tpr_at_fpr(x, y, 0.5).tpr == 1


def test_allowed_false_positives_survive_rounding():
    y = np.arange(100.0)  # 0.29 * 100 < 29 in binary
    assert metrics.tpr_at_fpr([71.0, 70.0], y, 0.29).tpr == 0.5


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_interval_from_delongs_variance_by_definition(ties, level):
    x, y = draw(2, ties=ties)
    area = slow_delong(x, y)[0]
    margin = norm.ppf((1 + level) / 2) * np.sqrt(slow_variance((x, y))) / area / (1 - area)
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
    same = metrics.summary(np.exp(rng.permutation(x)) * 1e-3, np.exp(rng.permutation(y)) * 1e-3)
    assert same == pytest.approx(metrics.summary(x, y), nan_ok=True)


def test_scores_far_apart_and_close_together_stay_distinct():
    x, y = np.array([1e300, 1 + 1e-15]), np.array([-1e300, 1.0])
    assert metrics.auroc(x, y) == 1
    assert len(metrics.roc(x, y)[0]) == 5


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
    assert (found.low, found.high) == pytest.approx(
        (difference - 1.959964 * error, difference + 1.959964 * error), rel=1e-5
    )
    assert found.p_value == pytest.approx(2 * norm.cdf(-abs(difference) / error))
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
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert metrics.holm(p_values).tolist() == pytest.approx(expected)


def test_summary_has_the_columns_of_the_table():
    x, y = draw(6, 150, 120)
    found = metrics.summary(x, y)
    assert set(metrics.FPR_COLUMNS) == set(TPR_COLUMNS)
    assert set(found) == {
        *("auroc", "auroc_low", "auroc_high", "average_precision", "balanced_accuracy"),
        *("advantage", "n_members", "n_non_members"),
        *(f"{name}{end}" for name in TPR_COLUMNS for end in ("", "_low", "_high")),
    }
    assert (found["n_members"], found["n_non_members"]) == (150, 120)
    assert found["tpr_at_1"] == metrics.tpr_at_fpr(x, y, 0.01).tpr
    assert (found["tpr_at_1_low"], found["tpr_at_1_high"]) == metrics.tpr_interval(x, y, 0.01)
    assert np.isnan(found["tpr_at_0p1_low"])
    assert found["auroc_low"] < found["auroc"] < found["auroc_high"]


@pytest.mark.parametrize(
    "function",
    [
        metrics.summary,
        metrics.auroc,
        metrics.auroc_interval,
        metrics.auroc_p_value,
        metrics.roc,
        metrics.average_precision,
        metrics.advantage,
        metrics.best_balanced_accuracy,
        lambda x, y: metrics.tpr_at_fpr(x, y, 0.5),
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
    found = metrics.summary(x, y)
    assert found["balanced_accuracy"] == (1 + found["advantage"]) / 2
    assert found["tpr_at_10"] >= found["tpr_at_1"] >= found["tpr_at_0p1"]
