"""What an auditor hands in: folders of images, tables, arrays, index files.

Each input is opened as it is; what its numbers mean is then settled once for all of them together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.audit.given.arrays import (
    ARRAYS,
    as_array,
    first_few,
    in_archive,
    load_array,
    read_ids,
)
from benchmark.audit.given.columns import as_text, convert_columns
from benchmark.audit.given.pictures import from_arrays, from_folder
from benchmark.audit.given.tables import TABLES, read_table
from benchmark.data.dataset import Dataset
from benchmark.data.notation import Written
from benchmark.store.entries import Store
from benchmark.store.folders import home
from victims.errors import UserError


@dataclass(frozen=True)
class Reading:
    """How inputs are read, the node `records` of conf/audit.yaml.

    id: column that names each record; None: the row number. ignore: columns left out.
    categorical: columns whose numbers are codes. channels: 1 reads all images as grey, 3 as colour.
    range: of the pixels of an array, "auto" or (low, high). missing: more cells that are missing.
    decimal: sign of decimals in text, ".", "," or "auto". dates: how they are written, as in
    strptime; None recognises it.
    """

    id: str | None = None
    ignore: Sequence[str] = ()
    categorical: Sequence[str] = ()
    channels: int | None = None
    range: str | Sequence[float] = "auto"
    missing: Sequence[str] = ()
    decimal: str = "auto"
    dates: str | None = None


@dataclass(frozen=True)
class Records:
    """One input. name: its setting; ids: (n,) str; content: a table, or images in [-1, 1].

    Before `settle_inputs` content is the table as it is written, or an array of images as given.
    left_out: columns that it had and that were to be ignored. written: the table as it was written.
    notes: what was read and what was not. aside: of a table, the columns of records.ignore.
    """

    name: str
    ids: np.ndarray
    content: pd.DataFrame | Dataset | np.ndarray
    left_out: tuple[str, ...] = ()
    written: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()
    aside: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def table(self) -> pd.DataFrame:
        """The table; only where `is_image` is false."""
        assert isinstance(self.content, pd.DataFrame)
        return self.content

    @property
    def images(self) -> Dataset:
        """The images; only where `is_image` is true."""
        assert isinstance(self.content, Dataset)
        return self.content

    @property
    def is_image(self) -> bool:
        """Whether the records are images."""
        return not isinstance(self.content, pd.DataFrame)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one record: (c, h, w) of an image, (columns,) of a table's row."""
        return self.images.shape if self.is_image else (self.table.shape[1],)

    def row(self, place: int) -> dict[str, Any]:
        """A row of the table as it was written."""
        found = (self.table if self.written is None else self.written).iloc[place]
        return {str(column): cell for column, cell in found.items()}

    def take_rows(self, rows: np.ndarray, name: str) -> Records:
        """These rows under another name."""
        if isinstance(self.content, pd.DataFrame):
            written = None if self.written is None else self.written.iloc[rows]
            part = self.content.iloc[rows]
            aside = None if self.aside is None else self.aside.iloc[rows]
            own = self.left_out, written, self.notes, aside
            return Records(name, self.ids[rows], part, *own)
        assert isinstance(self.content, Dataset)
        some = Dataset(self.content.values[rows], self.content.digests[rows])
        return Records(name, self.ids[rows], some)


def read_input(name: str, source: Any, reading: Reading, store: Store) -> Records:
    """One input that is read for itself, see `open_input` and `settle_inputs`."""
    return settle_inputs({name: open_input(name, source, reading, store)}, reading, store)[0][name]


