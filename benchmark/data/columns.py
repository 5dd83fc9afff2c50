"""What the columns of a table are, decided from their cells, and how they become numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.data.notation import CODE, MOSTLY, UNKNOWN, Written, read_dates, read_numbers
from victims.errors import UserError
from victims.schema import Column, Schema


@dataclass(frozen=True)
class Cells:
    """One column as read.

    numbers: (n,) float64, NaN where a number is missing or the cell is none; None for a category.
    texts: (n,) object, "" is missing. faulty: (n,) bool, cells that the column cannot hold. what:
    how its cells are written, in words.
    """

    name: str
    texts: np.ndarray
    numbers: np.ndarray | None
    faulty: np.ndarray
    what: str = "categories"

    def select_rows(self, rows: np.ndarray) -> Cells:
        """These rows only."""
        numbers = None if self.numbers is None else self.numbers[rows]
        return Cells(self.name, self.texts[rows], numbers, self.faulty[rows], self.what)


def understand_column(
    name: str,
    texts: np.ndarray,
    levels: Sequence[Any] | None,
    gaps: bool,
    how: Written,
    comma: bool,
) -> Cells:
    """A column of numbers where most of its cells are numbers or all are dates; else a category.

    texts: (n,) object, "" is missing. levels: those that a category may have, or None for all that
    occur. gaps: whether cells may be missing. comma: whether that is the decimal sign.
    Codes with leading zeros, such as 007, are text.
    """
    missing = texts == ""
    different = sorted(set(texts) - {""})
    codes = any(CODE.fullmatch(text) for text in different)
    if name not in how.categorical and levels is None and not codes:
        found = read_dates(name, different, how, False)
        known, what = found or read_numbers(name, different, comma, how)
        numbers = np.array([known.get(text, np.nan) for text in texts], np.float64)
        finite = np.isfinite(numbers)
        if (~np.isnan(numbers)).sum() >= MOSTLY * (~missing).sum():
            missing |= texts == UNKNOWN
            faulty = ~finite & ~missing if gaps else ~finite
            return Cells(name, texts, np.where(finite, numbers, np.nan), faulty, what)
    allowed = None if levels is None else {str(level) for level in levels}
    odd = np.array([allowed is not None and text not in allowed for text in texts])
    return Cells(name, texts, None, odd if gaps else odd | missing)


def column_of(
    cells: Cells, how: str, log: bool, levels: Sequence[Any] | None, whole: bool
) -> Column:
    """What one column is; how: none or unit, see `Table`. whole: whether integers are told apart.

    Raises UserError for a column without a single cell, and logarithms of negative numbers.
    """
    name, numbers = cells.name, cells.numbers
    if (cells.texts == "").all():
        raise UserError(f"column {name!r} is missing in every row; data.columns leaves it out")
    if numbers is None and levels is not None:
        return Column(name, "category", tuple(str(level) for level in levels))
    column = column_of_values(name, cells.texts if numbers is None else numbers, whole)
    if numbers is None or column.kind == "category":
        return column
    column, present = replace(column, log=log), numbers[~np.isnan(numbers)]
    if log and present.min() < 0:
        raise UserError(f"data.log: column {name!r} has negative values")
    if how != "unit":
        return column
    ends = column.to_stored(np.array([present.min(), present.max()]))
    low, high = float(ends[0]), float(ends[1])
    if column.kind == "binary" and high > low:
        return column
    return replace(column, low=low, high=high if high > low else low + 1.0)


def column_of_values(name: str, values: np.ndarray, whole: bool = True) -> Column:
    """What a column is by its values (n,): float64, NaN where one is missing; or text, or "".

    whole: whether integers are told apart. 0 and 1 with gaps are a category of three levels.
    """
    if values.dtype == object:
        return Column(name, "category", tuple(sorted(set(values))))
    present = values[~np.isnan(values)]
    gaps = len(present) < len(values)
    if np.isin(present, (0, 1)).all():
        return Column(name, "category", ("", "0", "1")) if gaps else Column(name, "binary")
    kind = "integer" if whole and (present % 1 == 0).all() else "numeric"
    return Column(name, kind, gaps=gaps)


def values_of(cells: Cells, column: Column) -> np.ndarray:
    """What `Schema.rows` takes for a column: numbers, or text."""
    if column.kind != "category":
        assert cells.numbers is not None
        return cells.numbers
    if cells.numbers is None:
        return cells.texts
    return np.array(["" if np.isnan(v) else f"{v:g}" for v in cells.numbers], object)


def bin_columns(columns: Sequence[Cells], bins: int) -> tuple[Schema, np.ndarray, dict[str, Any]]:
    """Records (n, d): 0/1 columns, value v in bin i where edge i <= v < edge i + 1; categories.

    Also returns the edges by column. Raises UserError for numbers that are missing.
    """
    parts: list[tuple[Column, np.ndarray]] = []
    edges: dict[str, Any] = {}
    for cells in columns:
        if cells.numbers is None:
            column = column_of(cells, "none", False, None, False)
            parts.append((column, cells.texts))
        elif np.isnan(cells.numbers).any():
            raise UserError(f"data.encode=bins: in column {cells.name!r} numbers are missing")
        else:
            parts += _bins_of_column(cells.name, cells.numbers, bins, edges)
    if not parts:
        raise UserError("data.encode=bins: every column has a single value")
    schema = Schema([column for column, _ in parts])
    rows = schema.rows_of_table({column.name: values for column, values in parts})
    return schema, rows, {"bins": edges}


def _bins_of_column(
    name: str, column: np.ndarray, bins: int, edges: dict[str, Any]
) -> list[tuple[Column, np.ndarray]]:
    distinct = np.unique(column)
    if len(distinct) == 2:
        return [(Column(f"{name}={distinct[1]:g}", "binary"), column == distinct[1])]
    if len(distinct) < 2:
        return []
    quantiles = np.quantile(column, np.arange(1, bins) / bins, method="higher")
    starts = np.unique([distinct[0], *quantiles])
    bin_of = np.searchsorted(starts, column, side="right") - 1
    edges[name] = starts.tolist()
    return [(Column(f"{name}>={start:g}", "binary"), bin_of == i) for i, start in enumerate(starts)]


def kind_of_numbers(schema: Schema, rows: np.ndarray) -> str:
    """What the numbers are: mixed, binary (all 0 or 1), counts (whole, none negative), numeric."""
    if any(column.kind == "category" or column.gaps for column in schema.columns):
        return "mixed"
    if np.isin(rows, (0, 1)).all():
        return "binary"
    return "counts" if (rows >= 0).all() and (rows % 1 == 0).all() else "numeric"


def learnt_columns(columns: Sequence[Column], levels: Mapping[str, Any]) -> list[str]:
    """Columns of which something was learnt from the records: levels, or that numbers miss."""
    return [c.name for c in columns if c.gaps or (c.kind == "category" and c.name not in levels)]
