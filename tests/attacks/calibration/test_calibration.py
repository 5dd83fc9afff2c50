"""Calibrations on scores whose right answer is known, and the controls of every one of them."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist, mean, stdev
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import Memoriser, built, digits, names
from omegaconf import DictConfig

from attacks.calibration.difference import Calibration, Difference
from attacks.calibration.lira import OfflineLiRA, OnlineLiRA, Variance, moderate_variance
from attacks.calibration.rmia import A, OfflineRMIA, OnlineRMIA
from attacks.discriminator import DiscriminatorScore
from benchmark.config.build import build_all
from benchmark.measures import metrics
from victims.access import AccessibleDiscriminator
from victims.errors import UserError

N = 40
MODELS = 8


@pytest.fixture(params=[name for name in names("calibration") if name not in ("none", "quantile")])
def calibration(request: pytest.FixtureRequest, config: Callable[..., DictConfig]) -> Calibration:
    name = request.param
    return build_all(config(f"calibration=[{name}]").calibration, "calibration")[name]


def score(trained_on: torch.Tensor, queries: torch.Tensor) -> np.ndarray:
    view = Memoriser(trained_on).grant(AccessibleDiscriminator)
    return DiscriminatorScore().score(view, queries)


def halves(queries: int, seed: int) -> np.ndarray:
    """Which of MODELS saw which query: (MODELS, queries), half of each row and of each column."""
    rng = np.random.default_rng(seed)
    divisions = [rng.permutation(queries) < queries // 2 for _ in range(MODELS // 2)]
    return np.array([side for division in divisions for side in (division, ~division)])


def memorisers(seed: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Queries (2N), members first; scores under models of their halves; who saw what."""
    queries, inside = digits(seed, 2 * N), halves(2 * N, seed)
    return queries, np.stack([score(queries[saw], queries) for saw in inside]), inside


def test_positive_control(calibration: Calibration) -> None:
    queries, references, inside = memorisers(0)
    found = calibration.combine(score(queries[:N], queries), references, inside)
    assert found.shape == (2 * N,)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    assert metrics.auroc(found[:N], found[N:]) >= 0.95


@pytest.mark.slow
def test_negative_control(calibration: Calibration) -> None:
    misses = 0
    for seed in range(5):
        queries, references, inside = memorisers(seed)
        found = calibration.combine(score(digits(100 + seed, N), queries), references, inside)
        low, high = metrics.auroc_interval(found[:N], found[N:])
        misses += not low <= 0.5 <= high
    assert misses <= 1


def test_order_of_queries_and_of_models_does_not_matter(calibration: Calibration) -> None:
    rng = np.random.default_rng(0)
    victim, references, inside = rng.normal(size=30), rng.normal(size=(8, 30)), halves(30, 0)
    expected = calibration.combine(victim, references, inside)
    order, models = rng.permutation(30), rng.permutation(8)
    shuffled = references[models][:, order], inside[models][:, order]
    found = calibration.combine(victim[order], *shuffled)
    np.testing.assert_allclose(found, expected[order], rtol=1e-9, atol=1e-12)


def test_scores_that_never_vary_stay_finite(calibration: Calibration) -> None:
    found = calibration.combine(np.arange(6.0), np.ones((8, 6)), halves(6, 0))
    assert np.isfinite(found).all()


def test_difference_asks_only_models_that_have_not_seen_the_query() -> None:
    references = np.array([[1.0, 10.0], [3.0, 20.0], [5.0, 90.0]])
    inside = np.array([[True, False], [False, False], [False, True]])
    found = Difference().combine(np.array([7.0, 7.0]), references, inside)
    np.testing.assert_array_equal(found, [7 - (3 + 5) / 2, 7 - (10 + 20) / 2])


def gaussian_scores(seed: int, n: int, models: int, spread: float, gap: float):
    """Query i scores N(level_i + gap, sd) where seen and N(level_i, sd) elsewhere."""
    rng = np.random.default_rng(seed)
    level, sd = spread * rng.normal(size=n), 0.5
    inside = (np.arange(models)[:, None] + np.arange(n)) % 2 == 0
    references = level + gap * inside + sd * rng.normal(size=(models, n))
    member = np.arange(n) < n // 2
    victim = level + gap * member + sd * rng.normal(size=n)
    return level, sd, references, inside, member, victim


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("variance", get_args(Variance))
def test_lira_on_gaussians_is_the_known_likelihood_ratio(variance: str, shrink: bool) -> None:
    level, sd, references, inside, _, victim = gaussian_scores(0, 60, 20000, 3.0, 0.4)
    found = OnlineLiRA(variance, shrink).combine(victim, references, inside)
    # log N(s; level + gap, sd) - log N(s; level, sd)
    known = (0.4 * (victim - level) - 0.4**2 / 2) / sd**2
    np.testing.assert_allclose(found, known, atol=0.15)
    offline = OfflineLiRA(variance).combine(victim, references, inside)
    tails = [1 - NormalDist(m, sd).cdf(s) for m, s in zip(level, victim, strict=True)]
    np.testing.assert_allclose(np.exp(-offline), tails, atol=0.02)