def open_input(name: str, source: Any, reading: Reading, store: Store) -> Records:
    """Open one input: a path, a DataFrame, or an array (n, d), (n, h, w) or (n, c, h, w).

    Raises UserError with one line that names the setting and what is wrong.
    """
    if isinstance(source, pd.DataFrame):
        return _records_of_table(name, source, reading)
    if not isinstance(source, str | Path):
        return _records_of_array(name, as_array(name, source), reading)
    path = home(source)
    if array := in_archive(name, path):
        return _records_of_array(name, load_array(name, *array), reading)
    if not path.exists():
        raise UserError(f"{name}={path}: there is no such file or folder")
    if path.is_dir():
        ids, images, notes = from_folder(name, path, reading.channels, store)
        return Records(name, ids, images, notes=tuple(notes))
    kind = path.name.lower()
    if kind.endswith(TABLES):
        return _records_of_table(name, read_table(name, path), reading)
    if kind.endswith(ARRAYS):
        return _records_of_array(name, load_array(name, path), reading)
    raise UserError(
        f"{name}={path}: what kind of file is this? Allowed are a folder of images, "
        f"{' '.join((*TABLES, *ARRAYS))}"
    )


def settle_inputs(
    given: Mapping[str, Records], reading: Reading, store: Store, ranges: Mapping[str, Any] = {}
) -> tuple[dict[str, Records], list[str]]:
    """The inputs in one form, decided from all of them together, and what was decided.

    Tables with equal columns become numbers and categories, images float32 in [-1, 1] in the store.
    ranges: of the pixels of single inputs, where not `reading.range`.
    Raises UserError for what is ambiguous, and for settings that have no effect.
    """
    _refuse_idle(given, reading)
    notes = [f"{name}: {note}" for name, records in given.items() for note in records.notes]
    arrays = {n: r.content for n, r in given.items() if isinstance(r.content, np.ndarray)}
    if arrays:
        folders = {n: r.images.shape for n, r in given.items() if isinstance(r.content, Dataset)}
        images, more = from_arrays(arrays, reading.range, store, folders, ranges)
        made = {n: replace(given[n], content=values) for n, values in images.items()}
        return {**given, **made}, notes + more
    frames = {n: r.content for n, r in given.items() if isinstance(r.content, pd.DataFrame)}
    if frames and any(ends != "auto" for ends in ranges.values()):
        raise UserError("generator.range has no effect: its samples are a table; leave it out")
    if not frames:
        return dict(given), notes
    how = Written(reading.categorical, reading.missing, reading.decimal, reading.dates)
    tables, more = convert_columns(frames, how)
    return {
        name: replace(given[name], content=table, written=frames[name])
        for name, table in tables.items()
    }, notes + more


def _refuse_idle(given: Mapping[str, Records], reading: Reading) -> None:
    """Raise UserError where a setting says something about inputs that are not there."""
    tables = [r for r in given.values() if isinstance(r.content, pd.DataFrame)]
    arrays = [r for r in given.values() if isinstance(r.content, np.ndarray)]
    folders = [r for r in given.values() if isinstance(r.content, Dataset)]
    default = Reading()
    of_tables = ("ignore", "categorical", "missing", "decimal", "dates", "id")
    needed = {"channels": ("a folder of images", folders), "range": ("an array of images", arrays)}
    for setting, (kind, there) in needed.items():
        if getattr(reading, setting) != getattr(default, setting) and not there:
            raise UserError(f"records.{setting} has no effect: no input is {kind}; leave it out")
    for setting in of_tables:
        value = getattr(reading, setting)
        if value and value != getattr(default, setting) and not tables:
            raise UserError(f"records.{setting} has no effect: no input is a table; leave it out")


