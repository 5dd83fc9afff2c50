"""Rows and scores from raw scores: calibrations, ensembles, and what has no numbers."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.calibration.difference import Difference
from attacks.calibration.ensemble import LogisticEnsemble
from attacks.calibration.lira import OnlineLiRA
from benchmark.data.dataset import in_memory
from benchmark.data.queries import Queries
from benchmark.measures import metrics
from benchmark.scores.rows import COMBINED, NOTHING_TO_LEARN, Raw, Table, on_references

N, MODELS = 60, 6
RNG = np.random.default_rng(0)
MEMBER = RNG.permutation(N) < N // 2
QUERIES = Queries(in_memory(RNG.normal(size=(N, 2))), np.arange(N), MEMBER, np.arange(N) + 500)
INSIDE = np.array([RNG.permutation(N) < N // 2 for _ in range(MODELS // 2)])
INSIDE = np.concatenate([INSIDE, ~INSIDE])
CALIBRATIONS = {"difference": Difference(), "lira": OnlineLiRA()}
ENSEMBLES = {"ensemble": LogisticEnsemble()}


def raw(gap: float, references: bool = True) -> Raw:
    under = RNG.normal(size=(MODELS, N)) + gap * INSIDE if references else None
    return Raw("somehow", RNG.normal(size=N) + gap * MEMBER, under, 1.5, 8.0)


def table(inside: np.ndarray = INSIDE) -> Table:
    return Table(QUERIES, inside, CALIBRATIONS, ENSEMBLES)


def test_every_row_follows_from_its_scores() -> None:
    rows, scores = table().build({"a": raw(1.0), "b": raw(0.0)})
    names = [(a, c) for a in "ab" for c in ("none", "difference", "lira")]
    assert list(zip(rows["attack"], rows["calibrated"], strict=True)) == [
        *names,
        ("ensemble", "none"),
    ]
    assert (rows["status"] == "ok").all()
    for row in rows.itertuples():
        ours = scores[(scores["attack"] == row.attack) & (scores["calibrated"] == row.calibrated)]
        np.testing.assert_array_equal(ours["query"], np.arange(N) + 500)
        np.testing.assert_array_equal(ours["member"], MEMBER)
        values = ours["score"].to_numpy()
        assert row.auroc == metrics.auroc(values[MEMBER], values[~MEMBER])
    assert list(rows["seconds"]) == [1.5, 8, 8, 1.5, 8, 8, 19]
    assert rows["access"].iloc[-1] == COMBINED


def test_what_cannot_be_compared_keeps_its_raw_row_and_stays_out_of_the_ensemble() -> None:
    raws = {"a": raw(1.0), "alone": raw(1.0, references=False), "none": Raw("nohow")}
    rows, scores = table().build(raws)
    status = rows.set_index(["attack", "calibrated"])["status"]
    assert status["alone", "none"] == "ok"
    assert status["alone", "lira"] == status["none", "none"] == "no access"
    only, _ = table().build({"a": raws["a"]})
    assert rows["auroc"].iloc[-1] == only["auroc"].iloc[-1]
    assert "none" not in set(scores["attack"])


@pytest.mark.parametrize("inside", [np.zeros((MODELS, N), bool), np.zeros((0, N), bool)])
def test_an_ensemble_without_models_that_saw_the_queries_says_so(inside: np.ndarray) -> None:
    made = Table(QUERIES, inside, {}, ENSEMBLES)
    rows, scores = made.build({"a": raw(1.0, references=len(inside) > 0)})
    last = rows.iloc[-1]
    assert last["status"] == NOTHING_TO_LEARN
    assert np.isnan(last["auroc"])
    assert set(scores["attack"]) == {"a"}


def test_reference_models_trained_on_known_queries_say_how_good_an_attack_is() -> None:
    raws = {"good": raw(3.0), "bad": raw(0.0), "alone": raw(3.0, references=False)}
    rows, _ = table().build(raws)
    plain = rows[rows["calibrated"] == "none"].set_index("attack")["auroc_reference"]
    under = raws["good"].references
    assert under is not None
    expected = [
        metrics.auroc(own[inside], own[~inside]) for own, inside in zip(under, INSIDE, strict=True)
    ]
    assert plain["good"] == pytest.approx(np.mean(expected))
    assert plain["good"] > 0.9 > plain["bad"]
    assert np.isnan(plain["alone"])
    assert on_references(under, np.zeros_like(INSIDE)) == {}
