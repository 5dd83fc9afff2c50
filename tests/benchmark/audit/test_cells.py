"""Columns whose cells a release repeats: what is found, and how often where nothing leaks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.random import Generator, default_rng

from benchmark.audit.cells import Cells, check_ignored, compare_cells
from benchmark.audit.given.inputs import Records
from benchmark.audit.run import audit


def drawn(rng: Generator, n: int) -> pd.DataFrame:
    """People: frequent and rare codes, days, amounts with cents, a yes or no."""
    days = pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(0, 5000, n), unit="D")
    return pd.DataFrame(
        {
            "code": rng.zipf(1.7, n).clip(max=900).astype(float),
            "born": days.strftime("%Y-%m-%d"),
            "bill": rng.gamma(2, 40, n).round(2),
            "smokes": rng.integers(0, 2, n).astype(float),
        }
    )


def compared(*tables: pd.DataFrame, ignored: str | None = None) -> tuple[Any, list[Cells]]:
    given = {}
    for name, table in zip(("members", "non_members", "samples"), tables, strict=True):
        kept = table.drop(columns=ignored or [])
        aside = table[[ignored] if ignored else []]
        given[name] = Records(name, np.arange(len(table)).astype(str), kept, aside=aside)
    case: Any = SimpleNamespace(given=given)
    return case, compare_cells(case)


def test_a_column_that_is_copied_is_found_and_no_other() -> None:
    rng = default_rng(0)
    members, others, samples = (drawn(rng, n) for n in (500, 300, 800))
    samples.loc[:99, "born"] = members["born"][:100]  # of a fifth of the members
    _, found = compared(members, others, samples)
    p = {own.column: own.p for own in found}
    assert p["born"] < 1e-4
    assert min(own for name, own in p.items() if name != "born") > 0.05
    assert "smokes" not in p  # no value is one group's alone


@pytest.mark.parametrize(("m", "n"), [(200, 200), (900, 200), (200, 900)])
def test_a_release_without_a_leak_seldom_seems_to_repeat_cells(m: int, n: int) -> None:
    """Also where one group is far larger, whose own values then are the more frequent ones."""
    rng = default_rng(m + n)
    false = 0
    for _ in range(100):
        _, found = compared(drawn(rng, m), drawn(rng, n), drawn(rng, 600))
        false += any(own.p < 0.05 for own in found)
    assert false <= 11, f"{false} of 100"  # more have a chance of 1% at a level of 5%


def test_an_ignored_column_that_is_released_is_named_and_voids_where_it_is_copied() -> None:
    rng = default_rng(1)
    members, others, samples = (drawn(rng, 300) for _ in range(3))
    case, found = compared(members, others, samples, ignored="born")
    (check,) = check_ignored(case, found)
    assert (check.name, check.level) == ("not compared", "warning")
    assert "records.ignore=[born]" in check.message
    samples["born"] = members["born"]
    case, found = compared(members, others, samples, ignored="born")
    (check,) = check_ignored(case, found)
    assert (check.name, check.level) == ("copied cells", "error")
    assert "leave the column out of the release" in check.message
    case, found = compared(members, others, samples.drop(columns="born"), ignored=None)
    assert not check_ignored(case, found)


def test_an_audit_calls_copied_dates_of_birth_a_leak() -> None:
    """All else is drawn anew, so that no attack on whole records finds anything."""
    rng = default_rng(2)
    members, others, samples = (drawn(rng, 400) for _ in range(3))
    settings = ["fail_if.leak=true", "attack=[closest_record]"]
    assert audit(members, others, samples=samples, settings=settings).exit_code == 0
    samples["born"] = members["born"].to_numpy()
    found = audit(members, others, samples=samples, settings=settings)
    assert (found.word, found.exit_code) == ("leak", 3)
    assert (
        found.headline[0] == "The released records repeat values that single training records have."
    )
    assert any(said.startswith("born: ") for said in found.headline)
    ignored = audit(members, others, samples=samples, settings=[*settings, "records.ignore=[born]"])
    assert (ignored.word, ignored.exit_code) == ("invalid", 3)
