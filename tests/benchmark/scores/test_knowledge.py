"""What an attacker knows beside the victim: never a query, part of the key, n/a where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor

from attacks.base import Learns, Learnt
from attacks.discriminator import DiscriminatorScore
from benchmark.job import run
from benchmark.job.attack import scores_under
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.scores import knowledge, scoring
from benchmark.scores.target import Trained
from benchmark.store.entries import Store
from victims.access import (
    FullBlackBox,
    FullBlackBoxWithMembers,
    FullBlackBoxWithReference,
    WhiteBox,
    of_victim,
)
from victims.dcgan import DCGAN
from victims.errors import Unsuited, UserError
from victims.vae import VAE

Config = Callable[..., DictConfig]


class Counts(Learns):
    """Learns how many records it was given; scores every query by it."""

    access = FullBlackBoxWithMembers
    learning: ClassVar[list[int]] = []

    def __init__(self, stop: bool = False) -> None:
        self.stop = stop

    def learn(self, view: Any, work: Path) -> Learnt:
        self.learning.append(len(list(work.glob("half"))))
        (work / "half").touch()
        if self.stop:
            raise KeyboardInterrupt
        sizes = [len(view.reference), len(getattr(view, "members", ()))]
        return {"sizes": np.array(sizes)}

    def judge(self, learnt: Learnt, view: Any, queries: Tensor) -> np.ndarray:
        return learnt["sizes"].sum() + queries.flatten(1).mean(1).double().numpy()


class CountsReference(Counts):
    access = FullBlackBoxWithReference


class Demanding(CountsReference):
    """Wants more than it is given."""

    def learn(self, view: Any, work: Path) -> Learnt:
        raise Unsuited("it needs a million records")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests: the data and the victim are made once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def config(config: Config, store: Path) -> Config:
    return lambda *overrides: config(f"machine.store={store}", *overrides)


def scored(store: Path) -> int:
    return sum(1 for _ in Store(store).find("scores"))


def with_attack(config: Config, name: str, *overrides: str) -> DictConfig:
    settings = config("attack=[discriminator]", *overrides)
    target = f"{__name__}.{name}"
    OmegaConf.update(settings, "attack.counts", {"_target_": target}, force_add=True)
    return settings


def row(result: Any, calibrated: str = "none") -> Any:
    return result.rows.set_index(["attack", "calibrated"]).loc["counts", calibrated]


@pytest.fixture(autouse=True)
def fresh() -> None:
    Counts.learning.clear()


def test_of_a_view_with_records_of_the_attacker_the_victim_offers_the_rest() -> None:
    assert of_victim(FullBlackBoxWithMembers) is FullBlackBox
    assert of_victim(WhiteBox) is WhiteBox
    for victim in (DCGAN, VAE):
        assert victim.can_grant(FullBlackBoxWithReference)


def test_known_members_are_never_queries_and_reference_records_are_disjoint(config: Config) -> None:
    trial = prepare(open_request(config("split.queries=16"))).trial
    given = knowledge.known_digests(FullBlackBoxWithMembers, trial.split, trial.dataset)
    assert set(given) == {"reference", "members"}
    held = knowledge.known_records(FullBlackBoxWithMembers, trial.split, trial.dataset)
    assert {name: len(rows) for name, rows in held.items()} == {"reference": 24, "members": 8}
    queries = {record.tobytes() for record in trial.queries.records(slice(None)).numpy()}
    for records in held.values():
        assert not queries & {record.tobytes() for record in records}
    trained_on = {record.tobytes() for record in trial.dataset.records(trial.split.members).numpy()}
    assert {record.tobytes() for record in held["members"]} <= trained_on
    assert not trained_on & {record.tobytes() for record in held["reference"]}
    assert knowledge.known_records(FullBlackBox, trial.split, trial.dataset) == {}


def test_what_is_learnt_is_learnt_once_and_stored(
    config: Config, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "chunk", lambda attack: 10)
    settings = with_attack(config, "Counts", "split.queries=16", "calibration=none")
    result = run.run(settings)
    assert row(result)["access"] == "full_black_box_with_members"
    assert Counts.learning == [0]  # once, though there were four chunks
    scores = result.scores[result.scores["attack"] == "counts"]["score"]
    assert scores.between(24 + 8 - 1, 24 + 8 + 1).all()
    run.run(with_attack(config, "Counts", "split.queries=16", "calibration=none"))
    assert Counts.learning == [0]
    assert sum(1 for _ in Store(store).find("learnt")) == 1


def test_learning_goes_on_where_it_was_interrupted(config: Config) -> None:
    settings = with_attack(config, "Counts", "split.queries=15", "calibration=none")
    job = prepare(open_request(settings))
    trial, counts = job.trial, job.request.attackers["counts"]
    counts.attack.stop = True
    victim = run.obtain_model(trial.recipe, job.workshop(trial))
    target = Trained(victim, trial.split, trial.dataset, batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        scores_under(job, trial, counts, target)
    counts.attack.stop = False
    scores_under(job, trial, counts, target)
    assert Counts.learning == [0, 1]


def test_what_the_attacker_knows_enters_the_key(config: Config, store: Path) -> None:
    run.run(with_attack(config, "CountsReference", "calibration=none", "split.reference=21"))
    before = scored(store)
    run.run(with_attack(config, "CountsReference", "calibration=none", "split.reference=20"))
    assert Counts.learning == [0, 0]
    # What it does not know does not: the discriminator's scores were found.
    assert scored(store) == before + 1


@pytest.mark.slow
def test_each_model_is_learnt_and_members_are_not_known_of_a_reference(config: Config) -> None:
    result = run.run(with_attack(config, "CountsReference", "reference=halves"))
    assert row(result, "difference")["status"] == "ok"
    assert Counts.learning == [0] * 5
    result = run.run(with_attack(config, "CountsReference"))  # its strangers were trained on
    assert "trained on the records" in row(result, "difference")["status"]
    result = run.run(with_attack(config, "Counts", "split.queries=16"))
    assert row(result)["status"] == "ok"
    assert row(result, "difference")["status"] == "known members are the victim's only"


def test_without_records_an_attack_reads_no_access(config: Config) -> None:
    result = run.run(with_attack(config, "Counts", "calibration=none"))  # every member is queried
    assert row(result)["status"] == "no access"
    nothing = ["split.reference=0", "reference.members=1", "calibration=none"]
    assert row(run.run(with_attack(config, "CountsReference", *nothing)))["status"] == "no access"
    settings = with_attack(config, "CountsReference", *nothing)
    with open_dict(settings):
        del settings.attack["discriminator"]
    with pytest.raises(UserError, match=r"split\.reference=0: the attacker owns no records"):
        run.run(settings)


def test_an_attack_that_a_trained_model_does_not_suit_ends_no_job(config: Config) -> None:
    result = run.run(with_attack(config, "Demanding", "reference=halves"))
    for variant in ("none", "difference"):
        assert row(result, variant)["status"] == "not run: it needs a million records"
    assert "discriminator" in set(result.ok["attack"])
    settings = with_attack(config, "Demanding", "calibration=none")
    with open_dict(settings):
        del settings.attack["discriminator"]
    with pytest.raises(UserError, match="no attack could run: counts: not run: it needs"):
        run.run(settings)


def test_an_attack_that_needs_other_records_is_refused_before_training(
    config: Config, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, shape: tuple[int, ...]) -> None:
        raise UserError(f"not for {shape}")

    monkeypatch.setattr(DiscriminatorScore, "refuse", refuse, raising=False)
    with pytest.raises(UserError, match="not for"):
        run.run(config("attack=[discriminator]", "split.members=23"))
    victims = [meta["config"]["count"] for _, meta in Store(store).find("victim")]
    assert 23 not in victims
