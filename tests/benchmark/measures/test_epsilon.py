"""Lower bounds on epsilon: against closed forms and simulated mechanisms with a known epsilon."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from benchmark.measures.epsilon import at_least, from_scores, one_run, p_value


def randomised_response(m: int, epsilon: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers (m,) that are right with chance e^epsilon / (1 + e^epsilon), and the coins."""
    generator = np.random.default_rng(seed)
    coins = generator.random(m) < 0.5
    lies = generator.random(m) > 1 / (1 + np.exp(-epsilon))
    # Answers are two values; a little noise below them makes an order without changing the meaning.
    return (coins ^ lies) + 1e-3 * generator.random(m), coins


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_randomised_response_is_not_accused_more_often_than_promised(epsilon: float) -> None:
    """100 independent runs at 95%: more than 10 accusations have a chance under 1.2%."""
    runs = [randomised_response(400, epsilon, seed) for seed in range(100)]
    accused = [one_run(*run, delta=0.0) > epsilon for run in runs]
    assert sum(accused) <= 10
    split = [from_scores(s[c], s[~c], 0.0, seed=i) > epsilon for i, (s, c) in enumerate(runs)]
    assert sum(split) <= 10


def test_the_bounds_come_close_to_the_truth() -> None:
    scores, coins = randomised_response(20_000, 2.0, 5)
    assert 1.8 < one_run(scores, coins, delta=0.0) <= 2.0
    answers = scores.round()
    assert 1.8 < from_scores(answers[coins], answers[~coins], 0.0) <= 2.0


def test_without_delta_the_p_value_is_a_binomial_tail() -> None:
    expected = binomtest(70, 100, 1 / (1 + np.exp(-0.5)), alternative="greater").pvalue
    assert p_value(70, 100, 100, 0.5, 0.0) == pytest.approx(expected)
    assert p_value(0, 100, 100, 0.5, 0.0) == 1.0


def test_delta_adds_what_the_definition_says() -> None:
    m, r, v, epsilon, delta = 60, 40, 30, 1.0, 1e-3
    q = np.exp(epsilon) / (1 + np.exp(epsilon))
    shares = [sum(binom.pmf(v - j, r, q) for j in range(1, i + 1)) / i for i in range(1, v + 1)]
    expected = sum(binom.pmf(k, r, q) for k in range(v, r + 1)) + 2 * m * delta * max(shares)
    assert p_value(v, r, m, epsilon, delta) == pytest.approx(expected)


def test_a_mechanism_that_uses_its_delta_is_not_accused() -> None:
    """With chance delta every canary is shown as it is, else by randomised response."""
    epsilon, delta, m = 1.0, 1e-3, 100
    accused = 0
    for seed in range(200):
        generator = np.random.default_rng([7, seed])
        scores, coins = randomised_response(m, epsilon, seed)
        if generator.random() < delta:
            scores = coins + 1e-3 * scores
        accused += one_run(scores, coins, delta) > epsilon
    assert accused <= 18  # 5% of 200 and 2.6 standard deviations


def test_all_guesses_right_give_the_bound_of_a_binomial() -> None:
    found = at_least(100, 100, 100, 0.0)
    assert (1 / (1 + np.exp(-found))) ** 100 == pytest.approx(0.05)
    assert at_least(50, 100, 100, 0.0) == 0.0
    assert at_least(100, 100, 100, 1e-3) < found


def test_the_rarer_side_is_seen_too() -> None:
    """Scores that only non-members reach prove as much as those that only members reach."""
    generator = np.random.default_rng(0)
    members, non_members = generator.normal(size=(2, 2000))
    members[:400] += 100
    up = from_scores(members, non_members, 1e-5)
    down = from_scores(-non_members, -members, 1e-5)
    assert up > 3
    assert down > 3


def test_too_few_scores_prove_nothing() -> None:
    assert from_scores([1.0], [0.0], 0.0) == 0.0
    assert one_run(np.array([1.0]), np.array([True]), 0.0) == 0.0
    assert from_scores(np.zeros(50), np.zeros(50), 0.0) == 0.0


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="finite"):
        from_scores([np.nan, 1.0], [0.0, 1.0], 0.0)
    with pytest.raises(ValueError, match="coins"):
        one_run(np.zeros(3), np.zeros(2, bool), 0.0)
    with pytest.raises(ValueError, match="guesses"):
        p_value(5, 4, 10, 1.0, 0.0)
