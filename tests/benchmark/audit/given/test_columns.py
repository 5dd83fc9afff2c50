"""What a column is, is decided from all inputs together; read right, or refused in one line."""

from __future__ import annotations

import csv
import datetime
import re
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.audit.given.columns import as_text, convert_columns
from benchmark.audit.given.inputs import Records
from benchmark.audit.given.refusals import refuse_equal
from benchmark.audit.given.space import TableSpace
from benchmark.audit.given.tables import read_table
from benchmark.data.dataset import in_memory
from benchmark.data.notation import Written
from victims.errors import UserError

DURATIONS = [1.5, -1 / 24, 1 + 0.5 / 86400, 3]


def read(how: Written | None = None, **inputs: list[Any]) -> dict[str, list[Any]]:
    """A column `x` of each input as it is read."""
    frames = {name: pd.DataFrame({"x": cells}) for name, cells in inputs.items()}
    return {n: t["x"].tolist() for n, t in convert_columns(frames, how or Written())[0].items()}


def refusal(how: Written | None = None, **inputs: list[Any]) -> str:
    with pytest.raises(UserError) as raised:
        read(how, **inputs)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1,550", "12,300,000", "7"], [1550, 12300000, 7]),
        (["$5000", "-$1,000.50", "$7"], [5000, -1000.5, 7]),
        (["1 550", "20\u00a0000", "7"], [1550, 20000, 7]),
        (["1,5", "1.550,25", "7"], [1.5, 1550.25, 7]),
        (["12%", "7.5 %", "0%"], [12, 7.5, 0]),
        (["(500)", "\u2212500", "1e3"], [-500, -500, 1000]),
        (["1,00,000", "12,345", "5"], [100000, 12345, 5]),
        (["True", "false", "TRUE"], [1, 0, 1]),
        (["[10, 20)", "[20, 30)", "(-inf, 10]"], [15, 25, 10]),
        ([pd.Interval(0, 4), pd.Interval(4, 6), pd.Interval(0, 4)], [2, 5, 2]),
        (["2020-01-31", "1970-01-02", "2020-01-31 12:00"], [18292, 1, 18292.5]),
        (["31/01/2020", "1/2/2020", "1/1/1970"], [18292, 18293, 0]),
        (["01/31/2020", "2/1/2020", "1/1/1970"], [18292, 18293, 0]),
        ([datetime.date(1970, 1, 2), datetime.date(1970, 1, 1), None], [1, 0, np.nan]),
        (pd.to_timedelta(["1D", "12h", "0h"]).tolist(), [1, 0.5, 0]),
        (["1 days 12:00:00", "-1 days +23:00:00", "1 day, 0:00:00.5", "3 days"], DURATIONS),
        (["2", "?", "NA"], [2, np.nan, np.nan]),
        ([Decimal("0.25"), Decimal("sNaN"), None], [0.25, np.nan, np.nan]),
    ],
)
def test_cells_mean_numbers(cells: list[Any], numbers: list[float]) -> None:
    np.testing.assert_allclose(read(samples=cells)["samples"], numbers)


def test_the_other_inputs_decide_too() -> None:
    assert read(a=["1,550"], b=["1,5"]) == {"a": [1.55], "b": [1.5]}
    assert read(a=["1/2/1970"], b=["13/1/1970"]) == {"a": [31.0], "b": [12.0]}
    sizes = {"a": ["2", "3+", "S", "S", "S"], "b": ["2", "2"]}
    assert read(**sizes) == sizes  # numbers are among the levels of both
    assert read(a=["7"], b=["007"]) == {"a": ["7"], "b": ["007"]}
    assert read(a=["2020-01-01"], b=[pd.Timestamp("2020-01-01")])["a"] == [18262.0]
    how = Written(decimal=",")
    assert read(how, a=["1,550"]) == {"a": [1.55]}