def test_lira_reaches_the_auroc_of_the_best_test_where_the_raw_score_guesses() -> None:
    _, sd, references, inside, member, victim = gaussian_scores(1, 4000, 64, 100.0, 1.0)
    best = NormalDist().cdf(1.0 / sd / 2**0.5)  # two Gaussians a gap of 1 / sd apart
    found = OnlineLiRA().combine(victim, references, inside)
    assert metrics.auroc(found[member], found[~member]) == pytest.approx(best, abs=0.02)
    assert metrics.auroc(victim[member], victim[~member]) == pytest.approx(0.5, abs=0.03)


def test_lira_against_one_query_at_a_time() -> None:
    rng = np.random.default_rng(2)
    victim, references, inside = rng.normal(size=9), rng.normal(size=(8, 9)), halves(8, 3)
    inside = np.concatenate([inside, inside[:, :1]], axis=1)
    online = OnlineLiRA("per_query").combine(victim, references, inside)
    offline = OfflineLiRA("per_query").combine(victim, references, inside)
    for i, s in enumerate(victim):
        seen, unseen = (references[mask, i].tolist() for mask in (inside[:, i], ~inside[:, i]))
        within, without = (NormalDist(mean(x), stdev(x)) for x in (seen, unseen))
        assert online[i] == pytest.approx(np.log(within.pdf(s) / without.pdf(s)))
        assert offline[i] == pytest.approx(-np.log(1 - without.cdf(s)))


def test_pooled_variance_is_around_each_querys_own_mean() -> None:
    references = np.array([[0.0, 100.0], [2.0, 102.0], [0.0, 0.0], [0.0, 0.0]])
    inside = np.array([[False, False], [False, False], [True, True], [True, True]])
    found = OfflineLiRA("pooled").combine(np.array([1.0, 103.0]), references, inside)
    sd = 2**0.5  # both queries: (1 + 1) / (2 - 1)
    assert found == pytest.approx([-np.log(0.5), -np.log(1 - NormalDist().cdf(2 / sd))])


def test_variances_are_shrunken_by_as_much_as_they_scatter_by_chance() -> None:
    rng = np.random.default_rng(0)
    n, free, prior, centre = 20000, 5, 8.0, 2.0
    real = centre * prior / rng.chisquare(prior, n)
    found = real * rng.chisquare(free, n) / free
    known = (prior * centre + free * found) / (prior + free)  # Smyth 2004, with the prior known
    np.testing.assert_allclose(moderate_variance(found, np.full(n, free)), known, rtol=0.1)
    equal = 3.0 * rng.chisquare(free, n) / free
    shrunken = moderate_variance(equal, np.full(n, free))  # next to no prior spread: the pooled one
    np.testing.assert_allclose(shrunken, equal.mean(), rtol=0.15)
    flat = moderate_variance(np.array([1.0, 1.1, 0.9]), np.full(3, free))
    np.testing.assert_allclose(flat, 1.0)
    assert np.isfinite(moderate_variance(np.array([0.0, 0.0, 1.0, 4.0]), np.full(4, 1))).all()


def test_shrunken_variances_gain_where_queries_differ_and_lose_nothing_where_not() -> None:
    rng = np.random.default_rng(3)
    for spread, least in ((0.0, -0.005), (1.0, 0.02)):
        sd = np.exp(spread * rng.normal(size=4000))
        member, inside = np.arange(4000) < 2000, np.zeros((6, 4000), bool)
        references = sd * rng.normal(size=(6, 4000))
        victim = np.sqrt(sd) * member + sd * rng.normal(size=4000)
        found = [
            metrics.auroc(score[member], score[~member])
            for score in (
                OfflineLiRA(variance).combine(victim, references, inside)
                for variance in ("shrunken", "pooled", "per_query")
            )
        ]
        assert found[0] - found[1] >= least
        assert found[0] - found[2] >= -0.01


