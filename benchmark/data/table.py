"""Any table of numbers, CSV or parquet: a researcher's own data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.dataset import write
from benchmark.data.files import (
    Faults,
    check_on_error,
    columns_of,
    content,
    csv_rows,
    delimiter,
    find,
    is_typed,
    merged_by_float32,
    typed_frame,
)
from benchmark.store.folders import home
from victims.errors import UserError

ENCODINGS = ("none", "unit", "bins")
TRUTH = {"true": 1.0, "false": 0.0}


class Table:
    """Rows of numbers, one record each: (d,) float32.

    file: .csv, .tsv (either also .gz or .zip), .parquet, .feather or .xlsx (needs openpyxl), with a
    header; blanks around a cell or a name do not count.
    columns: those to use, in this order; null for all but `identity`. A cell must be a finite
    number, true or false; a row with any other cell is corrupt.
    identity: column that says whom a row is about (for split=identity), any text; or null.
    log: columns x (none negative) replaced by log(1 + x) first, for long tails.
    encode: none (as stored), unit (each column scaled to [0, 1] by its smallest and largest value),
    or bins (each column with more than two values becomes one 0/1 column per quantile bin, at most
    `bins`, one with two values becomes one 0/1 column, one with a single value is dropped).
    on_error: raise or skip, for corrupt rows.
    Scales and bins are those of all rows, members or not; the facts record them.
    """

    name = "table"
    advice = "set data.file to a .csv, .tsv or .parquet file"

    def __init__(
        self,
        file: str,
        columns: Sequence[str] | None = None,
        identity: str | None = None,
        log: Sequence[str] = (),
        encode: str = "none",
        bins: int = 4,
        on_error: str = "raise",
    ) -> None:
        if encode not in ENCODINGS:
            raise UserError(f"data.encode={encode}: allowed are {', '.join(ENCODINGS)}")
        if bins < 2:
            raise UserError(f"data.bins={bins}: at least 2 are needed")
        self.file, self.owner = home(file), identity
        self.columns = columns and [str(name) for name in columns]
        self.log, self.encode, self.bins = list(log), encode, bins
        self.on_error = check_on_error(on_error)

    def identity(self) -> dict[str, Any]:
        """Settings and a hash of the file."""
        return {
            "name": self.name,
            "columns": self.columns,
            "identity": self.owner,
            "log": self.log,
            "encode": self.encode,
            "bins": self.bins if self.encode == "bins" else None,
            "on_error": self.on_error,
            "content": content(self.path()),
        }

    def prepare(self, folder: Path) -> None:
        """Read the file once into memory (8 bytes a number) and write the encoded rows."""
        names, values, owners, facts = self._read()
        if unknown := set(self.log) - set(names):
            raise UserError(f"data.log: {sorted(unknown)} is not among {', '.join(names)}")
        for column, name in enumerate(names):
            if name in self.log:
                if values[:, column].min() < 0:
                    raise UserError(f"data.log: column {name!r} has negative values")
                values[:, column] = np.log1p(values[:, column])
        if self.encode != "bins":  # whose bins are found in float64
            self._refuse_merged(names, values)
        names, values, how = encode(self.encode, names, values, self.bins)
        facts |= how | {"name": self.name, "records": len(values), "columns": names}
        facts["kind"] = kind(values)
        people = None if owners is None else np.unique(owners, return_inverse=True)[1]
        write(folder, [values.astype(np.float32)], len(values), people, facts)

    def _refuse_merged(self, names: list[str], values: np.ndarray) -> None:
        for name, column, stored in zip(
            names, values.T, encode(self.encode, names, values, 0)[1].T, strict=True
        ):
            if merged_by_float32(column, stored):
                raise UserError(
                    f"{self.path()}: column {name!r} holds numbers that float32 cannot tell apart "
                    f"or hold; data.encode=unit scales columns first, data.columns leaves some out"
                )

    @property
    def fitted(self) -> bool:
        """Whether the encoding is measured on the records: ranges or quantiles of all of them."""
        return self.encode in ("unit", "bins")

    def path(self) -> Path:
        """The file; raises UserError where it does not exist."""
        return find(self.file.name, [self.file.parent], self.advice)

    def _read(self) -> tuple[list[str], np.ndarray, np.ndarray | None, dict[str, Any]]:
        """Names (d,), values (n, d) float64, owners (n,) str, and facts on what was left out."""
        path, faults = self.path(), Faults(self.on_error)
        rows = _typed_rows(path) if is_typed(path) else csv_rows(path, delimiter(path))
        header = [name.strip() for name in next(rows, (1, []))[1]]
        default = [name for name in header if name != self.owner]
        names = default if self.columns is None else list(self.columns)
        if not names:
            raise UserError(f"{path} has no column to use")
        places = columns_of(header, names, path)
        owner = None if self.owner is None else columns_of(header, [self.owner], path)[0]
        kept, owners, total = [], [], 0
        for number, cells in rows:
            total += 1
            try:
                if len(cells) != len(header):
                    raise ValueError(f"{len(cells)} cells under {len(header)} columns")
                numbers = [_number(cells[place], header[place]) for place in places]
                owners.append("" if owner is None else cells[owner])
                kept.append(np.array(numbers))
            except ValueError as error:
                faults.add(f"{path.name} line {number}", error)
        facts = faults.settle(total, f"rows of {path.name}")
        return names, np.stack(kept), None if owner is None else np.array(owners), facts


def encode(
    how: str, names: list[str], values: np.ndarray, bins: int
) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Columns (n, d) encoded as `Table` says, their names, and facts about the encoding."""
    if how == "unit":
        low, high = values.min(axis=0), values.max(axis=0)
        scaled = (values - low) / np.where(high > low, high - low, 1.0)
        return names, scaled, {"smallest": low.tolist(), "largest": high.tolist()}
    if how == "bins":
        return _binned(names, values, bins)
    return names, values, {}


def kind(values: np.ndarray) -> str:
    """What the numbers are: binary (all 0 or 1), counts (whole, none negative) or numeric."""
    if np.isin(values, (0, 1)).all():
        return "binary"
    return "counts" if (values >= 0).all() and (values % 1 == 0).all() else "numeric"


def _binned(
    names: list[str], values: np.ndarray, bins: int
) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """0/1 columns: value v is in bin i where edge i <= v < edge i + 1."""
    titles, columns, edges = [], [], {}
    for name, column in zip(names, values.T, strict=True):
        distinct = np.unique(column)
        if len(distinct) == 2:
            titles.append(f"{name}={distinct[1]:g}")
            columns.append(column == distinct[1])
        if len(distinct) <= 2:
            continue
        quantiles = np.quantile(column, np.arange(1, bins) / bins, method="higher")
        starts = np.unique([distinct[0], *quantiles])
        bin_of = np.searchsorted(starts, column, side="right") - 1
        titles += [f"{name}>={start:g}" for start in starts]
        columns += [bin_of == number for number in range(len(starts))]
        edges[name] = starts.tolist()
    if not columns:
        raise UserError("data.encode=bins: every column has a single value")
    return titles, np.stack(columns, axis=1).astype(np.float64), {"bins": edges}


def _typed_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The same as `csv_rows`, so that all kinds of file mean the same; row 1 is line 2."""
    frame = typed_frame(path)
    yield 1, [str(name) for name in frame.columns]
    for number, row in enumerate(frame.itertuples(index=False, name=None), 2):
        yield number, [str(cell) for cell in row]


def _number(cell: str, column: str) -> float:
    text = cell.strip().lower()
    try:
        number = TRUTH[text] if text in TRUTH else float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise ValueError(f"column {column!r} is {cell!r}")
    return number
