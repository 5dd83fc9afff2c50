"""What an auditor hands in, read as it is: folders of images, tables, arrays, index files."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from benchmark.audit.archives import starts_as_pickle
from benchmark.audit.pictures import from_array, from_folder
from benchmark.data.dataset import Dataset
from benchmark.folders import home
from benchmark.store import Store
from victims.access import UserError

TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
ARRAYS = (".npy", ".npz")

DATE = re.compile(r"\d{4}-\d\d?-\d\d?([ T].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
TIMES = datetime.date, datetime.time, datetime.timedelta
CELLS = str, bool, int, float, np.generic


@dataclass(frozen=True)
class Reading:
    """How inputs are read, the node `records` of conf/audit.yaml.

    id: column that names each record; None: the row number. ignore: columns left out.
    categorical: columns whose numbers are codes. channels: 1 reads all images as grey, 3 as colour.
    range: of the pixels of an array, "auto" or (low, high).
    """

    id: str | None = None
    ignore: Sequence[str] = ()
    categorical: Sequence[str] = ()
    channels: int | None = None
    range: str | Sequence[float] = "auto"


@dataclass(frozen=True)
class Records:
    """One input. name: its setting; ids: (n,) str; content: a table, or images in [-1, 1].

    left_out: columns that it had and that were to be ignored.
    """

    name: str
    ids: np.ndarray
    content: pd.DataFrame | Dataset
    left_out: tuple[str, ...] = ()

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
        return isinstance(self.content, Dataset)

    def take(self, rows: np.ndarray, name: str) -> Records:
        """These rows under another name."""
        if isinstance(self.content, pd.DataFrame):
            return Records(name, self.ids[rows], self.content.iloc[rows], self.left_out)
        some = Dataset(self.content.values[rows], self.content.digests[rows])
        return Records(name, self.ids[rows], some)


def read_input(name: str, source: Any, reading: Reading, store: Store) -> Records:
    """Read one input: a path, a DataFrame, or an array (n, d), (n, h, w) or (n, c, h, w).

    Tables keep their columns; images become float32 in [-1, 1], memory-mapped in the store.
    Raises UserError with one line that names the setting and what is wrong.
    """
    if isinstance(source, pd.DataFrame):
        return _table(name, source, reading)
    if not isinstance(source, str | Path):
        return _array(name, np.asarray(source), reading, store)
    path = home(source)
    if not path.exists():
        raise UserError(f"{name}={path}: there is no such file or folder")
    if path.is_dir():
        return Records(name, *from_folder(name, path, reading.channels, store))
    kind = path.name.lower()
    if kind.endswith(TABLES):
        return _table(name, _read_table(name, path), reading)
    if kind.endswith(ARRAYS):
        return _array(name, load_array(name, path), reading, store)
    raise UserError(
        f"{name}={path}: what kind of file is this? Allowed are a folder of images, "
        f"{' '.join((*TABLES, *ARRAYS))}"
    )


def by_index(data: Records, name: str, source: Any) -> Records:
    """The records of `data` whose ids stand in an index file, one a line or a .npy of numbers.

    Raises UserError for an id that is unknown or stands there twice.
    """
    wanted = _ids(name, source)
    if len(wanted) == 0:
        raise UserError(f"{name}={source}: the index file is empty")
    row_of = {str(id): row for row, id in enumerate(data.ids)}
    unknown = [id for id in wanted if id not in row_of]
    if unknown:
        raise UserError(
            f"{name}={source}: {len(unknown)} of {len(wanted)} ids are not in data, "
            f"the first is {unknown[0]!r}; ids in data look like {str(data.ids[0])!r}"
        )
    check_unique(f"{name}={source}", np.asarray(wanted))
    return data.take(np.array([row_of[id] for id in wanted]), name)


def check_unique(where: str, ids: np.ndarray) -> None:
    """Raise UserError where an id stands twice."""
    values, counts = np.unique(ids.astype(str), return_counts=True)
    if counts.max() > 1:
        twice = values[counts > 1]
        raise UserError(
            f"{where}: {len(twice)} ids stand there more than once, the first is {str(twice[0])!r}"
        )


def load_array(name: str, path: Path) -> np.ndarray:
    """The array in a .npy or .npz file; objects, which only a pickle can hold, are refused."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            if len(found.files) != 1:
                raise UserError(
                    f"{name}={path}: it holds {len(found.files)} arrays "
                    f"({', '.join(found.files)}); save the records alone"
                )
            return found[found.files[0]]
    except (OSError, ValueError, EOFError, BadZipFile, KeyError) as error:
        if starts_as_pickle(path) or "Python objects" in str(error):
            raise UserError(
                f"{name}={path}: it is a pickle of Python objects, which can run code when it is "
                f"opened, and is refused; save an array of numbers"
            ) from error
        raise UserError(f"{name}={path}: the file is damaged or no array ({error})") from error


# --- tables ---------------------------------------------------------------------------------------


