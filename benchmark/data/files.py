"""What all loaders share: finding files, telling their content apart, reporting the corrupt."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import file_digest, sha256
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, Literal, cast
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd
from platformdirs import user_cache_dir

from victims.errors import UserError

log = logging.getLogger(__name__)

SETTLED_S = 3.0
HASH = re.compile("[0-9a-f]{64}")

SHOWN = 5
"""Corrupt files or rows named in a message; all of them are counted."""


def find_file(name: str, folders: Sequence[Path], advice: str) -> Path:
    """The first of `folders`' files (or folders) of this name, plain or .gz.

    Raises UserError naming the file, where it was looked for, and where a person gets it.
    """
    for folder in folders:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.exists():
                return candidate
    looked = ", ".join(str(folder) for folder in folders)
    raise UserError(f"{name} was not found; looked in {looked}; {advice}")


def hash_content(path: Path) -> str:
    """Hash (64 hex digits) of what a file holds; a .gz is the same as its plain file."""

    def read() -> str:
        with open_binary(path) as stream:
            try:
                return file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
            except (OSError, EOFError) as error:
                raise UserError(f"{path} is damaged: {error}") from error

    return remember_hash("content", [path], read)


def remember_hash(what: str, paths: Sequence[Path], read: Callable[[], str]) -> str:
    """A hash (64 hex digits) that `read` finds in files, see `remember`."""
    return remember(what, paths, read, HASH)


def remember(
    what: str, paths: Sequence[Path], read: Callable[[], str], form: re.Pattern[str]
) -> str:
    """A text that `read` finds in files, read again only when they change.

    A file is the same by its path, inode, size, and the times of its last change of content and of
    state, which no edit leaves as they were. One that changed less than SETTLED_S ago is read
    anyway: its clock may be too coarse for two changes. what: names the text among others.
    form: of every such text; a note of another form is damaged.
    """
    states = [path.stat() for path in paths]
    known = [
        [str(path.absolute()), s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns]
        for path, s in zip(paths, states, strict=True)
    ]
    name = sha256(json.dumps([what, known]).encode()).hexdigest()
    folder = Path(os.environ.get("GAN_LEAKS_CACHE") or user_cache_dir("gan-leaks-benchmark"))
    note = folder / "hashes" / name
    with suppress(OSError, UnicodeDecodeError):
        if form.fullmatch(found := note.read_text("ascii")):
            return found
    settled = all(max(s.st_mtime, s.st_ctime) < time.time() - SETTLED_S for s in states)
    found = read()
    if settled:
        with suppress(OSError):  # a cache that cannot be written costs time only
            note.parent.mkdir(parents=True, exist_ok=True)
            partial = note.with_suffix(f".{os.getpid()}")
            partial.write_text(found, "ascii")
            os.replace(partial, note)
    return found


def hash_listing(sizes: dict[str, int]) -> str:
    """Hash (64 hex digits) of file names and sizes; an edit that keeps the size goes unnoticed."""
    return sha256(json.dumps(sorted(sizes.items())).encode()).hexdigest()


def open_binary(path: Path) -> IO[bytes]:
    """Open a plain or .gz file, or the only one in a .zip, for reading bytes."""
    ending = path.suffix.lower()
    if ending == ".zip":
        archive = ZipFile(path)
        files = [name for name in archive.namelist() if not name.startswith(("__MACOSX/", "."))]
        if len(files) != 1:
            raise OSError(f"it holds {len(files)} files, one is needed")
        return archive.open(files[0])
    return cast(IO[bytes], gzip.open(path)) if ending == ".gz" else path.open("rb")


TEXT_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zip", ".tsv.zip", ".zip")
TYPED_TABLES = (".parquet", ".feather", ".xlsx")


def is_typed(path: Path) -> bool:
    """Whether a table's file says what its columns are; endings count in any case of letters."""
    return path.name.lower().endswith(TYPED_TABLES)


def delimiter_of(path: Path) -> str:
    """What separates the columns of a file of text, by its ending."""
    return "\t" if ".tsv" in "".join(path.suffixes).lower() else ","


