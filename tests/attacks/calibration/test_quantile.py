"""Quantile regression on strangers: the line it finds, its false alarms, and its controls."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Memoriser, composed, digits
from scipy.optimize import linprog
from scipy.stats import norm

from attacks.calibration.quantile import Quantile, Strangers, describe_records
from attacks.discriminator import DiscriminatorScore
from benchmark.job import run
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.measures import metrics
from benchmark.store.entries import Store
from victims.access import AccessibleDiscriminator
from victims.errors import UserError


def drawn(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose level and spread depend on the first of two features; both (n,), (n, 2)."""
    rng = np.random.default_rng(seed)
    features = rng.uniform(0, 1, (n, 2))
    return 3 * features[:, 0] + (1 + features[:, 0]) * rng.normal(size=n), features


def test_the_line_has_the_smallest_pinball_loss() -> None:
    """A linear program of its own, by other variables than scikit-learn's."""
    scores, features = drawn(0, 60)
    known = np.c_[np.ones(30), features[::2]]
    # Minimise sum(0.9 * above + 0.1 * below), scores = known @ weights + above - below.
    costs = np.r_[np.zeros(3), np.full(30, 0.9), np.full(30, 0.1)]
    equal = np.c_[known, np.eye(30), -np.eye(30)]
    bounds = [(None, None)] * 3 + [(0, None)] * 60
    weights = linprog(costs, A_eq=equal, b_eq=scores[::2], bounds=bounds).x[:3]
    asked, places = drawn(1, 20)
    found = Quantile(0.1).judge(asked, places, Strangers(scores, features))
    np.testing.assert_allclose(
        found.scores, asked - np.c_[np.ones(20), places] @ weights, atol=1e-6
    )
    held_out = scores[1::2] - np.c_[np.ones(30), features[1::2]] @ weights
    assert found[1:] == ((held_out > 0).sum(), 30)


@pytest.mark.slow
def test_with_many_strangers_it_is_the_true_quantile() -> None:
    asked, places = drawn(1, 500)
    found = Quantile(0.1).judge(asked, places, Strangers(*drawn(0, 20_000)))
    true = 3 * places[:, 0] + (1 + places[:, 0]) * norm.ppf(0.9)
    np.testing.assert_allclose(asked - found.scores, true, atol=0.12)
    assert found.alarms / found.strangers == pytest.approx(0.1, abs=0.01)


def test_few_strangers_give_more_false_alarms_than_asked_for_and_it_says_so() -> None:
    """Held-out strangers tell the rate that other strangers have, on average over draws."""
    told, real = [], []
    for seed in range(200):
        found = Quantile(0.05).judge(*drawn(1000 + seed, 400), Strangers(*drawn(seed, 80)))
        told.append(found.alarms / found.strangers)
        real.append((found.scores > 0).mean())
    assert np.mean(real) > 0.07
    assert np.mean(told) == pytest.approx(np.mean(real), abs=0.012)


def test_it_finds_members_whose_scores_drown_in_what_records_are_like() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 3))
    member = np.arange(400) < 200
    scores = 5 * features[:, 0] + rng.normal(size=400) + 2 * member
    known = rng.normal(size=(400, 3))
    strangers = Strangers(5 * known[:, 0] + rng.normal(size=400), known)
    found = Quantile(0.05).judge(scores, features, strangers).scores
    assert metrics.auroc(scores[member], scores[~member]) < 0.7
    best = norm.cdf(2 / 2**0.5)
    assert metrics.auroc(found[member], found[~member]) == pytest.approx(best, abs=0.03)


def memorised(members: torch.Tensor, seed: int) -> np.ndarray:
    """Calibrated scores of 40 digits, of a memoriser of `members`; 60 strangers."""
    view = Memoriser(members).grant(AccessibleDiscriminator)
    queries, known = digits(seed, 40), digits(200 + seed, 60)
    score = DiscriminatorScore().score
    strangers = Strangers(score(view, known), describe_records(known))
    return Quantile(0.05).judge(score(view, queries), describe_records(queries), strangers).scores


def test_positive_control() -> None:
    found = memorised(digits(0, 40)[:20], 0)
    assert metrics.auroc(found[:20], found[20:]) >= 0.95


