"""What each column of a table is, decided once from all inputs together.

A column is numbers, dates or categories in all inputs or in none, written in one way. Cells that
are missing stay missing in a column of numbers or dates, and are a category of their own elsewhere.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from benchmark.audit.given.markers import Markers
from benchmark.config.quoting import pasted
from benchmark.data.notation import (
    CODE,
    MISSING,
    MOSTLY,
    UNKNOWN,
    Written,
    check_format,
    decimal_comma,
    list_names,
    read_dates,
    read_numbers,
    refuse_thousands,
    to_days,
)
from victims.errors import UserError

WITH_UNIT = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?\s*([A-Za-zµ°²³/]{1,6})")
CELLS = str, bool, int, float, np.generic, Decimal, pd.Interval
TIMES = datetime.date, datetime.time, datetime.timedelta, pd.Period


def convert_columns(
    frames: Mapping[str, pd.DataFrame], how: Written
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Inputs with equal columns as numbers (float64, NaN is missing) and text ("" is missing).

    Dates become days since 1970, durations days, intervals their middle. Also returns what was
    decided, a sentence each. Raises UserError where a column can be read in several ways, or in
    none.
    """
    first = next(iter(frames.values()))
    if unknown := [column for column in how.categorical if column not in first.columns]:
        raise UserError(f"records.categorical: no column is named {', '.join(unknown)}")
    check_format(how)
    markers = Markers(how.missing)
    cells = {
        column: {
            name: _read_cells(name, column, frame[column], how, markers)
            for name, frame in frames.items()
        }
        for column in first.columns
    }
    comma = decimal_comma(cells, how)
    for column, inputs in cells.items():
        texts = [name for name, found in inputs.items() if found.dtype == object]
        written = [set(inputs[name]) for name in texts if _is_text(frames[name][column])]
        refuse_thousands(column, sorted(set().union(*written)), how, comma)
    made: dict[str, dict[str, Any]] = {name: {} for name in frames}
    said: dict[str, list[str]] = {}
    for column, inputs in cells.items():
        values, what = _decide_column(column, inputs, how, comma, markers)
        said.setdefault(what, []).append(column)
        for name in frames:
            made[name][column] = values[name]
    markers.refuse_idle()
    tables = {name: pd.DataFrame(columns, columns=first.columns) for name, columns in made.items()}
    return tables, [
        *(f"{what}: {list_names(of)}" for what, of in said.items()),
        *_count_missing(tables),
    ]


def as_text(values: pd.Series) -> pd.Series:
    """Categories as text, each value for itself: 7, 7.0 and "7.0" are the same, "007" is not."""
    if pd.api.types.is_float_dtype(values):
        known = {value: _text_of(value) for value in values.unique()}
    else:
        if values.dtype == object:
            values = values.map(lambda value: None if _is_missing(value) else value)
        known = {value: _canonical_code(_text_of(value)) for value in values.unique()}
    return values.map(known).fillna("").astype(object)


# --- cells ----------------------------------------------------------------------------------------


def _read_cells(
    name: str, column: str, values: pd.Series, how: Written, markers: Markers
) -> np.ndarray:
    """Cells as float64, datetime64 (us), or text (object), "" where one is missing."""
    where = f"{name}, column {column!r}"
    kind = values.dtype
    if column in how.categorical:
        text = as_text(
            values if not isinstance(kind, pd.CategoricalDtype) else values.astype(object)
        )
        return markers.blank_texts(text.to_numpy(object))
    if pd.api.types.is_numeric_dtype(kind):  # booleans too
        if pd.api.types.is_complex_dtype(kind):
            raise UserError(f"{where}: it holds values that are not finite numbers")
        return markers.blank_numbers(_exact_numbers(where, values), values)
    if isinstance(kind, pd.DatetimeTZDtype) or kind.kind == "M":
        return pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
    if kind.kind == "m":
        return values.dt.total_seconds().to_numpy(np.float64) / 86400
    plain = values.astype(object) if not isinstance(kind, pd.StringDtype) else values
    if not isinstance(kind, pd.StringDtype):
        if odd := [
            type(v) for v in plain if not isinstance(v, (*CELLS, *TIMES)) and not _is_missing(v)
        ]:
            raise UserError(
                f"{where}: it holds a {odd[0].__name__}; give numbers or text, or "
                f"{pasted('records.ignore', column)}"
            )
        plain = plain.map(lambda value: None if _is_missing(value) else value)
        present = [value for value in plain if value is not None]
        if present and all(isinstance(value, datetime.timedelta) for value in present):
            seconds = [np.nan if value is None else value.total_seconds() for value in plain]
            return np.array(seconds) / 86400
    known = {value: _text_of(value).strip() for value in plain.unique()}
    return markers.blank_texts(plain.map(known).fillna("").to_numpy(object))


def _is_text(values: pd.Series) -> bool:
    """Whether all cells are text as it was written, and no number that became text."""
    return all(isinstance(value, str) or _is_missing(value) for value in values)


def _exact_numbers(where: str, values: pd.Series) -> np.ndarray:
    """Numbers as float64; raises UserError for infinite ones, and integers that it would merge."""
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        raise UserError(f"{where}: it holds values that are not finite numbers")
    whole = pd.api.types.is_integer_dtype(values.dtype) and (np.abs(numbers) > 2.0**53).any()
    if whole and values.nunique() > len(np.unique(numbers[~np.isnan(numbers)])):
        raise UserError(
            f"{where}: its whole numbers are too long to be told apart as numbers; are they "
            f"identifiers? {pasted('records.ignore', str(values.name))}"
        )
    return numbers