def by_index(data: Records, name: str, source: Any) -> Records:
    """The records of `data` that an index file names: ids, row numbers, or a mask.

    Raises UserError for an id that is unknown or stands there twice.
    """
    wanted = read_ids(name, source)
    if len(wanted) == 0:
        raise UserError(f"{name}={source}: the index file is empty")
    if {id.lower() for id in wanted} <= {"true", "false"}:
        if len(wanted) != len(data):
            raise UserError(
                f"{name}={source}: the mask has {len(wanted)} entries, data has {len(data)} records"
            )
        rows = np.flatnonzero([id.lower() == "true" for id in wanted])
        if len(rows) == 0:
            raise UserError(f"{name}={source}: the mask selects no record")
        return data.take_rows(rows, name)
    row_of = {str(id): row for row, id in enumerate(data.ids)}
    unknown = [id for id in wanted if id not in row_of]
    if unknown:
        raise UserError(
            f"{name}={source}: {len(unknown)} of {len(wanted)} ids are not in data, "
            f"the first is {unknown[0]!r}; ids in data look like {str(data.ids[0])!r}"
        )
    check_unique(f"{name}={source}", np.asarray(wanted))
    return data.take_rows(np.array([row_of[id] for id in wanted]), name)


def check_unique(where: str, ids: np.ndarray) -> None:
    """Raise UserError where an id stands twice."""
    values, counts = np.unique(ids.astype(str), return_counts=True)
    if counts.max() > 1:
        twice = values[counts > 1]
        raise UserError(
            f"{where}: {len(twice)} ids stand there more than once, the first is {str(twice[0])!r}"
        )


# --- tables and arrays --------------------------------------------------------------------------


def _records_of_table(name: str, frame: pd.DataFrame, reading: Reading) -> Records:
    """Columns as text, ids, and no cell that cannot be compared."""
    frame = frame.set_axis([str(column).strip() for column in frame.columns], axis=1)
    if twice := frame.columns[frame.columns.duplicated()].tolist():
        raise UserError(f"{name}: several columns are named {twice[0]!r}; rename one")
    if len(frame) == 0:
        raise UserError(f"{name}: the table has no rows")
    if reading.id is None:
        ids = np.arange(len(frame)).astype(str)
    elif reading.id in frame.columns:
        ids = as_text(frame[reading.id]).to_numpy(dtype=object)
        check_unique(f"{name}, column {reading.id!r}", ids)
    else:
        raise UserError(
            f"records.id={reading.id}: {name} has no such column; "
            f"its columns are {first_few(frame.columns)}"
        )
    left_out = [c for c in (reading.id, *reading.ignore) if c in frame.columns]
    aside = frame[[c for c in left_out if c != reading.id]].reset_index(drop=True)
    frame = frame.drop(columns=left_out)
    if frame.shape[1] == 0:
        raise UserError(f"{name}: the table has no column to compare")
    table = frame.reset_index(drop=True)
    return Records(name, ids, table, tuple(map(str, left_out)), aside=aside)


def _records_of_array(name: str, values: np.ndarray, reading: Reading) -> Records:
    if values.dtype.kind not in "biuf":
        raise UserError(f"{name}: the array holds {values.dtype}, numbers are needed")
    if values.ndim not in (2, 3, 4) or 0 in values.shape:
        raise UserError(
            f"{name}: the array's shape is {values.shape}; allowed are (n, d) for tables, "
            f"(n, h, w), (n, c, h, w) or (n, h, w, c) for images, n > 0"
        )
    if values.ndim == 2:
        if reading.id is not None:
            raise UserError(
                f"records.id={reading.id}: {name} is an array, whose columns have no names; its "
                f"records are named by row number"
            )
        return _records_of_table(name, pd.DataFrame(np.array(values)), reading)
    return Records(name, np.arange(len(values)).astype(str).astype(object), values)


def name_of(source: Any) -> str | None:
    """How an input is named in a report: the last part of its path, or its type."""
    if source is None or isinstance(source, str | Path):
        return None if source is None else os.path.basename(os.path.normpath(source))
    return type(source).__name__


def place_of(source: Any) -> str | None:
    """Where an input can be read again: its whole path; None for an object of Python."""
    if not isinstance(source, str | Path):
        return None
    path = os.path.abspath(home(source))
    is_file = os.path.exists(path) or os.path.exists(path.rpartition(":")[0])  # FILE.npz:NAME
    return path if is_file else str(source)  # my_module:function
