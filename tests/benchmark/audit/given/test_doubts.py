"""Columns that blind attacks are named: other spelling, identifiers, other units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audit_models import table

from benchmark.audit.given.doubts import doubt_identifier, doubt_spelling, doubt_unit

MADE = np.random.default_rng(0)
SIZES = {"members": 300, "non_members": 300, "samples": 400}
FAST = "attack=[full_black_box]"


def whole(values: np.ndarray) -> pd.Series:
    return pd.Series(np.round(values))


@pytest.fixture
def checked(audited: Callable[..., Any]) -> Callable[..., dict[str, str]]:
    """The checks of an audit whose inputs get further columns; name -> message."""

    def run(change: Callable[[str, pd.DataFrame], pd.DataFrame]) -> dict[str, str]:
        given = {
            name: change(name, table(seed, size)) for seed, (name, size) in enumerate(SIZES.items())
        }
        return {check.name: check.message for check in audited(FAST, **given).result.checks}

    return run


def test_a_level_written_in_another_way_is_named(checked: Callable[..., dict[str, str]]) -> None:
    def change(name: str, frame: pd.DataFrame) -> pd.DataFrame:
        other = {"north": "North ", "west": "W"} if name == "samples" else {}
        return frame.assign(town=frame["town"].replace(other))

    said = checked(change)["strange values"]
    assert "town: " in said
    assert "of the released rows hold values that occur neither among members" in said
    assert said.endswith("Released: 'North' (elsewhere 'north'), 'W'")
    assert "strange values" not in checked(lambda name, frame: frame)


def test_a_column_written_in_another_way_is_named() -> None:
    real = pd.Series(["M", "F"] * 100)
    (check,) = doubt_spelling("sex", real.str.lower(), real)
    assert "no released value occurs among the members or non-members" in check.message
    assert check.message.endswith("Released: 'm' (elsewhere 'M'), 'f' (elsewhere 'F')")


@pytest.mark.parametrize(("rare", "real"), [(4, 2000), (20, 200)])
def test_rare_levels_may_be_missing_by_chance(rare: int, real: int) -> None:
    """4 of 1 000 are no more than slips; of 200 real rows 2% may well be none."""
    released = pd.Series(["a"] * (1000 - rare) + ["b"] * rare)
    assert doubt_spelling("x", released, pd.Series(["a"] * real)) == []


def test_random_identifiers_are_named(checked: Callable[..., dict[str, str]]) -> None:
    numbers = 10**6 + MADE.choice(9 * 10**6, 1000, replace=False)

    def change(name: str, frame: pd.DataFrame) -> pd.DataFrame:
        start = sum(list(SIZES.values())[: list(SIZES).index(name)])
        return frame.assign(customer=numbers[start : start + len(frame)])

    said = checked(change)["identifiers"]
    assert said.startswith("customer: whole numbers that never repeat")
    assert "It may be an identifier" in said
    assert "records.ignore=[customer]" in said


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: MADE.choice(10**8, n, replace=False),
        lambda n: 1 + MADE.permutation(2 * n)[:n],  # half of those that were numbered
        lambda n: (
            49 * 10**10 + MADE.choice([1e9, 2e9, 9e10], n) + MADE.choice(10**7, n, replace=False)
        ),
    ],
)
def test_numbers_that_do_not_gather_may_be_identifiers(draw: Callable[[int], np.ndarray]) -> None:
    real = [pd.Series(draw(n)) for n in (400, 500)]
    assert [check.name for check in doubt_identifier("x", real)] == ["identifiers"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: np.exp(MADE.normal(15, 0.8, n)),  # incomes in a small unit
        lambda n: MADE.normal(5e6, 8e5, n) - 2e6,
        lambda n: 1e9 * MADE.random(n) ** 3,
        lambda n: MADE.integers(0, 5000, n),  # repeated
    ],
)
def test_amounts_that_rarely_repeat_are_no_identifiers(draw: Callable[[int], np.ndarray]) -> None:
    assert doubt_identifier("x", [whole(draw(n)) for n in (400, 500)]) == []
    assert doubt_identifier("x", [pd.Series(MADE.random(400))] * 2) == []


def test_another_unit_is_named_where_a_column_reaches_zero(
    checked: Callable[..., dict[str, str]],
) -> None:
    def change(name: str, frame: pd.DataFrame) -> pd.DataFrame:
        income = frame["income"].where(MADE.random(len(frame)) > 0.03, 0)
        return frame.assign(income=income * (100 if name == "samples" else 1))

    said = checked(change)["units"]
    assert said.startswith("income: a typical size is ")
    assert said.endswith("(median without zeros); is the unit another?")


def test_sizes_that_differ_little_are_no_other_unit() -> None:
    real = pd.Series(np.exp(MADE.normal(8, 1, 500)))
    assert doubt_unit("x", real * 5, real) == []
    assert doubt_unit("x", real * 0.05, real) != []
    assert doubt_unit("x", (real * 100).where(real.index < 20, 0), real) == []  # too few