def _is_missing(value: Any) -> bool:
    if isinstance(value, Decimal):  # a signalling NaN fails where it is compared
        return value.is_nan()
    return value is None or value is pd.NaT or value is pd.NA or value != value


def _text_of(value: Any) -> str:
    """One cell as text, the same however its column is stored."""
    if _is_missing(value):
        return ""
    if isinstance(value, pd.Interval):
        return f"[{value.left}, {value.right}]"
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    if isinstance(value, pd.Period):
        value = value.to_timestamp()
    return str(value)


def _canonical_code(text: str) -> str:
    """A code that one file has as 7 and another as 7.0; leading zeros are kept."""
    text = text.strip()
    if re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+", text):
        return _text_of(float(text))
    return "" if text in MISSING else text


# --- decisions ------------------------------------------------------------------------------------


def _decide_column(
    column: str, inputs: Mapping[str, np.ndarray], how: Written, comma: bool, markers: Markers
) -> tuple[dict[str, np.ndarray], str]:
    """The column in each input, and what it was taken for."""
    texts = {name: cells for name, cells in inputs.items() if cells.dtype == object}
    present = {name: cells for name, cells in texts.items() if (cells != "").any()}
    kinds = {cells.dtype.kind for name, cells in inputs.items() if name not in texts}
    if column in how.categorical:
        return dict(inputs), "categories, as asked"
    if len(kinds) > 1:
        raise UserError(f"column {column!r} holds dates in one input but numbers in another")
    if not present:
        return {name: to_days(cells) for name, cells in inputs.items()}, (
            "dates (in days)" if "M" in kinds else "numbers"
        )
    different = sorted(set().union(*(set(cells) for cells in present.values())) - {""})
    if "f" not in kinds and (found := read_dates(column, different, how, "M" in kinds)):
        return {name: _look_up(found[0], cells) for name, cells in inputs.items()}, found[1]
    known, what = read_numbers(column, different, comma, how)
    known |= {UNKNOWN: np.nan}
    odd = [text for text in different if text not in known]
    codes = [text for text in different if CODE.fullmatch(text)]
    if not codes and not odd:
        if what.startswith("numbers"):
            known = markers.blank_known(known)
        made = {name: _look_up(known, cells) for name, cells in inputs.items()}
        if infinite := [name for name, values in made.items() if np.isinf(values).any()]:
            raise UserError(
                f"{infinite[0]}, column {column!r}: it holds values that are not finite numbers"
            )
        return made, what
    if kinds:
        other = "numbers" if "f" in kinds else "dates"
        elsewhere = list_names([n for n in inputs if n not in texts])
        shown = list_names([repr(t) for t in odd or codes])
        raise UserError(
            f"column {column!r} holds {other} in {elsewhere} "
            f"but text in {list_names(list(present))} ({shown}); "
            f"mend one, or {pasted('records.categorical', column)}; records.missing=[...] names "
            f"cells that are missing"
        )
    if not codes:
        _refuse_mostly_numbers(column, present, different, odd)
        _refuse_changed_type(column, present, odd)
    return dict(inputs), "codes with leading zeros, kept as text" if codes else "categories"


def _refuse_mostly_numbers(
    column: str, present: Mapping[str, np.ndarray], different: list[str], odd: list[str]
) -> None:
    """Raise UserError for numbers with a few other cells among them, or with a unit behind."""
    cells = np.concatenate([values[values != ""] for values in present.values()])
    strange = np.isin(cells, odd)
    if max(1 - strange.mean(), 1 - len(odd) / len(different)) >= MOSTLY:
        text = [name for name, values in present.items() if np.isin(values, odd).any()]
        raise UserError(
            f"column {column!r}: {len(cells) - strange.sum()} of {len(cells)} cells are numbers, "
            f"the others text in {list_names(text)} ({list_names([repr(t) for t in odd])}): "
            f"{pasted('records.missing', odd[0])} reads it as missing, "
            f"{pasted('records.categorical', column)} reads all as categories"
        )
    units = [WITH_UNIT.fullmatch(text) for text in different]
    found = {match[1] for match in units if match}
    if len(different) >= 20 and len(found) == 1 and all(units):
        raise UserError(
            f"column {column!r} holds numbers with the unit {found.pop()!r}: give the numbers "
            f"alone, or {pasted('records.categorical', column)}"
        )


def _refuse_changed_type(column: str, present: Mapping[str, np.ndarray], odd: list[str]) -> None:
    """Raise UserError where one input holds nothing but numbers and another none."""
    is_text = {name: np.isin(cells[cells != ""], odd) for name, cells in present.items()}
    numbers = [name for name, found in is_text.items() if not found.any()]
    text = [name for name, found in is_text.items() if found.all()]
    if numbers and text:
        raise UserError(
            f"column {column!r} holds numbers in {list_names(numbers)} but text in "
            f"{list_names(text)} ({list_names([repr(cell) for cell in odd])}); mend one, or "
            f"{pasted('records.categorical', column)}"
        )


def _look_up(known: Mapping[str, float], cells: np.ndarray) -> np.ndarray:
    if cells.dtype != object:
        return to_days(cells)
    return np.array([np.nan if text == "" else known[text] for text in cells], np.float64)


# --- words ----------------------------------------------------------------------------------------


def _count_missing(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """How many cells are missing, by input."""
    counts = {n: int((t.isna() | (t == "")).to_numpy().sum()) for n, t in tables.items()}
    gaps = [f"{count} in {name}" for name, count in counts.items() if count]
    return [f"missing cells, read as a value of their own: {', '.join(gaps)}"] if gaps else []