@pytest.mark.parametrize("odd", [[3.5], ["3.5"]])
def test_a_code_is_text_for_itself(odd: list[Any]) -> None:
    how = Written(categorical=["x"])
    found = read(how, members=[7, 8], non_members=[7.0, *odd], samples=["7", "8.0"])
    assert found == {"members": ["7", "8"], "non_members": ["7", "3.5"], "samples": ["7", "8"]}
    assert as_text(pd.Series(["007", "7.0"])).tolist() == ["007", "7"]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"a": [*"123456789", "old"]}, "9 of 10 cells are numbers"),
        ({"a": ["1/2/2020", "3/4/2020"]}, "records.dates=%d/%m/%Y"),
        ({"a": ["2020-01-31", "2020-02-01", "soon"]}, "holds dates (ISO8601), but not only"),
        ({"a": [1, 2], "b": ["00501", "2"]}, "'00501'"),
        ({"a": ["1", "$2,000,x", "3"]}, "records.missing"),
        ({"a": [f"{i} kg" for i in range(30)]}, "the unit 'kg'"),
        ({"a": [pd.Timestamp("2020-01-01")], "b": [1]}, "dates in one input but numbers"),
        ({"a": [2**60, 2**60 + 1]}, "too long to be told apart"),
        ({"a": ["1e999", "2"]}, "a, column 'x': it holds values that are not finite"),
        ({"a": [["list"], ["list"]]}, "it holds a list"),
        ({"a": ["12%", "0.5"]}, "with and without %"),
        ({"a": ["$12"], "b": ["€5"]}, "or with several"),
        ({"a": ["3"], "b": ["red", "blue", "grey"]}, "numbers in a but text in b ('blue'"),
        ({"a": ["950", "1.234", "12.345"]}, "the point of '1.234', beside '950', may stand"),
        (
            {"a": ["€1.234"], "b": ["950 €", "-7", "?"]},
            "\"records.decimal=','\" reads thousands, records.decimal=. decimals",
        ),
        ({"a": ["1 days 12:00:00"], "b": ["36"]}, "durations ('1 days 12:00:00') and plain"),
    ],
)
def test_what_may_mean_two_things_is_refused(inputs: dict[str, list[Any]], said: str) -> None:
    assert said in refusal(**inputs)


def test_points_between_thousands_are_read_where_that_is_sure() -> None:
    cells = ["950", "1.234"]
    assert read(Written(decimal=","), a=cells) == {"a": [950, 1234]}
    assert read(Written(decimal="."), a=cells) == {"a": [950, 1.234]}
    assert read(a=cells, b=["1.234.567"])["a"] == [950, 1234]
    assert read(a=cells, b=["3,5"])["a"] == [950, 1234]
    assert read(a=cells, b=["0.125"])["a"] == [950, 1.234]
    assert read(a=cells, b=["7.5"])["a"] == [950, 1.234]
    assert read(a=["1.234", "2.500", "12.345", "99"])["a"] == [1.234, 2.5, 12.345, 99]
    assert read(a=np.array([950.0, 1.234], object))["a"] == [950, 1.234]  # type: ignore[arg-type]


def test_each_column_has_its_own_points() -> None:
    frame = pd.DataFrame({"x": ["950", "1.234"], "y": ["103.9", "98.5"]})
    with pytest.raises(UserError, match="column 'x': the point"):
        convert_columns({"a": frame}, Written())


def test_advice_works() -> None:
    found = read(Written(missing=["old"]), a=["1", "old"], b=["2", "3"])
    np.testing.assert_array_equal(found["a"], [1, np.nan])
    how = Written(dates="%d/%m/%Y")
    assert read(how, a=["1/2/1970"]) == {"a": [31.0]}
    assert read(Written(categorical=["x"]), a=["1", "old"])["a"] == ["1", "old"]


@pytest.mark.parametrize("marker", ["99999", "99999.0"])
@pytest.mark.parametrize(
    "cells",
    [
        [1, 99999],
        [1.5, 99999.0],
        np.array([1.5, 99999], np.float32),
        pd.array([1, 99999], "Int64"),
        ["1.5", "99999.0"],
        ["1.5", "99,999"],
        ["1,5", "99.999"],
        [Decimal("1.5"), 99999],
        pd.Categorical([1.5, 99999]),
    ],
)
def test_a_marker_that_is_a_number_is_compared_as_one(marker: str, cells: Any) -> None:
    found = read(Written(missing=[marker]), a=cells, b=["2", "3"])["a"]
    assert np.isnan(found).tolist() == [False, True]


def test_markers_are_compared_as_their_column_stores_them() -> None:
    found = read(Written(missing=["-9.9"]), a=np.array([-9.9, 1], np.float32))["a"]  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, [np.nan, 1])
    how = Written(missing=["99999.0"], categorical=["x"])
    assert read(how, a=[7, 99999], b=["99999", "7"]) == {"a": ["7", ""], "b": ["", "7"]}
    assert read(Written(missing=["7"]), a=["007", "7"]) == {"a": ["007", ""]}
    assert read(Written(missing=["0"]), a=[True, False], b=[1, 0])["a"] == [1, 0]


