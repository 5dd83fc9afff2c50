"""Columns that blind attacks are named: other spelling, identifiers, other units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audit_models import table

from benchmark.audit.given.doubts import doubt_code, doubt_identifier, doubt_spelling, doubt_unit
from benchmark.audit.given.inputs import Records
from benchmark.audit.given.space import TableSpace
from victims.errors import UserError

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


def labs(code: float, rates: tuple[float, ...] = (0.02, 0.004)) -> dict[str, Records]:
    """Inputs of 1 000 rows; that share of the cells is the code."""
    draw = np.random.default_rng(0)
    given = {}
    for name, rate in zip(("members", "samples"), rates, strict=True):
        x = np.round(draw.normal(100, 10, 1000), 1)
        x[: int(1000 * rate)] = code
        given[name] = Records(name, np.arange(1000).astype(str), pd.DataFrame({"x": x}))
    return given


@pytest.mark.parametrize("code", [99999, -99999, 9999.9])
def test_a_code_for_missing_is_no_other_unit_and_is_named(code: float) -> None:
    given = labs(code)
    TableSpace(given, "samples")  # 98% of members reach as far as the code, of samples not
    (check,) = doubt_code("x", list(given.values()))
    assert f"x: {code:g} stands there 24 times, far from all other values" in check.message
    assert check.message.endswith(f"records.missing=[{code:g}]")


def test_a_lone_far_value_is_no_other_unit() -> None:
    given = {name: r.take_rows(np.arange(60), name) for name, r in labs(1e6, (0.001, 0)).items()}
    TableSpace(given, "samples")
    assert doubt_code("x", list(given.values())) == []


@pytest.mark.parametrize("rates", [(0, 0), (0.02, 0), (0.05, 0.05)])
@pytest.mark.parametrize("factor", [1000, 1 / 12])
def test_another_unit_is_refused_beside_codes_too(rates: tuple[float, ...], factor: float) -> None:
    given = labs(99999, rates)
    table = given["samples"].table
    table["x"] = table["x"].where(table["x"] == 99999, table["x"] * factor)
    with pytest.raises(UserError, match="unit or the scaling another") as raised:
        TableSpace(given, "samples")
    assert ("records.missing=[99999]" in str(raised.value)) == (max(rates) > 0)


def test_codes_are_named_as_they_were_written(checked: Callable[..., dict[str, str]]) -> None:
    def change(name: str, frame: pd.DataFrame) -> pd.DataFrame:
        since = pd.Timestamp("2020-01-01") + pd.to_timedelta(frame["age"], unit="D")
        return frame.assign(day=since.dt.strftime("%Y-%m-%d").where(frame.index > 9, "1900-01-01"))

    said = checked(change)["suspected codes"]
    assert said.startswith("day: 1900-01-01 stands there 30 times")
    assert "suspected codes" not in checked(lambda name, frame: frame)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.round(np.exp(MADE.normal(3, 1.5, 2000))),
        lambda: MADE.choice([0, 1, 2, 3, 30], 2000, p=[0.8, 0.1, 0.05, 0.04, 0.01]),
        lambda: MADE.poisson(0.5, 2000),
    ],
)
def test_long_tails_are_no_codes(draw: Callable[[], np.ndarray]) -> None:
    frame = pd.DataFrame({"x": draw().astype(float)})
    assert doubt_code("x", [Records("members", np.arange(2000).astype(str), frame)]) == []