def test_negative_control() -> None:
    misses = 0
    for seed in range(5):
        found = memorised(digits(100 + seed, 20), seed)
        low, high = metrics.auroc_interval(found[:20], found[20:])
        misses += not low <= 0.5 <= high
    assert misses <= 1


def test_a_score_does_not_depend_on_its_company() -> None:
    asked, places = drawn(1, 50)
    strangers = Strangers(*drawn(0, 80))
    whole = Quantile(0.05).judge(asked, places, strangers).scores
    np.testing.assert_array_equal(
        Quantile(0.05).judge(asked[7:9], places[7:9], strangers).scores, whole[7:9]
    )


@pytest.mark.parametrize("value", [1.0, 0.1, 0.3, 1e-8, 1e6 + 0.1])
def test_scores_that_never_vary_lie_on_their_quantile(value: float) -> None:
    features = np.random.default_rng(0).normal(size=(96, 3))
    strangers = Strangers(np.full(96, value), features)
    found = Quantile(0.05).judge(np.full(8, value), features[:8], strangers)
    assert (found.scores == 0).all()
    assert (found.alarms, found.strangers) == (0, 48)


def test_rounding_puts_no_tied_score_above_its_quantile() -> None:
    """Half of the strangers share the largest score: none lies above a quantile of 95%."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scores, features = np.minimum(rng.normal(size=96), 0.1), rng.normal(size=(96, 3))
        found = Quantile(0.05).judge(scores, features, Strangers(scores, features))
        beyond = found.scores[1::2] > 1e-3
        assert found.alarms == beyond.sum(), seed


def test_a_score_far_off_leaves_the_quantile_of_the_others() -> None:
    rng = np.random.default_rng(0)
    scores, features = rng.normal(size=96), rng.normal(size=(96, 3))
    scores[np.argmax(scores[::2]) * 2] = 10.0
    near = Quantile(0.05).judge(scores, features, Strangers(scores, features))
    scores[scores == 10.0] = 1e12
    far = Quantile(0.05).judge(scores, features, Strangers(scores, features))
    assert far.alarms == near.alarms
    np.testing.assert_allclose(far.scores[1::2], near.scores[1::2], atol=1e-3)


def test_brightness_contrast_and_roughness_by_plain_loops() -> None:
    (image,) = digits(0, 1)
    rows = image[0].double().tolist()
    pixels = [value for row in rows for value in row]
    beside = [abs(b - a) for row in rows for a, b in pairwise(row)]
    below = [abs(b - a) for r, s in pairwise(rows) for a, b in zip(r, s, strict=True)]
    expected = [np.mean(pixels), np.std(pixels), np.mean(beside) + np.mean(below)]
    np.testing.assert_allclose(describe_records(image[None])[0], expected, rtol=1e-12)


JOB = ("calibration=[quantile]", "quality=none", "blind=none", "distance=l2")


def test_a_job_with_it_trains_no_reference_model(tmp_path: Path) -> None:
    attacks = "attack=[discriminator,monte_carlo_values]"
    config = composed(tmp_path, *JOB, attacks)
    result = run.run(config)
    assert len([*Store(config.machine.store).find("victim")]) == 1
    rows = result.rows.set_index(["attack", "calibrated"])
    assert rows.loc[("discriminator", "quantile"), "status"] == "ok"
    said = r"of 12 other strangers \d+\.\d% \[.*\] lie above their quantile, 10\.0% asked for"
    assert re.fullmatch(said, rows.loc[("discriminator", "quantile"), "warnings"])
    alone = rows.loc[("monte_carlo_values", "quantile")]
    assert alone["status"] == "it knows the attacker's own records already"
    own = result.scores[result.scores["attack"] == "discriminator"]
    raw, calibrated = (own[own["calibrated"] == by]["score"] for by in ("none", "quantile"))
    assert not np.allclose(raw, calibrated)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["calibration.quantile.alpha=0.05"],
            r"^calibration\.quantile\.alpha=0\.05 needs 40 records .* split\.reference=24",
        ),
        (["calibration.quantile.alpha=0.6"], r"^calibration\.quantile\.alpha=0\.6: "),
        (["data=randhie", "victim=wgan_gp_table"], "^calibration=quantile describes images"),
    ],
)
def test_what_it_cannot_work_on(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(open_request(composed(tmp_path, *JOB, "attack=[discriminator]", *words)))
