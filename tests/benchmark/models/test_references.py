"""Reference models: who is trained on what, what is refused, and one bar for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from tqdm import tqdm

from benchmark.config.build import Factory
from benchmark.config.machine import SHOW_BAR
from benchmark.data.split import Split
from benchmark.job import run
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.models import recipe as models
from benchmark.models.recipe import Blueprint
from benchmark.models.references import Halves, Single, membership_matrix, recipes_of_references
from benchmark.scores.rows import NOTHING_TO_LEARN
from benchmark.store.entries import Store
from benchmark.store.seeds import sub_seed
from victims.dcgan import DCGAN
from victims.errors import UserError
from victims.training.train import skip_steps, training_bar

Config = Callable[..., DictConfig]
BLUEPRINT = Blueprint(Factory(DCGAN, {}, "victim"), bank=10)
HALVES = ("reference=halves", "attack=[discriminator]", "calibration=[lira_online,difference]")


def split(members: int = 50, queries: int = 50, reference: int = 50) -> Split:
    order = np.random.default_rng(0).permutation(1000)
    return Split(
        members=order[:members],
        non_members=order[-queries:],
        reference=order[members : members + reference],
        queried=order[:queries],
        duplicates=0,
    )


@pytest.mark.parametrize("count", [2, 7, 8])
def test_each_query_is_in_half_of_the_models(count: int) -> None:
    queries, _ = split().draw_queries(0)
    made = recipes_of_references(Halves(count, 50), BLUEPRINT, split(), 0)
    inside = membership_matrix(made, queries)
    assert inside.shape == (count, 100)
    assert inside.dtype == bool
    assert set(inside.sum(0)) <= {count // 2, count - count // 2}
    assert (inside.sum(1) == 50).all()


def test_training_records_are_those_of_the_matrix() -> None:
    drawn = split(members=80, queries=50, reference=40)
    queries, _ = drawn.draw_queries(3)
    made = recipes_of_references(Halves(6, 80), BLUEPRINT, drawn, 3)
    for recipe, inside in zip(made, membership_matrix(made, queries), strict=True):
        assert len(recipe.rows) == len(set(recipe.rows)) == 80
        own = set(recipe.rows) - set(queries)
        assert set(recipe.rows) - own == set(queries[inside])
        assert len(own) == 30
        assert own <= set(drawn.reference)
    assert len({tuple(sorted(set(r.rows) - set(queries))) for r in made}) == 6


def test_a_half_takes_no_notice_of_who_is_a_member() -> None:
    queries, is_member = split().draw_queries(0)
    inside = membership_matrix(
        recipes_of_references(Halves(200, 50), BLUEPRINT, split(), 0), queries
    )
    members = inside[::2, is_member].sum(1)  # hypergeometric: 25 +- 2.5
    assert members.mean() == pytest.approx(25, abs=1)
    assert members.std() == pytest.approx(2.51, abs=0.6)


def test_more_models_leave_the_earlier_ones_as_they_are() -> None:
    few, many = (
        recipes_of_references(Halves(count, 50), BLUEPRINT, split(), 0) for count in (3, 8)
    )
    for a, b in zip(few, many, strict=False):
        np.testing.assert_array_equal(a.rows, b.rows)
        assert a.seed == b.seed
    assert len({recipe.seed for recipe in many}) == 8
    other = recipes_of_references(Halves(3, 50), BLUEPRINT, split(), 1)
    assert not np.array_equal(np.sort(few[0].rows), np.sort(other[0].rows))


def test_models_of_the_attackers_own_records_keep_their_keys() -> None:
    for i, recipe in enumerate(recipes_of_references(Single(3, 20), BLUEPRINT, split(), 7)):
        own = sub_seed(7, "reference", i)
        expected = np.random.default_rng(sub_seed(own, "records")).permutation(split().reference)
        np.testing.assert_array_equal(recipe.rows, expected[:20])
        assert recipe.seed == own
    assert not membership_matrix(
        recipes_of_references(Single(3, 20), BLUEPRINT, split(), 7), split().queried
    ).any()


def test_the_store_holds_models_of_exactly_these_records(config: Config) -> None:
    settings = config(*HALVES, "blind=none")
    result = run.run(settings)
    job = prepare(open_request(settings))
    dataset = job.trial.dataset
    trained = {
        meta["config"]["records"] for _, meta in Store(settings.machine.store).find("victim")
    }
    expected = {dataset.digest(recipe.rows) for recipe in job.references}
    assert trained == expected | {dataset.digest(job.trial.split.members)}
    assert len(trained) == 5
    # Another attack and another calibration find them there.
    more = ("attack=[full_black_box]", "calibration=[rmia_online]", "distance=l2", "blind=none")
    again = run.run(config("reference=halves", *more, "ensemble=logistic"))
    assert len(list(Store(settings.machine.store).find("victim"))) == 5
    assert list(again.rows["attack"]) == ["full_black_box", "full_black_box", "ensemble"]
    assert (again.rows["status"] == "ok").all()
    assert list(result.rows["calibrated"]) == ["none", "lira_online", "difference"]
    assert (result.rows["status"] == "ok").all()


def test_a_calibration_without_its_models_is_refused_before_any_training(config: Config) -> None:
    for overrides, parts in (
        (["calibration=[rmia_online]"], ["calibration=rmia_online", "reference=halves"]),
        (["calibration=[lira_offline]"], ["calibration=lira_offline", "reference.count=1"]),
        ([*HALVES, "reference.count=2"], ["calibration=lira_online", "reference.count=2"]),
    ):
        settings = config("attack=[discriminator]", *overrides)
        with pytest.raises(UserError) as raised:
            run.run(settings)
        assert all(part in str(raised.value) for part in parts)
        assert "\n" not in str(raised.value)
        assert not list(Path(settings.machine.store).glob("victim/*"))


def test_an_ensemble_alone_trains_no_models_that_it_could_not_learn_from(config: Config) -> None:
    settings = config(
        "attack=[discriminator]", "ensemble=logistic", "calibration=none", "blind=none"
    )
    rows = run.run(settings).rows
    assert rows["status"].iloc[-1] == NOTHING_TO_LEARN
    assert len(list(Store(settings.machine.store).find("victim"))) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Single(1, 51), "reference.members=51: .* split.reference=50"),
        (lambda: Halves(2, 49), "reference.members=49: .* 50 queries"),
        (lambda: Halves(2, 101), "reference.members=101: .* split.reference=50"),
    ],
)
def test_sizes_that_cannot_be_are_named(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        recipes_of_references(make(), BLUEPRINT, split(), 0)


def test_steps_done_earlier_do_not_count_as_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tqdm, "__init__", SHOW_BAR)  # other tests' jobs may have hidden it
    bar = training_bar("x", 100)
    skip_steps(bar, 60)
    bar.update(10)
    assert bar.n == 70
    bar.start_t -= 10  # ten seconds ago
    state = bar.format_dict
    assert (state["n"] - state["initial"]) / state["elapsed"] == pytest.approx(1, rel=0.1)
    assert "70%" in tqdm.format_meter(**state)
    bar.close()


@pytest.mark.slow
def test_one_bar_counts_what_all_reference_models_still_lack(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Any] = []

    def spy(title: str, steps: int) -> tqdm:
        bars.append(training_bar(title, steps))
        return bars[-1]

    monkeypatch.setattr(models, "training_bar", spy)
    step, done = DCGAN.training_step, []

    def stop_at_ninth(self: DCGAN, batch: Any, i: int) -> None:
        done.append(i)
        if len(done) == 4 + 9:  # victim, two reference models, a step of the third
            raise KeyboardInterrupt
        step(self, batch, i)

    monkeypatch.setattr(DCGAN, "training_step", stop_at_ninth)
    settings = config(*HALVES, "machine.progress=true")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run.run(settings)
    run.run(settings)
    run.run(settings)
    assert [(bar.total, bar.n) for bar in bars] == [(16, 8), (8, 8)]