def refuse_other_delimiter(where: str, header: Sequence[str], delimiter: str) -> None:
    """Raise UserError where a header's only name holds what may separate columns."""
    only = header[0] if len(header) == 1 else ""
    if other := next((sign for sign in ";\t|," if sign in only), None):
        raise UserError(
            f"{where}: it has one column, {only!r}: are its columns separated by {other!r}? "
            f"{delimiter!r} is needed in such a file"
        )


def typed_frame(path: Path) -> pd.DataFrame:
    """A .parquet, .feather or .xlsx file; raises UserError where it cannot be read."""
    kind = path.suffix.lower()
    try:
        if kind == ".xlsx":
            return pd.read_excel(path, dtype=object, keep_default_na=False)
        return pd.read_parquet(path) if kind == ".parquet" else pd.read_feather(path)
    except ImportError as error:
        raise UserError(f"{path}: .xlsx files need the package: pip install openpyxl") from error
    except Exception as error:  # each library has errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: the file cannot be read ({reason})") from error


def merged_by_float32(values: np.ndarray, scaled: np.ndarray) -> bool:
    """Whether numbers (n,), as they are or scaled, overflow in float32, or hardly differ there.

    Rounding merges some of many random numbers; only where fewer than half stay different it is a
    loss.
    """
    with np.errstate(over="ignore"):
        stored = scaled.astype(np.float32)
    if not np.isfinite(stored).all():
        return True
    return len(np.unique(stored)) < len(np.unique(values)) / 2


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a plain or .gz CSV file, its header first, as line 1.

    Raises UserError where the file is no text or its compression is damaged.
    """
    try:
        opened = open_binary(path)
    except (OSError, BadZipFile) as error:
        raise UserError(f"{path}: {error}") from error
    with opened as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, BadZipFile) as error:
            raise UserError(f"{path}, after line {reader.line_num}: {error}") from error


def columns_of(header: Sequence[str], wanted: Sequence[str], path: Path) -> list[int]:
    """Where the wanted columns stand, if need be in another case of letters.

    Raises UserError without one, and where several have its name.
    """
    names = [name.strip() for name in header]
    return [_place_of_column(name, names, path) for name in wanted]


def _place_of_column(wanted: str, names: list[str], path: Path) -> int:
    alike = [i for i, name in enumerate(names) if name.lower() == wanted.lower()]
    found = [i for i in alike if names[i] == wanted] or alike
    if not found:
        raise UserError(f"{path} has no column {wanted!r}; its columns are {', '.join(names)}")
    if len(found) > 1:
        raise UserError(f"{path}: {len(found)} columns are named {wanted!r}; rename all but one")
    return found[0]


OnError = Literal["raise", "skip"]
"""What becomes of a corrupt file or row: an error, or it is left out."""


class Faults:
    """Corrupt files or rows: collected by name, then an error or a warning with their count.

    on_error: "raise" or "skip", the setting data.on_error.
    """

    def __init__(self, on_error: OnError) -> None:
        self.skip = on_error == "skip"
        self.count = 0
        self.names: list[str] = []
        self.shown: list[str] = []

    def add(self, name: str, reason: object) -> None:
        """Note one corrupt file or row."""
        self.count += 1
        if len(self.names) < SHOWN:
            self.names.append(name)
            self.shown.append(f"{name} ({reason})")

    def settle(self, total: int, what: str) -> dict[str, Any]:
        """Facts about what was left out; raises UserError unless skipping, or if nothing is left.

        The facts go into results, so they hold names only: a reason may quote a private cell.
        total: how many there were, the corrupt included. what: what they are, in the plural.
        """
        if not self.count:
            if not total:
                raise UserError(f"there are no {what}")
            return {}
        more = ", ..." if self.count > len(self.names) else ""
        message = f"{self.count} of {total} {what} cannot be used: {', '.join(self.shown)}{more}"
        if self.count == total:
            raise UserError(message)
        if not self.skip:
            raise UserError(f"{message}; data.on_error=skip leaves them out")
        log.warning("%s; left out", message)
        return {"skipped": self.count, "skipped_names": self.names}
