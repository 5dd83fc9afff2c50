"""Queries are a fair draw whatever is repeated; an overlap is refused only beyond chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from benchmark.audit.given.selection import (
    LeftOut,
    choose_queries,
    contents_in_one_input,
    is_stranger,
)
from benchmark.measures import metrics
from victims.errors import UserError

ALLOWED = 0.01


def counts(seed: int, n: int, rate: float = 1.5) -> np.ndarray:
    """Coarse records (n, 4) uint8: many are there several times."""
    return np.random.default_rng([5, seed]).poisson(rate, (n, 4)).astype(np.uint8)


def different(n: int, start: int = 0) -> np.ndarray:
    """Records (n, 4) uint8 of different content."""
    return np.arange(start, start + n, dtype=np.uint32)[:, None].view(np.uint8)


def level(left_out: LeftOut) -> str:
    return next((c.level for c in left_out.list_checks(ALLOWED) if c.name == "overlap"), "")


def test_common_contents_are_members_no_more_often_than_rare_ones() -> None:
    """Inputs of unequal size: one query for each different content gave AUROCs up to .54."""
    areas = []
    for seed in range(20):
        members, others = counts(2 * seed, 6000), counts(2 * seed + 1, 600)
        rows, _ = choose_queries(members, others, seed)
        common = poisson.logpmf(np.concatenate([members, others])[rows], 1.5).sum(1)
        asked = rows < len(members)
        assert min(asked.sum(), (~asked).sum()) >= 20
        areas.append(metrics.auroc(common[asked], common[~asked]))
    error = np.std(areas, ddof=1) / np.sqrt(len(areas))
    assert abs(np.mean(areas) - 0.5) < 3 * error
    assert error < 0.02


def test_queries_are_the_contents_that_occur_once_and_records_are_counted() -> None:
    members = np.concatenate([different(10), different(3), different(2, 100), different(2, 100)])
    others = np.concatenate([different(1), different(5, 200)])
    rows, left_out = choose_queries(members, others, 0)
    assert sorted(rows) == [*range(3, 10), *range(18, 23)]
    assert (left_out.members, left_out.non_members, left_out.repeated) == (2, 1, 8)
    texts = {check.name: check.message for check in left_out.list_checks(ALLOWED)}
    assert texts["overlap"].startswith("2 members and 1 non-member (13.0% of all) were")
    assert texts["duplicates"].startswith("8 records (34.8% of all) are not asked")


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(3000, 3000), (6000, 600)])
def test_honest_splits_of_coarse_records_share_what_chance_explains(sizes: tuple[int, int]) -> None:
    found = [choose_queries(*map(counts, (2 * s, 2 * s + 1), sizes), s)[1] for s in range(40)]
    assert min(f.non_members for f in found) > 0.14 * sizes[1]
    assert max(abs(f.excess) for f in found) < 0.1
    assert [level(f) for f in found].count("error") == 0
    # The level is kept, and the p-values are no constant.
    assert np.mean([f.p_value < 0.1 for f in found]) <= 0.25
    assert np.mean([f.p_value < 0.7 for f in found]) > 0.4


def test_copied_records_and_inputs_that_were_thinned_alone_are_refused() -> None:
    members, others = different(1000), different(1000, 5000)
    copied = np.concatenate([others[:950], members[:50]])
    assert level(choose_queries(members, copied, 0)[1]) == "error"
    coarse = counts(0, 5000, 4), counts(1, 800, 4)
    assert level(choose_queries(*coarse, 0)[1]) == "warning"
    copied = np.concatenate([coarse[1], coarse[0][:200]])
    assert level(choose_queries(coarse[0], copied, 0)[1]) == "error"
    # The larger input's common contents are queries now, the smaller one's are left out.
    thinned = [np.unique(rows, axis=0) for rows in coarse]
    assert level(choose_queries(*thinned, 0)[1]) == "error"


def test_a_few_shared_records_are_a_warning() -> None:
    for many in (1, 5):
        others = np.concatenate([different(995, 5000), different(many)])
        assert level(choose_queries(different(1000), others, 0)[1]) == "warning"
    assert level(choose_queries(different(1000), different(1000, 5000), 0)[1]) == ""


def test_nothing_left_to_ask_is_said() -> None:
    with pytest.raises(UserError, match="occurs once"):
        choose_queries(different(20), np.concatenate([different(20), different(20)]), 0)


def test_an_input_that_repeats_each_record_is_named() -> None:
    with pytest.raises(UserError, match="no member has a content that occurs once: each stands"):
        choose_queries(np.concatenate([different(20)] * 2), different(20, 100), 0)


def test_records_repeat_by_themselves_unless_one_input_alone_holds_many_repeated_ones() -> None:
    members, others = different(100), different(100, 1000)

    def found(*more: np.ndarray) -> bool:
        return contents_in_one_input(np.concatenate([members, *more]), others, 1e-4).repeat

    assert not found()
    assert found(members[:1])  # one person twice
    assert found(others[:1])  # one person in both
    assert not found(members[:30])  # oversampled: random labels would divide some of 30 pairs
    own = contents_in_one_input(np.concatenate([members, members[:3], others[:2]]), others, 1e-4)
    assert own.rows.tolist() == [*range(100), *range(107, 205)]
    assert (own.times[:3] == 2).all()
    assert own.is_member.sum() == 100


def test_reference_records_go_by_the_queries_contents_whoever_they_belong_to() -> None:
    members, others, own = different(5), different(5, 100), different(5, 200)
    reference = np.concatenate([members[:2], own, others[:3]])
    kept = is_stranger(reference, members, others)
    assert kept.tolist() == [False] * 2 + [True] * 5 + [False] * 3
    assert is_stranger(reference, others, members).tolist() == kept.tolist()
