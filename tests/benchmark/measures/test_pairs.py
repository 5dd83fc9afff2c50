"""Comparisons of attacks on the same queries, the marks that follow, and the curves over sets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from attacks.calibration.difference import Difference
from attacks.calibration.lira import OfflineLiRA
from benchmark.measures import metrics
from benchmark.measures.pairs import (
    COMPARISONS,
    CURVES,
    LEVEL,
    best_rows,
    both_ways,
    compare_rows,
    find_twins,
    same_order,
    set_curves,
)
from benchmark.measures.sets import SIZES, set_accuracy


def tidy(seed: int = 0, n: int = 300) -> pd.DataFrame:
    """A good attack, one that is nearly the same, a weak one and a guess; each in its own order."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    noise = rng.normal(size=n)
    columns = {
        ("good", "none"): noise + 1.5 * member,
        ("good", "twin"): noise + 1.5 * member + 0.1 * rng.normal(size=n),
        ("weak", "none"): rng.normal(size=n) + 0.5 * member,
        ("guess", "none"): rng.normal(size=n),
    }
    frames = []
    for (attack, calibrated), score in columns.items():
        frame = pd.DataFrame({"query": np.arange(n) + 1000, "member": member, "score": score})
        frames.append(
            frame.sample(frac=1, random_state=7).assign(attack=attack, calibrated=calibrated)
        )
    return pd.concat(frames, ignore_index=True)


def aurocs(scores: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "attack": attack,
            "access": "white_box",
            "calibrated": calibrated,
            "auroc": metrics.auroc(group.score[group.member], group.score[~group.member]),
        }
        for (attack, calibrated), group in scores.groupby(["attack", "calibrated"], sort=False)
    ]
    return pd.DataFrame(rows)


def test_every_pair_is_compared_query_by_query() -> None:
    scores = tidy()
    found = compare_rows(scores)
    assert list(found.columns) == COMPARISONS
    assert len(found) == 4 * 3 / 2
    area = {(row.attack, row.calibrated): row.auroc for row in aurocs(scores).itertuples()}
    one = {
        name: group.sort_values("query") for name, group in scores.groupby(["attack", "calibrated"])
    }
    for row in found.itertuples():
        a, b = (row.attack_a, row.calibrated_a), (row.attack_b, row.calibrated_b)
        assert row.difference == pytest.approx(area[a] - area[b])
        expected = metrics.delong_test(one[a].score, one[b].score, one[a].member)
        assert (row.low, row.high, row.p_value) == pytest.approx(expected[1:])
    assert both_ways(found)[("guess", "none"), ("good", "none")][0] < 0


def test_holms_correction_step_by_step() -> None:
    found = compare_rows(tidy(3, 60)).sort_values("p_value")
    largest = 0.0
    for i, row in enumerate(found.itertuples()):
        largest = max(largest, min(1.0, (len(found) - i) * row.p_value))
        assert row.p_holm == pytest.approx(largest)


def test_the_mark_is_for_the_best_and_what_cannot_be_told_from_it() -> None:
    scores = tidy()
    rows = pd.concat([aurocs(scores), pd.DataFrame([{"attack": "x", "calibrated": "none"}])])
    rows = rows.assign(access="white_box")
    assert list(best_rows(rows, compare_rows(scores))) == [True, True, False, False, False]
    assert not best_rows(rows.iloc[4:], compare_rows(scores)).any()
    blind = pd.DataFrame(
        [{"attack": "blind", "calibrated": "none", "access": "none", "auroc": 1.0}]
    )
    marked = best_rows(pd.concat([rows, blind]), compare_rows(scores))
    assert list(marked) == [True, True, False, False, False, False]


def test_attacks_that_all_guess_are_seldom_told_apart() -> None:
    alarms = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({"query": np.arange(100), "member": np.arange(100) < 50})
        frames = [
            frame.assign(attack=str(i), calibrated="none", score=rng.normal(size=100))
            for i in range(4)
        ]
        alarms += (compare_rows(pd.concat(frames))["p_holm"] < LEVEL).any()
    assert alarms <= 3  # 5% of 12 is 0.6


def test_curves_hold_every_row_and_size() -> None:
    scores = tidy()
    curves = set_curves(scores)
    assert list(curves.columns) == CURVES
    assert len(curves) == 4 * len(SIZES)
    ours = scores[(scores.attack == "weak")]
    expected = set_accuracy(ours.score[ours.member], ours.score[~ours.member])
    found = curves[curves.attack == "weak"]
    np.testing.assert_allclose(found["accuracy"], [point.accuracy for point in expected])
    assert list(found["size"]) == list(SIZES)


def test_one_row_has_nothing_to_be_compared_with() -> None:
    scores = tidy()
    one = scores[scores.attack == "weak"]
    assert compare_rows(one).empty
    assert list(compare_rows(one).columns) == COMPARISONS
    assert list(best_rows(aurocs(one), compare_rows(one))) == [True]


def with_twin(scores: pd.DataFrame) -> pd.DataFrame:
    """The same and the weak attack once more under another name, its scores on another scale."""
    own = scores[scores.attack == "weak"]
    twin = own.assign(calibrated="again", score=np.exp(3 * own.score + 1))
    return pd.concat([scores, twin.iloc[::-1]], ignore_index=True)


def test_one_attack_under_two_names_is_paid_for_once() -> None:
    scores = tidy()
    alone, found = (both_ways(compare_rows(x)) for x in (scores, with_twin(scores)))
    for pair, values in alone.items():
        assert found[pair] == pytest.approx(values)
    twin, first = ("weak", "again"), ("weak", "none")
    for other in (("good", "none"), ("good", "twin"), ("guess", "none")):
        assert found[twin, other] == pytest.approx(alone[first, other])
        assert found[other, twin] == pytest.approx(alone[other, first])
    assert found[twin, first] == (0.0, 1.0)
    assert not same_order(scores)
    (check,) = same_order(with_twin(scores))
    assert "weak calibrated by again" in check.message


def test_twins_are_found_beside_missing_scores_and_the_ties_of_rounding() -> None:
    values = np.array([0.1, 0.2, 0.3, np.nan, 0.9])
    rounded, other, missing = values.copy(), values[[1, 0, 2, 3, 4]], values.copy()
    rounded[1] = rounded[0]
    missing[3] = 0.5
    rows = {"a": values, "b": rounded, "c": other, "d": missing, "e": 2 * other}
    found = find_twins({(name, "none"): scores for name, scores in rows.items()})
    assert [[attack for attack, _ in group] for group in found] == [["a", "b"], ["c", "e"]]


def test_the_pooled_offline_lira_is_the_difference_and_the_default_is_not() -> None:
    rng = np.random.default_rng(0)
    references = rng.normal(size=(8, 400)) * np.exp(rng.normal(size=400)) + rng.normal(size=400)
    victim, inside = rng.normal(size=400), np.zeros((8, 400), bool)
    made = {"difference": Difference(), "pooled": OfflineLiRA("pooled"), "default": OfflineLiRA()}
    scores = {("x", n): made[n].combine(victim, references, inside) for n in made}
    assert find_twins(scores) == [[("x", "difference"), ("x", "pooled")]]
