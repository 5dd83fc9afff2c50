"""Audits whose truth is known: how often they say "leak"."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import audit_level as bench
from bench import audit_trials as trials


@pytest.mark.slow
def test_audits_claim_no_leak_of_generators_that_never_saw_the_members(tmp_path: Path) -> None:
    """Of 30 audits, 5 false leaks would be 1 chance in 60 at the level of 5%."""
    words = [bench.null(seed, str(tmp_path))[1] for seed in range(30)]
    assert words.count("leak") < 5
    assert not any(word.startswith("refused") for word in words)


@pytest.mark.slow
def test_audits_claim_no_leak_where_only_the_non_members_differ(tmp_path: Path) -> None:
    """Most of these said "leak" while a difference of the groups was a mere remark."""
    found = [
        bench.drifted(drift, seed, str(tmp_path)).verdict.word
        for seed in range(4)
        for drift in (0.2, 0.5, 2.0)
    ]
    assert found.count("leak") <= 1
    assert found.count("invalid") >= 6


@pytest.mark.slow
def test_audits_claim_no_leak_where_non_members_are_only_wider(tmp_path: Path) -> None:
    """Distances of all columns beat a classifier of twenty components: four of four said leak."""
    found = [
        bench.widened(spread, seed, str(tmp_path)).verdict.word
        for seed in range(2)
        for spread in bench.SPREADS
    ]
    assert "leak" not in found
    assert found.count("invalid") >= 4


@pytest.mark.slow
@pytest.mark.parametrize("release", bench.LEAKS, ids=lambda release: release.__name__)
def test_audits_find_what_was_made_of_the_members(release: object, tmp_path: Path) -> None:
    found = [bench.leak(bench.people, release, seed, str(tmp_path)) for seed in range(2)]
    assert [audit.verdict.word for audit in found] == ["leak"] * 2


@pytest.mark.slow
def test_trials_are_made_of_real_rows(tmp_path: Path) -> None:
    numbers, mixed = trials.table(tmp_path), trials.mixed(tmp_path)
    assert numbers.shape == (20185, 28)
    assert mixed.shape == (20190, 32)
    assert list(mixed.select_dtypes(object)) == ["site", "year", "plan"]
    rows = mixed.sample(200, random_state=0)
    between = trials.interpolator(rows, rows, 0, tmp_path)["samples"]
    assert set(between["plan"]) <= set(rows["plan"])
    assert set(between["female"]) == {0, 1}
    assert between["income"].between(rows["income"].min(), rows["income"].max()).all()
    assert not between["income"].isin(rows["income"]).all()
