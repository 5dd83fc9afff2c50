"""Whole sets: used, not used, and sets that differ by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audit_models import table
from omegaconf import DictConfig

from benchmark.audit import audit_set, suspects
from benchmark.audit.request import open_request
from benchmark.audit.suspects import Finding, SetAudit, of_suspects
from victims.errors import UserError

TRAIN = table(0, 300)
FAST = "attack=[full_black_box,closest_record_ratio]"


def repeated(frame: pd.DataFrame, seed: int = 9) -> pd.DataFrame:
    """What a generator releases that repeats its records with little noise."""
    rng = np.random.default_rng(seed)
    drawn = frame.iloc[rng.integers(0, len(frame), 600)].reset_index(drop=True)
    drawn["age"] += rng.normal(0, 1, 600)
    return drawn


@pytest.fixture
def asked(audit_config: Callable[..., DictConfig]) -> Callable[..., SetAudit]:
    def run(*words: str, **sources: Any) -> SetAudit:
        return suspects.run_set_audit(open_request(audit_config(FAST, *words), sources))

    return run


def test_a_set_that_was_used_is_found_and_one_that_was_not_is_not(
    asked: Callable[..., SetAudit], tmp_path: Path
) -> None:
    given = {"unseen": table(3, 200), "samples": repeated(TRAIN)}
    used = asked("fail_if.set_p_value=0.01", suspects=TRAIN[:80], **given)
    assert (used.word, used.exit_code, list(used.exceeded)) == ("used", 3, ["set_p_value"])
    assert used.finding.p_value < 0.01
    assert used.finding.blind_p_value >= suspects.ALIKE
    assert (used.finding.suspects, used.finding.unseen) == (80, 200)
    page = used.write(tmp_path / "out").read_text()
    assert "80 suspects" in page
    assert "If both sets were drawn alike, the suspects were used" in page
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (written["verdict"], written["exit_code"]) == ("used", 3)
    assert written["features"] == ["full_black_box", "closest_record_ratio"]
    other = asked("fail_if.set_p_value=0.01", suspects=table(2, 80), **given)
    assert (other.word, other.exit_code) == ("not shown", 0)
    assert "proves nothing" in " ".join(other.finding.headline())


def test_sets_that_differ_by_themselves_prove_nothing(asked: Callable[..., SetAudit]) -> None:
    given = {"suspects": TRAIN[:80], "samples": repeated(TRAIN)}
    older = table(1, 200).assign(age=lambda frame: frame["age"] + 40)
    found = asked(unseen=older, **given)
    assert (found.word, found.finding.blind_p_value < 0.01) == ("inconclusive", True)
    assert "differ by themselves" in " ".join(found.finding.headline())
    unlooked = asked("blind=none", unseen=table(1, 200), **given)
    assert unlooked.finding.p_value < 0.01
    assert (unlooked.word, unlooked.summary()["blind_p_value"]) == ("inconclusive", None)


def test_unseen_records_that_are_only_wider_accuse_nobody(asked: Callable[..., SetAudit]) -> None:
    """The generator saw neither set. A classifier of components overlooked that difference, and
    most of such audits said used."""
    words, shown = [], 0
    for seed in range(3):
        rng = np.random.default_rng([4, seed])
        ours, theirs, released = (
            pd.DataFrame(rng.normal(size=(n, 30))).add_prefix("x") for n in (200, 800, 1500)
        )
        found = asked(suspects=ours, unseen=1.06 * theirs, samples=released)
        words.append(found.word)
        shown += found.finding.p_value < found.finding.level
    assert shown >= 2
    assert "used" not in words


def test_the_finding_says_what_it_supposes() -> None:
    used = " ".join(Finding(0.005, 0.5, 9, 9, ("a",), 0.01).headline())
    assert used.startswith("If both sets were drawn alike, the suspects were used")
    assert "too small for these tests" in used
    doubted = " ".join(Finding(0.005, 0.05, 9, 9, ("a",), 0.01).headline())
    assert "may differ by themselves" in doubted


@pytest.mark.parametrize(
    ("p", "blind", "word"),
    [(0.005, 0.5, "used"), (0.01, 0.5, "not shown"), (0.005, 0.005, "inconclusive"), (0.005, 0.09, "inconclusive"),
     (0.5, 0.005, "not shown"), (0.005, np.nan, "inconclusive")],
)  # fmt: skip
def test_words_follow_from_the_two_p_values(p: float, blind: float, word: str) -> None:
    assert Finding(p, blind, 9, 9, ("a",), 0.01).word == word


@pytest.mark.parametrize(
    ("sources", "words", "message"),
    [
        ({"suspects": 1}, [], "^unseen= is missing"),
        ({"unseen": 1}, [], "^suspects= is missing"),
        ({"suspects": 1, "unseen": 1, "members": 1}, [], "two questions"),
        ({"suspects": "no.csv", "unseen": "no.csv", "samples": TRAIN}, [],
         "suspects and unseen are both no.csv"),
        ({"suspects": TRAIN, "unseen": TRAIN}, [], "nothing to attack"),
        ({"suspects": TRAIN, "unseen": table(1, 9), "samples": TRAIN}, ["fail_if.copies=0"],
         "only fail_if.set_p_value"),
        ({"suspects": TRAIN, "unseen": table(1, 9), "samples": TRAIN}, ["copies=features"],
         "copies= has no effect beside suspects="),
        ({"suspects": TRAIN[:9], "unseen": pd.concat([TRAIN[:9]] * 2), "samples": TRAIN}, [],
         "^no suspect has a content that occurs once"),
        ({"suspects": "members.csv", "unseen": TRAIN, "samples": TRAIN}, [],
         "^suspects=members.csv: there is no such"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    audit_config: Callable[..., DictConfig], sources: Any, words: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        suspects.run_set_audit(open_request(audit_config(FAST, *words), sources))
    assert "\n" not in str(caught.value)


def test_its_limit_is_no_limit_of_other_audits(audited: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="set_p_value: leave it out"):
        audited("fail_if.set_p_value=0.01", members=TRAIN, non_members=table(1, 9), samples=TRAIN)


def test_columns_that_blind_attacks_are_named(asked: Callable[..., SetAudit]) -> None:
    other = TRAIN.assign(town=TRAIN["town"].replace("north", "N"))
    found = asked(suspects=TRAIN[:80], unseen=table(1, 200), samples=other)
    (check,) = [c for c in found.result.checks if c.name == "strange values"]
    assert "neither among suspects nor among unseen records" in check.message


def test_in_python(tmp_path: Path) -> None:
    words = ["scale=smoke", "machine.progress=false", f"machine.store={tmp_path}/store", FAST]
    given = {"unseen": table(1, 60), "samples": repeated(TRAIN)}
    assert audit_set(TRAIN[:30], settings=words, **given).word in suspects.WORDS


def test_sentences_speak_of_suspects() -> None:
    said = of_suspects("members, non-members and non_members: 3 members")
    assert said == "suspects, unseen records and unseen: 3 suspects"