def test_common_variance_is_that_of_both_kinds_of_models() -> None:
    references = np.array([[0.0, 5.0], [2.0, 7.0], [0.0, 0.0], [6.0, 6.0]])
    inside = np.array([[False, False], [False, False], [True, True], [True, True]])
    found = OnlineLiRA("common").combine(np.array([1.0, 1.0]), references, inside)
    sd = (40 / 4) ** 0.5  # squares 2 and 18, one degree of freedom each, two queries
    expected = [NormalDist(3, sd).pdf(1) / NormalDist(m, sd).pdf(1) for m in (1, 6)]
    np.testing.assert_allclose(found, np.log(expected))


def test_shrinking_helps_with_few_models_and_changes_nothing_with_many() -> None:
    for models, least, most in ((8, 0.02, 1), (4000, -0.001, 0.001)):
        _, _, references, inside, member, victim = gaussian_scores(5, 2000, models, 3.0, 0.3)
        gained = []
        for shrink in (True, False):
            found = OnlineLiRA("common", shrink).combine(victim, references, inside)
            gained.append(metrics.auroc(found[member], found[~member]))
        assert least <= gained[0] - gained[1] <= most


def test_gaps_that_differ_from_query_to_query_are_kept() -> None:
    rng = np.random.default_rng(6)
    gap, inside = rng.uniform(0, 4, 500), halves(500, 7)
    references = rng.normal(size=(MODELS, 500)) * 0.05 + gap * inside
    victim = rng.uniform(0, gap)
    shrunk, plain = (
        OnlineLiRA("common", shrink).combine(victim, references, inside) for shrink in (True, False)
    )
    assert np.corrcoef(shrunk, plain)[0, 1] > 0.999


@pytest.mark.parametrize(("spread", "expected"), [(0.0, 0.0), (100.0, 1.0)])
def test_offline_rmia_is_tuned_where_membership_is_known(spread: float, expected: float) -> None:
    _, _, references, inside, _, victim = gaussian_scores(8, 400, 8, spread, 2.0)
    calibration = OfflineRMIA()
    chosen = calibration.tune_a(references, inside)
    assert abs(chosen - expected) <= 0.2
    found = calibration.combine(victim, references, inside)
    np.testing.assert_array_equal(found, OfflineRMIA(chosen).combine(victim, references, inside))
    assert calibration.tune_a(references, np.zeros_like(inside)) == A


@pytest.mark.parametrize("gamma", [1.0, 1.3])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_rmia_against_a_loop_over_pairs(gamma: float, temperature: float) -> None:
    rng = np.random.default_rng(4)
    victim, references, inside = rng.normal(size=20), rng.normal(size=(6, 20)), halves(20, 5)[:6]
    highest = max(victim.max(), references.max())

    def likelihood(s: float) -> float:
        return np.exp((s - highest) / (temperature * np.std(references)))

    def evidence(i: int, a: float | None) -> float:
        of = {side: [] for side in (True, False)}
        for model in range(6):
            of[bool(inside[model, i])].append(likelihood(references[model, i]))
        if a is None:
            return (mean(of[True]) + mean(of[False])) / 2
        return ((1 + a) * mean(of[False]) + (1 - a)) / 2

    choices = {None: OnlineRMIA(gamma, temperature)}
    choices |= {a: OfflineRMIA(a, gamma, temperature) for a in (0.0, 0.3, 1.0)}
    for a, calibration in choices.items():
        ratio = [likelihood(victim[i]) / evidence(i, a) for i in range(20)]
        wins = [[ratio[i] / ratio[j] > gamma for j in range(20) if j != i] for i in range(20)]
        found = calibration.combine(victim, references, inside)
        np.testing.assert_allclose(found, [np.mean(row) for row in wins])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: built(OnlineLiRA, "calibration", variance="global"),
            "variance=global: input should be 'shrunken', 'pooled', 'common' or 'per_query'",
        ),
        (lambda: built(OnlineRMIA, "calibration", gamma=0.5), "gamma=0.5"),
        (lambda: built(OnlineRMIA, "calibration", temperature=0), "temperature=0"),
        (lambda: built(OfflineRMIA, "calibration", gamma=0.5), "gamma=0.5"),
        (lambda: OfflineRMIA(a=1.5), "a=1.5: allowed is 0 to 1"),
    ],
)
def test_bad_settings_are_named(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
