"""Copies: against brute force, scipy and statsmodels; and no more alarms than promised."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binom, fisher_exact, mannwhitneyu
from statsmodels.stats.proportion import confint_proportions_2indep

from benchmark.data.dataset import in_memory
from benchmark.data.queries import Queries
from benchmark.measures import copies
from benchmark.measures.copies import Closest
from benchmark.scores import closest as search
from victims.access import FullBlackBox

M, N, D = 60, 300, 5


def found(samples: np.ndarray, records: np.ndarray, seed: int = 0) -> Closest:
    """The first half of the records are members; they are asked about in random order."""
    count = len(records)
    queries = Queries(
        in_memory(records.astype(np.float32)),
        np.arange(count),
        np.arange(count) < count // 2,
        np.arange(count),
    ).take(np.random.default_rng(seed).permutation(count))
    view = FullBlackBox(torch.device("cpu"), 64, samples.astype(np.float32))
    return search.closest(view, queries, seed)


def normal(seed: int, count: int, d: int = D) -> np.ndarray:
    return np.random.default_rng([3, seed]).normal(size=(count, d)).astype(np.float32)


def row(table: pd.DataFrame, measure: str) -> pd.Series:
    return table.set_index("measure").loc[measure]


def test_levels_are_those_of_a_search_through_all_distances() -> None:
    records, samples = normal(0, 2 * M), normal(1, N)
    table = copies.table(found(samples, records))
    far = cdist(samples.astype(float), records.astype(float))
    mean = np.sort(far, 1)[:, : search.NEIGHBOURS].mean(1)
    within = cdist(records.astype(float), records.astype(float)) + np.diag(np.full(2 * M, np.inf))
    sides = {"members": slice(0, M), "held_out": slice(M, 2 * M)}
    for name, side in sides.items():
        near, apart = far[:, side], within[side, side].min(1)
        assert row(table, "calibrated distance")[name] == pytest.approx((near.min(1) / mean).mean())
        authentic = near.min(1) > apart[near.argmin(1)]
        assert row(table, "authenticity")[name] == pytest.approx(authentic.mean())
        two = np.sort(near, 1)[:, :2]
        assert row(table, "NNDR")[name] == pytest.approx((two[:, 0] / two[:, 1]).mean(), abs=1e-6)
    closer = far[:, :M].min(1) < far[:, M:].min(1)
    assert row(table, "DCR share")["members"] == pytest.approx(closer.mean())
    assert row(table, "DCR share")["held_out"] == pytest.approx(1 - closer.mean())


def test_data_copying_is_the_normal_deviate_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(0)
    samples, test = rng.random(50).round(2), rng.random(30).round(2) + 0.1
    u = mannwhitneyu(samples, test).statistic
    expected = (u - 750) / np.sqrt(50 * 30 * 81 / 12)
    got = copies.data_copying(samples, np.zeros(50), test, np.zeros(30))
    assert got == pytest.approx(expected)


def test_cells_count_as_their_share_of_the_test_records() -> None:
    rng = np.random.default_rng(0)
    samples, test = rng.random(100), rng.random(40)
    cells, others = np.arange(100) % 2, (np.arange(40) < 30).astype(int)
    parts = [
        copies.data_copying(samples[cells == c], np.zeros(50), test[others == c], np.zeros(n))
        for c, n in ((0, 10), (1, 30))
    ]
    got = copies.data_copying(samples, cells, test, others)
    assert got == pytest.approx((10 * parts[0] + 30 * parts[1]) / 40)
    few = copies.data_copying(samples[:10], cells[:10], test, others)
    assert np.isnan(few)


def test_copies_are_counted_and_tested_as_fisher_and_newcombe_do() -> None:
    records, samples = normal(0, 2 * M), normal(1, N) + 20
    samples[:5], samples[5:7] = records[:5], records[M : M + 2]
    samples[7] = records[9] + 0.01
    table = copies.table(found(samples, records))
    for measure, ours in (("exact copies", 5), ("near copies", 6)):
        line = row(table, measure)
        assert (line["members"], line["held_out"]) == (ours / M, 2 / M)
        cells = [[ours, M - ours], [2, M - 2]]
        assert line["p_value"] == pytest.approx(fisher_exact(cells, "greater").pvalue)
        ends = confint_proportions_2indep(ours, M, 2, M, method="newcomb")
        assert (line["low"], line["high"]) == pytest.approx(ends)


def test_what_repeats_by_chance_is_no_copy() -> None:
    """Coarse records: the closest one is as far as 50 others, namely nowhere."""
    samples, records = np.zeros((N, 2)), np.zeros((2 * M, 2)) + np.arange(2 * M)[:, None] % 2
    best, which = found(samples, records).best()
    assert not (best <= copies.NEAR).any()
    assert set(which) <= {-1, *range(N)}


@pytest.mark.parametrize("seed", range(3))
def test_few_values_far_from_all_others_make_no_exact_copies(seed: int) -> None:
    """Cells of 99999 shrink all other distances against the mean of the 50 closest records."""
    records, samples = normal(2 * seed, 2 * M), normal(2 * seed + 1, N)
    for rows, share in ((records, 0.1), (samples, 0.02)):
        rows[np.random.default_rng(seed).random(rows.shape) < share] = 99999
    samples[:3] = records[:3]
    near = found(samples, records)
    assert (near.calibrated <= copies.EXACT).sum() > 10
    assert np.flatnonzero(near.exact).tolist() == [0, 1, 2]
    assert row(copies.table(near), "exact copies")["members"] == 3 / M


@pytest.mark.slow
def test_a_generator_that_never_saw_the_members_raises_no_more_alarms_than_promised() -> None:
    tables = [
        copies.table(found(normal(1000 + i, N), normal(i, 2 * M), i), i).set_index("measure")
        for i in range(25)
    ]
    for measure in ("DCR share", "NNDR", "calibrated distance", "authenticity", "C_T"):
        alarms = sum(t.loc[measure, "low"] > 0 or t.loc[measure, "high"] < 0 for t in tables)
        assert alarms <= binom.isf(1e-3, 25, 0.05), measure
    assert sum(copies.proven_excess(t.reset_index(), "near copies", 0.95) > 0 for t in tables) <= 5


def test_copies_are_found() -> None:
    records, samples = normal(0, 400), normal(1, 1000)
    samples[:20] = records[:20] + 0.02 * normal(2, 20)
    table = copies.table(found(samples, records))
    assert row(table, "near copies")["p_value"] < 1e-4
    assert copies.proven_excess(table, "near copies", 0.99) == pytest.approx(0.1, abs=0.02)
    assert copies.proven_excess(table, "exact copies", 0.95) == 0
    samples[:] = np.repeat(records[:200], 5, 0) + 0.3 * normal(3, 1000)
    table = copies.table(found(samples, records))
    for measure in ("calibrated distance", "authenticity", "C_T"):
        assert row(table, measure)["high"] < 0


def test_tables_of_many_victims_hold_the_differences() -> None:
    table = copies.table(found(normal(1, N), normal(0, 2 * M)))
    named = copies.differences_by_name(table)
    assert list(named) == [
        "near copies, members less others",
        "calibrated distance, members less others",
    ]
    assert named[list(named)[1]] == row(table, "calibrated distance")["difference"]
    assert copies.differences_by_name(pd.DataFrame()) == {}


def test_large_records_are_compared_by_what_bounds_their_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records, samples = normal(0, 2 * M, 40), normal(1, N, 40)
    samples[3] = records[8]
    whole = found(samples, records)
    monkeypatch.setattr(search, "LARGE", 30)
    monkeypatch.setattr(search, "COMPONENTS", 30)
    short = found(samples, records)
    assert (short.distances <= whole.distances + 1e-5).all()
    assert np.median(short.distances[:, 1:] / whole.distances[:, 1:]) > 0.85
    assert short.calibrated[3] < copies.EXACT


def test_the_closest_pairs_are_those_of_copies() -> None:
    records, samples = normal(0, 2 * M), normal(1, N) + 20
    samples[[5, 9]], samples[11] = records[:2] + np.array([[0], [0.01]]), records[M] + 0.001
    pairs = copies.closest_pairs(found(samples, records), 2)
    order = np.random.default_rng(0).permutation(2 * M)
    assert [(order[p.place], p.sample) for p in pairs[:2]] == [(0, 5), (1, 9)]
    assert (order[pairs[2].place], pairs[2].sample, pairs[2].member) == (M, 11, False)
    assert pairs[0].distance == 0 < pairs[1].distance < pairs[2].distance * 100


@pytest.mark.parametrize("members", [1, 2, 3])
def test_few_records_have_no_intervals_rather_than_errors(members: int) -> None:
    table = copies.table(found(normal(0, 30), normal(1, 2 * members)))
    assert list(table.columns) == copies.COPIES
    assert np.isfinite(table.loc[:1, ["low", "high"]]).all(axis=None)


def test_no_interval_of_shares_is_wider_than_shares_can_differ() -> None:
    records = normal(5, 2 * M)
    records[M] = records[0] + 0.01  # all samples are alike: two records alone are near
    samples = records[:1].repeat(N, 0) + 0.001
    table = copies.table(found(samples, records)).set_index("measure")
    raw = table.loc["calibrated distance"]
    assert raw["low"] < raw["difference"] < raw["high"]
    for name in copies.SHARES:
        assert -1 <= table.loc[name, "low"] <= table.loc[name, "difference"]
        assert table.loc[name, "difference"] <= table.loc[name, "high"] <= 1
    assert table.loc["DCR share", "difference"] == pytest.approx(1)
