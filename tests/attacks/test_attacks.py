"""What must hold for every attack in conf/attack."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import Memoriser, Shared, digits, names, people
from omegaconf import DictConfig
from torch import Tensor

from attacks.base import Attack, Learns, Particular, Reconstructs
from attacks.calibration.difference import Difference
from benchmark.config.build import build as build_one
from benchmark.config.build import build_all
from benchmark.measures import metrics
from victims.errors import UserError

N = 40
TRAINED = {
    "domias_flow": "density={steps:60}",
    "logan_members": "training={steps:150}",
    "logan_non_members": "training={steps:150}",
    "surrogate": "imitator.model={steps:900,batch_size:200,widths:[256,256],learning_rate:0.003,"
    "decay:0.95}",
    "tartan_federer": "epochs=100",
    "logan": "training={steps:600,width:6,learning_rate:0.006}",
}
"""Attacks that train a network for each victim, and with which settings enough for the controls."""

Draw = Callable[[int, int], Tensor]
"""Seed and number -> so many records."""

Score = Callable[[Tensor], np.ndarray]
"""Queries -> scores."""


def drawn_for(attack: Attack) -> Draw:
    """Images, or people where the attack works on tables only."""
    if isinstance(attack, Particular):
        try:
            attack.refuse((1, 32, 32))
        except UserError:
            return people
    return digits


def known(draw: Draw) -> Tensor:
    """Members that are never queried: those that an attacker may know."""
    return draw(99, 10)


def build(
    config: Callable[..., DictConfig], name: str, change: str = "", distance: str = "l2_lpips"
) -> Attack:
    """One of all attacks: files are composed once for them all."""
    settings = [f"distance={distance}", f"attack=[{','.join(names('attack'))}]"]
    settings += [f"attack.{name}.{change}"] if change else []
    return build_one(config(*settings).attack[name], f"attack.{name}")


def attacked(attack: Attack, members: Tensor, batch_size: int = 64) -> Any:
    """What the attack sees of a memoriser of these records."""
    copies = 1 if getattr(attack, "misses_repeated_records", False) else 4
    everyone = torch.cat([members, known(drawn_for(attack))])
    return Memoriser(everyone).grant(attack.access, batch_size, copies)


def scorer(attack: Attack, members: Tensor, batch_size: int = 64) -> Score:
    """The attack on a memoriser of these records, with what it learns learnt once."""
    view = attacked(attack, members, batch_size)
    if not isinstance(attack, Learns):
        return partial(attack.score, view)
    with TemporaryDirectory() as work:
        return partial(attack.judge, copy.copy(attack).learn(view, Path(work)), view)


class Control(NamedTuple):
    """An attack on memorisers of N records each; what it trains for one serves all controls."""

    name: str
    attack: Attack
    shared: Shared

    def draw(self, seed: int, n: int = N) -> Tensor:
        return drawn_for(self.attack)(seed, n)

    def scorer(self, seed: int) -> Score:
        """The attack on the memoriser of the records of this seed."""
        if self.name not in TRAINED:
            return scorer(self.attack, self.draw(seed))
        view, file = attacked(self.attack, self.draw(seed)), "learnt.npz"
        folder = self.shared(
            f"{self.name} on a memoriser of {seed}",
            lambda folder: np.savez(folder / file, **self.attack.learn(view, folder)),
        )
        return partial(self.attack.judge, dict(np.load(folder / file)), view)


@pytest.fixture(params=names("attack"))
def attack(request: pytest.FixtureRequest, config: Callable[..., DictConfig]) -> Attack:
    return build(config, request.param)


EACH = [
    pytest.param(name, marks=pytest.mark.slow) if name in TRAINED else name
    for name in names("attack")
]


@pytest.fixture(params=EACH)
def control(
    request: pytest.FixtureRequest, config: Callable[..., DictConfig], shared: Shared
) -> Control:
    attack = build(config, request.param, TRAINED.get(request.param, ""))
    return Control(request.param, attack, shared)


@pytest.fixture(params=EACH)
def many(
    request: pytest.FixtureRequest, config: Callable[..., DictConfig], shared: Shared
) -> Control:
    """For tests that score on many victims: by L2, which costs a tenth of LPIPS."""
    attack = build(config, request.param, TRAINED.get(request.param, ""), distance="l2")
    return Control(request.param, attack, shared)


def test_scores_are_finite_float64_one_a_query(attack: Attack) -> None:
    draw = drawn_for(attack)
    view = Memoriser(torch.cat([draw(0, N), known(draw)])).grant(attack.access)
    scores = attack.score(view, draw(1, 7))
    assert scores.shape == (7,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def test_a_score_does_not_depend_on_the_other_queries(attack: Attack) -> None:
    draw = drawn_for(attack)
    score = scorer(attack, draw(0, N), batch_size=5)
    queries = torch.cat([draw(0, 6), draw(1, 6)])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    scores = score(queries)
    np.testing.assert_allclose(score(queries[order]), scores[order], atol=1e-4)
    np.testing.assert_allclose(score(queries[3:5]), scores[3:5], atol=1e-4)


def test_what_is_learnt_is_the_same_again(attack: Attack, tmp_path: Path) -> None:
    if not isinstance(attack, Learns):
        pytest.skip("learns nothing")
    draw = drawn_for(attack)
    view = Memoriser(torch.cat([draw(0, N), known(draw)])).grant(attack.access)
    torch.manual_seed(1)
    learnt = attack.learn(view, tmp_path)
    torch.manual_seed(2)
    with TemporaryDirectory() as work:
        again = attack.learn(view, Path(work))
    assert learnt.keys() == again.keys()
    for name, value in learnt.items():
        np.testing.assert_array_equal(value, again[name])


def test_positive_control_members_of_a_memoriser_are_found(control: Control) -> None:
    score = control.scorer(0)
    assert metrics.auroc(score(control.draw(0)), score(control.draw(1))) >= 0.95


@pytest.mark.slow
def test_negative_control_a_victim_that_never_saw_the_members(many: Control) -> None:
    misses = 0
    for seed in (0, 2, 3, 4, 5):
        members, others = many.draw(1000 + seed, 2 * N).split(N)
        score = many.scorer(seed)
        low, high = metrics.auroc_interval(score(members), score(others))
        misses += not low <= 0.5 <= high
    assert misses <= 1


@pytest.mark.slow
def test_calibration_keeps_both_controls(many: Control) -> None:
    queries = torch.cat([many.draw(0), many.draw(1)])
    combine = Difference().combine
    references = np.stack([many.scorer(seed)(queries) for seed in (2, 4)])
    inside = np.zeros(references.shape, bool)
    misses = 0
    for reference, seed in zip(references, (3, 5), strict=True):
        guess = combine(many.scorer(seed)(queries), reference[None], inside[:1])
        low, high = metrics.auroc_interval(guess[:N], guess[N:])
        misses += not low <= 0.5 <= high
    assert misses <= 1  # one draw in twenty falls outside of a 95% interval
    found = combine(many.scorer(0)(queries), references, inside)
    # A reference's own training adds noise to what is subtracted: less than without calibration.
    assert metrics.auroc(found[:N], found[N:]) >= 0.85


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


def test_attacks_with_a_budget_say_it(config: Callable[..., DictConfig]) -> None:
    """A search without its budget beside it cannot be compared with another."""
    made = build_all(config(f"attack=[{','.join(names('attack'))}]").attack, "attack")
    told = {
        name: attack.evaluations for name, attack in made.items() if hasattr(attack, "evaluations")
    }
    settings = config(f"attack=[{','.join(names('attack'))}]").attack
    searches = ("partial_black_box", "white_box", "encoder")
    wanted = {n: settings[n].get("max_evals", settings[n].get("draws")) for n in searches}
    assert told == wanted
