"""Tables of an audit as they are written: every cell of a file of text as text."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from benchmark.data.files import (
    TEXT_TABLES,
    TYPED_TABLES,
    csv_rows,
    delimiter_of,
    is_typed,
    open_binary,
    refuse_other_delimiter,
    typed_frame,
)
from victims.errors import UserError

TABLES = (*TEXT_TABLES, *TYPED_TABLES)


def read_table(name: str, path: Path) -> pd.DataFrame:
    """A table's file; cells of text stay as written, so that all inputs are judged together.

    Raises UserError where rows have more or fewer cells than the header has names.
    """
    if is_typed(path):
        try:
            return typed_frame(path)
        except UserError as error:
            raise UserError(f"{name}={error}") from error
    separator = delimiter_of(path)
    try:
        if _check_rows(name, path, separator) == 1:  # pandas takes an empty cell for no row
            found = pd.DataFrame([cells for _, cells in csv_rows(path, separator)], dtype=str)
            return _name_columns(found)
        with open_binary(path) as stream:
            found = pd.read_csv(
                stream,  # type: ignore[arg-type]
                sep=separator,
                dtype=str,
                header=None,
                keep_default_na=False,
                skipinitialspace=True,
                encoding="utf-8-sig",
            )
    except UnicodeDecodeError as error:
        raise UserError(_find_encoding(name, path)) from error
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name}={path}: the file cannot be read ({reason})") from error
    return _name_columns(found)


def _name_columns(found: pd.DataFrame) -> pd.DataFrame:
    """The rows below the first, under its cells as names."""
    names = [str(cell).strip() or f"Unnamed: {i}" for i, cell in enumerate(found.iloc[0])]
    return found.iloc[1:].set_axis(names, axis=1).reset_index(drop=True)


def _find_encoding(name: str, path: Path) -> str:
    return (
        f"{name}={path}: the file is not UTF-8; save it in that encoding, and the others too, "
        f"so that equal values are told to be equal (Excel calls it 'CSV UTF-8')"
    )


def _check_rows(name: str, path: Path, separator: str) -> int:
    """How many columns there are; raises UserError where rows differ in that."""
    try:
        rows = csv_rows(path, separator)
        header = next(rows, (0, []))[1]
        if not header:
            raise UserError(f"{name}={path}: the file is empty")
        wrong = [(line, len(cells)) for line, cells in rows if len(cells) != len(header)]
    except UserError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise UserError(_find_encoding(name, path)) from error
        text = str(error)
        raise UserError(text if text.startswith(f"{name}=") else f"{name}={text}") from error
    refuse_other_delimiter(f"{name}={path}", header, separator)
    if wrong:
        line, cells = wrong[0]
        raise UserError(
            f"{name}={path}: {len(wrong)} rows have more or fewer cells than the header, the first "
            f"is line {line} ({cells} cells under {len(header)} names); is line 1 the header?"
        )
    return len(header)
