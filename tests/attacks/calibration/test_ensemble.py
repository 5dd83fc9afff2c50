"""The ensemble of attacks: where the best combination is known, and the controls."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from attacks.calibration.ensemble import LogisticEnsemble
from benchmark.measures import metrics
from victims.errors import UserError

MODELS = 8


def scores(seed: int, n: int, gaps: tuple[float, ...], level: float = 0.0):
    """Attacks (a) whose scores are N(0, 1) plus a gap where the model has seen the query.

    level: how far apart the levels of two models lie.
    """
    rng = np.random.default_rng(seed)
    division = np.array([rng.permutation(n) < n // 2 for _ in range(MODELS // 2)])
    inside = np.concatenate([division, ~division])
    member = rng.permutation(n) < n // 2
    gap = np.array(gaps)[:, None, None]
    references = rng.normal(size=(len(gaps), MODELS, n)) + gap * inside
    references += level * rng.normal(size=(len(gaps), MODELS, 1))
    victim = rng.normal(size=(len(gaps), n)) + gap[:, 0] * member
    return victim, references, inside, member


def auroc(values: np.ndarray, member: np.ndarray) -> float:
    return metrics.auroc(values[member], values[~member])


@pytest.mark.parametrize("level", [0.0, 20.0])
def test_two_independent_attacks_are_combined_as_well_as_can_be(level: float) -> None:
    victim, references, inside, member = scores(0, 4000, (0.6, 0.8), level)
    found = LogisticEnsemble().combine(victim, references, inside)
    assert found.shape == (4000,)
    assert found.dtype == np.float64
    best = NormalDist().cdf(np.hypot(0.6, 0.8) / 2**0.5)
    assert auroc(found, member) == pytest.approx(best, abs=0.015)
    assert auroc(found, member) > max(auroc(values, member) for values in victim) + 0.03


def test_levels_of_models_do_not_matter() -> None:
    """A critic's output is defined up to a constant, another one for each model."""
    victim, references, inside, _ = scores(2, 300, (0.6, 0.8))
    offsets = 20 * np.random.default_rng(3).normal(size=(2, MODELS, 1))
    ours = LogisticEnsemble().combine(victim, references, inside)
    theirs = LogisticEnsemble().combine(victim + 9, references + offsets, inside)
    np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-6)


def test_an_attack_that_knows_nothing_costs_nothing_and_a_reversed_one_is_turned() -> None:
    victim, references, inside, member = scores(1, 2000, (1.0, 0.0, -1.0))
    alone = auroc(victim[0], member)
    assert auroc(LogisticEnsemble().combine(victim, references, inside), member) > alone


def test_nothing_is_found_where_the_victim_never_saw_the_queries() -> None:
    misses = 0
    for seed in range(10):
        victim, references, inside, member = scores(seed, 200, (0.0, 0.0))
        found = LogisticEnsemble().combine(victim, references + 2.0 * inside, inside)
        low, high = metrics.auroc_interval(found[member], found[~member])
        misses += not low <= 0.5 <= high
    assert misses <= 2


def test_against_scikit_learns_pipeline_on_features_made_one_by_one() -> None:
    victim, references, inside, _ = scores(2, 30, (0.5, 1.0))
    centred = references - references.mean(2, keepdims=True)

    def features(own: np.ndarray, others: list[int]) -> np.ndarray:
        made, own = np.empty((30, 4)), own - own.mean(1, keepdims=True)
        for i in range(30):
            for a in range(2):
                unseen = [centred[a, k, i] for k in others if not inside[k, i]]
                made[i, a], made[i, 2 + a] = own[a, i], own[a, i] - np.mean(unseen)
        return StandardScaler().fit_transform(made)

    models = range(MODELS)
    training = [features(references[:, j], [k for k in models if k != j]) for j in models]
    model = LogisticRegression(C=0.5, max_iter=1000)
    model.fit(np.concatenate(training), np.concatenate([inside[j] for j in models]))
    expected = model.decision_function(features(victim, list(models)))
    found = LogisticEnsemble(0.5).combine(victim, references, inside)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_scores_that_never_vary_stay_finite() -> None:
    _, references, inside, _ = scores(3, 20, (1.0,))
    found = LogisticEnsemble().combine(np.ones((1, 20)), np.ones_like(references), inside)
    assert np.isfinite(found).all()


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="regularisation=0"):
        LogisticEnsemble(0)
