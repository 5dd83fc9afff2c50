"""Columns in which members and non-members differ by themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from benchmark.audit.differences import _tests_of
from benchmark.audit.run import Audit

Audited = Callable[..., Audit]
N = 500


def people(seed: int, n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng([8, seed])
    columns = {f"x{i}": rng.normal(size=n) for i in range(12)}
    return pd.DataFrame(columns | {"region": rng.choice([*"nsew"], n)})


def with_gaps(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    gone = np.random.default_rng(1).random(len(frame)) < share
    return frame.assign(x3=frame["x3"].mask(gone))


def moved(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(region=frame["region"].mask(np.arange(len(frame)) % 12 == 0, "abroad"))


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (lambda frame: with_gaps(frame, 0.1), "x3: 0.0% of the members"),
        (moved, "region: one level stands in 0.0%"),
    ],
)
def test_one_column_that_few_records_tell_apart_makes_the_verdict_invalid(
    audited: Audited, change: Callable[[pd.DataFrame], pd.DataFrame], column: str
) -> None:
    """A classifier of all columns overlooked it, and audits said leak."""
    samples = with_gaps(people(2, 800), 0.05)
    found = audited(members=people(0), non_members=change(people(1)), samples=samples)
    assert found.word == "invalid"
    said = [check.message for check in found.result.checks if check.name == "split leaks"]
    assert any(column in message for message in said)


def test_no_attack_proves_a_leak_of_different_groups_but_copies_do(audited: Audited) -> None:
    members, others = people(0), people(1).assign(x0=lambda own: own["x0"] + 0.4)
    noise = np.random.default_rng(3).normal(0, 0.05, (N, 12))
    near = members.copy()
    near.iloc[:, :12] += noise
    words = [
        audited(members=members, non_members=others, samples=samples).word
        for samples in (near, people(2), pd.concat([people(2), members[:20]]))
    ]
    assert words == ["invalid", "invalid", "leak"]


def test_groups_that_differ_in_spread_alone_show_no_leak(audited: Audited) -> None:
    """The generator saw no member; its closest sample told the groups better than any classifier
    of components, and audits said leak."""
    rng = np.random.default_rng(9)
    tables = [pd.DataFrame(rng.normal(size=(n, 100))).add_prefix("x") for n in (600, 600, 900)]
    found = audited(members=tables[0], non_members=1.1 * tables[1], samples=tables[2])
    assert found.verdict.strongest.low > 0.5
    assert (found.word, found.verdict.proven) == ("invalid", [])


def test_noise_that_no_column_shows_makes_the_verdict_invalid(audited: Audited) -> None:
    """Columns of five factors, non-members with a little more noise: distances saw it, nothing else
    did, and audits said leak."""
    rng, weights = np.random.default_rng(10), np.random.default_rng(0).normal(size=(5, 60))
    tables = [
        pd.DataFrame(rng.normal(size=(n, 5)) @ weights + noise * rng.normal(size=(n, 60)))
        for n, noise in ((600, 1.0), (600, 1.06), (900, 1.0))
    ]
    given = [table.add_prefix("x") for table in tables]
    found = audited(members=given[0], non_members=given[1], samples=given[2])
    assert found.word == "invalid"
    said = [check.message for check in found.result.checks if check.name == "split leaks"]
    assert any("how far they lie from other records" in message for message in said)


@pytest.mark.parametrize("kind", ["numbers", "levels", "gaps"])
def test_equal_groups_differ_no_more_often_than_promised(kind: str) -> None:
    rng, member, found = np.random.default_rng(0), np.arange(300) < 120, 0
    for _ in range(400):
        values = {
            "numbers": rng.poisson(3.0, 300).astype(float),
            "levels": rng.choice([*"aaaaabbc"], 300).astype(object),
            "gaps": np.where(rng.random(300) < 0.1, np.nan, 1.0),
        }[kind]
        found += min(own.p for own in _tests_of(pd.Series(values), member)) < 0.05
    assert found <= 400 * 0.05 * (2 if kind == "gaps" else 1) + 15