def _read_table(name: str, path: Path) -> pd.DataFrame:
    kind = path.name.lower()
    try:
        if kind.endswith(".parquet"):
            return pd.read_parquet(path)
        separator = "\t" if ".tsv" in kind else ","
        # pandas knows a compression by a suffix in lower case only
        packed: Any = "gzip" if kind.endswith(".gz") else None
        found = pd.read_csv(path, sep=separator, low_memory=False, compression=packed)
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{name}={path}: the file is empty") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}={path}: the file is not UTF-8; save it in that encoding, and the others too, "
            f"so that equal values are told to be equal (Excel calls it 'CSV UTF-8')"
        ) from error
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name}={path}: the file cannot be read ({reason})") from error
    only = str(found.columns[0]) if found.shape[1] == 1 else ""
    if other := next((sign for sign in ";\t|," if sign in only), None):
        raise UserError(
            f"{name}={path}: it has one column, {only!r}: are its columns separated by {other!r}? "
            f"{separator!r} is needed in such a file"
        )
    return found


def _table(name: str, frame: pd.DataFrame, reading: Reading) -> Records:
    """Columns as text, ids, and no cell that cannot be compared."""
    frame = frame.rename(columns=str)
    if len(frame) == 0:
        raise UserError(f"{name}: the table has no rows")
    if reading.id is None:
        ids = np.arange(len(frame)).astype(str)
    elif reading.id in frame.columns:
        ids = frame[reading.id].astype(str).to_numpy(dtype=object)
        check_unique(f"{name}, column {reading.id!r}", ids)
    else:
        raise UserError(
            f"records.id={reading.id}: {name} has no such column; "
            f"its columns are {some(frame.columns)}"
        )
    left_out = [c for c in (reading.id, *reading.ignore) if c in frame.columns]
    frame = frame.drop(columns=left_out)
    if frame.shape[1] == 0:
        raise UserError(f"{name}: the table has no column to compare")
    _check_cells(name, frame, reading.categorical)
    decimals = [c for c in frame if isinstance(frame[c].iloc[0], Decimal)]
    frame = frame.astype(dict.fromkeys(decimals, np.float64))
    return Records(name, ids, frame.reset_index(drop=True), tuple(map(str, left_out)))


def _check_cells(name: str, frame: pd.DataFrame, categorical: Sequence[str]) -> None:
    for column in frame.columns:
        values = frame[column]
        where = f"{name}, column {column!r}"
        if missing := int(values.isna().sum()):
            row = int(np.flatnonzero(values.isna())[0])
            raise UserError(
                f"{where}: {missing} of {len(values)} values are missing, the first in row {row} "
                f"(empty cells, NA, NaN, None and null count as missing); fill them or leave the "
                f"rows out, or records.ignore=[{column}]"
            )
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            if np.iscomplexobj(values) or not np.isfinite(values.to_numpy(np.float64)).all():
                raise UserError(f"{where}: it holds values that are not finite numbers")
        elif column not in categorical and _are_times(values):
            raise UserError(
                f"{where}: it holds dates or times; give them as numbers, or "
                f"records.ignore=[{column}], or records.categorical=[{column}] if it has few values"
            )
        elif odd := [type(v) for v in values if not isinstance(v, (*CELLS, *TIMES, Decimal))]:
            raise UserError(
                f"{where}: it holds a {odd[0].__name__}; give numbers or text, or "
                f"records.ignore=[{column}]"
            )


def _are_times(values: pd.Series) -> bool:
    """Whether a column holds dates or times, in whatever form."""
    if pd.api.types.is_datetime64_any_dtype(values) or values.dtype.kind == "m":
        return True
    first = values.iloc[0]
    if isinstance(first, str):
        return all(DATE.fullmatch(str(value)) for value in values.unique())
    return isinstance(first, TIMES)


def _array(name: str, values: np.ndarray, reading: Reading, store: Store) -> Records:
    if values.dtype.kind not in "biuf":
        raise UserError(f"{name}: the array holds {values.dtype}, numbers are needed")
    if values.ndim not in (2, 3, 4) or 0 in values.shape:
        raise UserError(
            f"{name}: the array's shape is {values.shape}; allowed are (n, d) for tables, "
            f"(n, h, w), (n, c, h, w) or (n, h, w, c) for images, n > 0"
        )
    if values.ndim == 2:
        return _table(name, pd.DataFrame(np.array(values)), replace(reading, id=None))
    ids = np.arange(len(values)).astype(str).astype(object)
    return Records(name, ids, from_array(name, values, reading.range, store))


def _ids(name: str, source: Any) -> list[str]:
    """Ids from an index file or a sequence."""
    if not isinstance(source, str | Path):
        return [str(id) for id in source]
    path = home(source)
    if not path.is_file():
        raise UserError(f"{name}={path}: with data=..., this is an index file; there is none")
    if path.suffix in ARRAYS:
        numbers = load_array(name, path)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise UserError(f"{name}={path}: an index file holds a list of whole numbers")
        return [str(number) for number in numbers.tolist()]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}={path}: no index file, one id a line ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def some(names: Sequence[Any] | pd.Index) -> str:
    """The first few of some names."""
    shown = [str(name) for name in list(names)[:5]]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def name_of(source: Any) -> str | None:
    """How an input is named in a report: the last part of its path, or its type."""
    if source is None or isinstance(source, str | Path):
        return None if source is None else os.path.basename(os.path.normpath(source))
    return type(source).__name__
