"""Any table, CSV or parquet, of numbers and categories: a researcher's own data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from benchmark.data.columns import (
    Cells,
    bin_columns,
    column_of,
    kind_of_numbers,
    learnt_columns,
    understand_column,
    values_of,
)
from benchmark.data.dataset import write_records
from benchmark.data.files import (
    Faults,
    OnError,
    columns_of,
    csv_rows,
    delimiter_of,
    find_file,
    hash_content,
    is_typed,
    merged_by_float32,
    refuse_other_delimiter,
    remember,
    typed_frame,
)
from benchmark.data.notation import UNKNOWN, Written, check_format, decimal_comma, refuse_thousands
from benchmark.store.folders import home
from victims.errors import UserError
from victims.schema import Schema

Encoding = Literal["none", "unit", "bins"]
"""How numeric columns are scaled."""

Bins = Annotated[int, Field(ge=2)]

PLAIN: tuple[list[str], str, None] = ([], ".", None)
"""How files are written whose identity does not say it: it is older than other ways."""


class Table:
    """Rows of numbers and categories, one record each: (d,) float32, as `Schema` lays them out.

    A column holds numbers where most of its cells are finite numbers, true or false; then a row
    with another cell is corrupt. Every other column is a category. Codes such as 007 are text.
    Blanks around a cell or a name do not count. Numbers and dates may be written as audits take
    them (`benchmark.data.notation`): dates become days since 1970, durations days,
    intervals their middle. Scales and bins are those of all rows, members or not; the facts record
    them.

    file: .csv, .tsv (either also .gz or .zip), .parquet, .feather or .xlsx (needs openpyxl), with a
    header.
    columns: those to use, in this order; None for all but `identity`.
    identity: column that says whom a row is about (for split=identity), any text; or None.
    log: columns x (none negative) replaced by log(1 + x) first, for long tails.
    encode: `none` (as stored), `unit` (each number scaled to [0, 1] by its smallest and largest
    value) or `bins`. Then a column with more than two values becomes one 0/1 column per quantile
    bin, one with two values becomes one 0/1 column, and one with a single value is dropped.
    bins: quantile bins of a column, at most, for encode=bins.
    on_error: raise or skip, for corrupt rows.
    categorical: columns whose numbers are codes: they are categories.
    levels: column -> all levels of a category that may occur, missing ones as ""; a row with
    another is corrupt. Without them the levels are those of all rows, members or not.
    gaps: whether a cell may be missing (empty, NA, NaN, null, None; ? among numbers). A missing
    number is 0 beside an indicator (attacks that compare columns take the mean of those released),
    a missing category a level. Without gaps such a row is corrupt.
    missing: further cells that are missing.
    decimal: the sign of decimals, or `auto`: found in all columns together.
    dates: how dates are written, such as %d/%m/%Y; None: recognised.
    """

    name = "table"
    advice = "set data.file to a .csv, .tsv or .parquet file"
    whole = True
    """Whether columns of whole numbers are released as such where they are scaled."""

    def __init__(
        self,
        file: str,
        columns: Sequence[str] | None = None,
        identity: str | None = None,
        log: Sequence[str] = (),
        encode: Encoding = "none",
        bins: Bins = 4,
        on_error: OnError = "raise",
        categorical: Sequence[str] = (),
        levels: Mapping[str, Sequence[Any]] | None = None,
        gaps: bool = True,
        missing: Sequence[str] = (),
        decimal: Literal["auto", ".", ","] = "auto",
        dates: str | None = None,
    ) -> None:
        self.file, self.owner = home(file), identity
        self.columns = columns and [str(name) for name in columns]
        self.log, self.encode, self.bins = list(log), encode, bins
        self.on_error = on_error
        self.categorical, self.gaps = list(categorical), gaps
        self.levels = {str(c): [str(v) for v in values] for c, values in (levels or {}).items()}
        coded = [*self.categorical, *self.levels]
        self.how = Written(coded, list(map(str, missing)), decimal, dates, "data")
        check_format(self.how)

    def identity(self) -> dict[str, Any]:
        """Settings and a hash of the file."""
        written = (self.how.missing, self.how.decimal, self.how.dates)
        told: dict[str, Any] = {} if written == PLAIN else {"written": written}
        if self.gaps and self.encode != "bins" and self._misses_cells():
            told["missing"] = "mean"  # attacks once took missing numbers for 0
        return told | {
            "name": self.name,
            "columns": self.columns,
            "identity": self.owner,
            "log": self.log,
            "encode": self.encode,
            "bins": self.bins if self.encode == "bins" else None,
            "on_error": self.on_error,
            "content": hash_content(self.find_file()),
            "mixed": {
                "categorical": self.categorical,
                "levels": self.levels,
                "gaps": self.gaps,
                "whole": self.whole,
            },
        }

    def _misses_cells(self) -> bool:
        """Whether some cell is missing; a file is read for it once, as for its hash."""
        path, gone = self.find_file(), self.how.gone | {UNKNOWN}

        def read() -> str:
            rows = _rows_of(path)
            next(rows, None)  # a column without a name misses nothing
            found = any(not gone.isdisjoint(map(str.strip, cells)) for _, cells in rows)
            return "yes" if found else "no"

        about = f"missing cells: {sorted(gone)}"
        return remember(about, [path], read, re.compile("yes|no")) == "yes"

    def prepare(self, folder: Path) -> None:
        """Read the file once into memory (8 bytes a number) and write the encoded rows."""
        columns, owners, facts = self._read_table()
        schema, rows, how = self._encode_columns(columns)
        facts |= how | {"name": self.name, "records": len(rows)}
        facts |= {
            "columns": [c.name for c in schema.columns],
            "kind": kind_of_numbers(schema, rows),
        }
        if of := learnt_columns(schema.columns, self.levels):
            facts["measured"] = of
        if odd := {c.name: c.what for c in columns if c.what not in ("categories", "numbers")}:
            facts["written"] = odd
        people = None if owners is None else np.unique(owners, return_inverse=True)[1]
        write_records(folder, [rows], len(rows), people, facts, schema)

    def _encode_columns(self, columns: list[Cells]) -> tuple[Schema, np.ndarray, dict[str, Any]]:
        names = [cells.name for cells in columns]
        for setting in ("log", "categorical", "levels"):
            if unknown := set(getattr(self, setting)) - set(names):
                raise UserError(
                    f"data.{setting}: {sorted(unknown)} is not among {', '.join(names)}"
                )
        if self.encode == "bins":  # whose bins are found in float64
            return bin_columns([self._take_logarithm(cells) for cells in columns], self.bins)
        found = [
            column_of(c, self.encode, c.name in self.log, self.levels.get(c.name), self.whole)
            for c in columns
        ]
        schema = Schema(found)
        given = {c.name: values_of(cells, c) for cells, c in zip(columns, found, strict=True)}
        for column in found:
            if column.kind in ("numeric", "integer"):
                values = given[column.name][~np.isnan(given[column.name])]
                self._refuse_merged(column.name, values, column.to_stored(values))
        ends = {"smallest": "low", "largest": "high"} if self.encode == "unit" else {}
        numbers = [column for column in found if column.kind != "category"]
        facts = {name: [getattr(c, end) for c in numbers] for name, end in ends.items()}
        return schema, schema.rows_of_table(given), facts

    def _take_logarithm(self, cells: Cells) -> Cells:
        """A column whose bins are found: after its logarithm, where one is asked for."""
        if cells.name not in self.log or cells.numbers is None:
            return cells
        column = column_of(cells, "none", True, None, False)
        return Cells(cells.name, cells.texts, column.to_stored(cells.numbers), cells.faulty)

    def _refuse_merged(self, name: str, values: np.ndarray, stored: np.ndarray) -> None:
        if merged_by_float32(values, stored):
            raise UserError(
                f"{self.find_file()}: column {name!r} holds numbers that float32 cannot tell apart "
                f"or hold; data.encode=unit scales columns first, data.columns leaves some out"
            )

    @property
    def fitted(self) -> bool:
        """Whether the encoding is measured on the records: ranges or quantiles of all of them."""
        return self.encode in ("unit", "bins")

    def find_file(self) -> Path:
        """The file; raises UserError where it does not exist."""
        return find_file(self.file.name, [self.file.parent], self.advice)

    def _read_table(self) -> tuple[list[Cells], np.ndarray | None, dict[str, Any]]:
        """Columns of the rows that are whole, owners (n,) str, and facts on what was left out."""
        path, faults = self.find_file(), Faults(self.on_error)
        rows = _rows_of(path)
        header = [name.strip() for name in next(rows, (1, []))[1]]
        if not is_typed(path):
            refuse_other_delimiter(str(path), header, delimiter_of(path))
        default = [name for name in header if name != self.owner]
        names = default if self.columns is None else list(self.columns)
        if not names:
            raise UserError(f"{path} has no column to use")
        places = columns_of(header, names, path)
        owner = None if self.owner is None else columns_of(header, [self.owner], path)[0]
        every = list(rows)
        odd = {i: f"{len(c)} cells under {len(header)} columns" for i, (_, c) in enumerate(every)}
        odd = {i: why for i, why in odd.items() if len(every[i][1]) != len(header)}
        whole = np.array([i for i in range(len(every)) if i not in odd], np.int64)
        columns = self._understand_cells(
            names, [[every[i][1][place] for i in whole] for place in places]
        )
        kept = np.ones(len(whole), bool)
        for cells, place in zip(columns, places, strict=True):
            for i in np.flatnonzero(cells.faulty & kept).tolist():
                odd[int(whole[i])] = (
                    f"column {header[place]!r} is {every[int(whole[i])][1][place]!r}"
                )
                kept[i] = False
        for i in sorted(odd):
            faults.add(f"{path.name} line {every[i][0]}", odd[i])
        facts = faults.settle(len(every), f"rows of {path.name}")
        owners = None if owner is None else np.array([every[i][1][owner] for i in whole[kept]])
        return [cells.select_rows(kept) for cells in columns], owners, facts

    def _understand_cells(self, names: Sequence[str], cells: list[list[str]]) -> list[Cells]:
        """What each column is; one sign of decimals serves them all."""
        how, gone = self.how, self.how.gone
        texts = [
            np.array(["" if c.strip() in gone else c.strip() for c in column], object)
            for column in cells
        ]
        every = list(zip(names, texts, strict=True))
        comma = decimal_comma({name: {name: column} for name, column in every}, how)
        if not is_typed(self.find_file()):
            for name, column in every:
                refuse_thousands(name, sorted(set(column)), how, comma)
        return [
            understand_column(name, column, self.levels.get(name), self.gaps, how, comma)
            for name, column in every
        ]


def _rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells, the header first."""
    return _typed_rows(path) if is_typed(path) else csv_rows(path, delimiter_of(path))


def _typed_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The same as `csv_rows`, so that all kinds of file mean the same; row 1 is line 2."""
    frame = typed_frame(path)
    yield 1, [str(name) for name in frame.columns]
    for number, row in enumerate(frame.itertuples(index=False, name=None), 2):
        yield number, [str(cell) for cell in row]