def test_a_marker_that_no_cell_is_is_refused() -> None:
    assert "no compared cell of any input is 9999;" in refusal(
        Written(missing=["9999"]), a=[99999, 1]
    )
    assert "is unknown;" in refusal(Written(missing=["1", "unknown"]), a=["1", "a"])
    read(Written(missing=["NA", "1"]), a=["1", "2"])  # missing anyhow


def test_a_missing_value_equals_a_missing_value_and_nothing_else() -> None:
    frames = {
        "members": pd.DataFrame({"x": [1.0, np.nan, 3.0], "b": [0, 1, None], "c": ["u", None, ""]}),
        "samples": pd.DataFrame(
            {"x": [np.nan, 2.0, 4.0], "b": [None, 0, 1], "c": ["v", "u", "NA"]}
        ),
    }
    tables, notes = convert_columns(frames, Written())
    records = {n: Records(n, np.arange(3).astype(str), t) for n, t in tables.items()}
    space = TableSpace(records, "samples")
    rows = np.concatenate([space.records(records[n]).values for n in frames]).astype(float)
    x = rows[:, :2]  # mean 3, deviation 1, and whether it is missing
    np.testing.assert_allclose(x, [[-2, 0], [0, 1], [0, 0], [0, 1], [-1, 0], [1, 0]], atol=1e-6)
    b, c = (rows[:, 2 + 3 * i :][:, :3] for i in range(2))
    assert space.categories == ["b", "c"]
    assert np.square(b[2] - b[3]).sum() == 0  # both missing
    assert np.square(b[2] - b[0]).sum() == 2  # two levels, as in jobs
    assert np.square(c[1] - c[5]).sum() == 0
    assert "missing cells" in notes[-1]


def test_float32_must_tell_a_column_apart() -> None:
    frames = {n: pd.DataFrame({"x": [*range(100), 1e39]}) for n in ("members", "samples")}
    given = {n: Records(n, np.arange(101).astype(str), f) for n, f in frames.items()}
    with pytest.raises(UserError, match="extreme values hide"):
        TableSpace(given, "samples")
    for frame in frames.values():
        frame["x"] = 1.7e9 + 3 * np.arange(101)
    values = TableSpace(given, "samples").records(given["members"]).values
    assert len(np.unique(values)) == 101


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2,3\n4,5,6\n", "2 rows have more or fewer cells than the header, the first is line 2"),
        ("a,b\n1,2\n3\n", "line 3 (1 cells under 2 names)"),
        ("# exported today\na,b\n1,2\n", "is line 1 the header?"),
        ("", "the file is empty"),
        ("age;income\n1,5;2,25\n3;4,5\n", "are its columns separated by ';'?"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_the_header_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError) as raised:
        read_table("members", tmp_path / "t.csv")
    assert said in str(raised.value)


def test_equal_inputs_are_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    one, other = in_memory(rows), in_memory(rows[::-1])
    with pytest.raises(UserError, match="samples and reference hold the same records"):
        refuse_equal({"samples": one, "reference": other})
    refuse_equal({"members": one, "samples": other})
    refuse_equal({"samples": one, "reference": in_memory(rows[:19])})


CELL = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(-1e6, 1e6).map(repr),
    st.sampled_from(
        ["", "NA", "?", "1,550", "$5", "007", "1/2/2020", "2020-01-31", "x", " 7 ", "5%"]
    ),
    st.text("0123456789,.-/ $%:e+ab?\u00a0", max_size=8),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(CELL, min_size=1, max_size=6), st.lists(CELL, min_size=1, max_size=6))
def test_any_cells_are_read_or_refused(ours: list[str], theirs: list[str]) -> None:
    """Whatever is in the cells: equal text reads equal in both inputs, a plain number as itself."""
    try:
        found = read(a=ours, b=theirs)
    except UserError:
        return
    known: dict[str, Any] = {}
    for cell, value in zip(ours + theirs, found["a"] + found["b"], strict=True):
        first = known.setdefault(cell.strip(), value)
        assert first == value or (first != first and value != value)
        if isinstance(value, float) and not np.isnan(value) and re.fullmatch(r"-?[0-9]+", cell):
            assert value == float(cell)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=5))
def test_any_file_is_read_as_written_or_refused(rows: list[list[str]]) -> None:
    """A file of these rows gives these cells, or one line that says why not."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)
        try:
            found = read_table("members", path)
        except UserError:
            return
    kept = [[cell.strip() for cell in row] for row in rows]
    assert found.map(str.strip).to_numpy().tolist() == kept[1:]
