"""What must hold for every attack in conf/attack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import Memoriser, digits, names
from omegaconf import DictConfig

from attacks.base import Attack, Reconstructs
from attacks.calibration import Difference
from benchmark import metrics
from benchmark.config import build_all

N = 40


def build(config: Callable[..., DictConfig], name: str) -> Attack:
    settings = ["distance=l2_lpips", f"attack=[{name}]"]
    return build_all(config(*settings).attack, "attack")[name]


@pytest.fixture(params=names("attack"))
def attack(request: pytest.FixtureRequest, config: Callable[..., DictConfig]) -> Attack:
    return build(config, request.param)


def test_scores_are_finite_float64_one_a_query(attack: Attack) -> None:
    view = Memoriser(digits(0, N)).grant(attack.access)
    scores = attack.score(view, digits(1, 7))
    assert scores.shape == (7,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def test_a_score_does_not_depend_on_the_other_queries(attack: Attack) -> None:
    view = Memoriser(digits(0, N)).grant(attack.access, batch_size=5)
    queries = torch.cat([digits(0, 6), digits(1, 6)])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    scores = attack.score(view, queries)
    np.testing.assert_allclose(attack.score(view, queries[order]), scores[order], atol=1e-4)
    np.testing.assert_allclose(attack.score(view, queries[3:5]), scores[3:5], atol=1e-4)


def test_positive_control_members_of_a_memoriser_are_found(attack: Attack) -> None:
    members, others = digits(0, N), digits(1, N)
    view = Memoriser(members).grant(attack.access)
    area = metrics.auroc(attack.score(view, members), attack.score(view, others))
    assert area >= 0.95


def test_negative_control_a_victim_that_never_saw_the_members(attack: Attack) -> None:
    misses = 0
    for seed in range(5):
        trained_on, members, others = digits(1000 + seed, 3 * N).split(N)
        view = Memoriser(trained_on).grant(attack.access)
        low, high = metrics.auroc_interval(attack.score(view, members), attack.score(view, others))
        misses += not low <= 0.5 <= high
    assert misses <= 1


def test_calibration_keeps_both_controls(attack: Attack) -> None:
    members, others = digits(0, N), digits(1, N)
    queries = torch.cat([members, others])
    reference = attack.score(Memoriser(digits(2, N)).grant(attack.access), queries)[None]
    seen = attack.score(Memoriser(members).grant(attack.access), queries)
    unseen = attack.score(Memoriser(digits(3, N)).grant(attack.access), queries)
    found = Difference().combine(seen, reference)
    guess = Difference().combine(unseen, reference)
    assert metrics.auroc(found[:N], found[N:]) >= 0.95
    low, high = metrics.auroc_interval(guess[:N], guess[N:])
    assert low <= 0.5 <= high


def test_reconstructions_have_the_losses_they_are_scored_by(attack: Attack) -> None:
    if not isinstance(attack, Reconstructs):
        pytest.skip("no reconstruction attack")
    view = Memoriser(digits(0, N)).grant(attack.access)
    queries = digits(0, 5)
    losses, found = attack.reconstruct(view, queries)
    assert found.shape == queries.shape
    np.testing.assert_allclose(-losses, attack.score(view, queries), atol=1e-5)


def test_an_attack_that_reaches_for_more_than_its_view_fails() -> None:
    from victims.access import FullBlackBox

    view = Memoriser(digits(0, N)).grant(FullBlackBox)
    with pytest.raises(AttributeError):
        view.generate(torch.zeros(1, 12))
