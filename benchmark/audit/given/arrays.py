"""Arrays and index files of an audit, from files and objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from benchmark.store.folders import home
from victims.errors import UserError
from victims.given.archives import starts_as_pickle

ARRAYS = (".npy", ".npz")


def as_array(name: str, source: Any) -> np.ndarray:
    """An object as an array; tensors of any device and precision too."""
    if hasattr(source, "detach"):
        source = source.detach().cpu()
        source = source.float() if source.is_floating_point() else source
    try:
        return np.asarray(source)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{name}: it is no array of numbers ({error})") from error


def in_archive(name: str, path: Path) -> tuple[Path, str] | None:
    """File and array where a path is FILE.npz:ARRAY."""
    file, colon, array = str(path).rpartition(":")
    if not colon or not file.lower().endswith(".npz") or path.exists():
        return None
    if not Path(file).is_file():
        raise UserError(f"{name}={path}: there is no file {file}")
    return Path(file), array


def load_array(name: str, path: Path, array: str | None = None) -> np.ndarray:
    """The array in a .npy or .npz file; objects, which only a pickle can hold, are refused."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            if array is None and len(found.files) == 1:
                array = found.files[0]
            if array not in found.files:
                raise UserError(
                    f"{name}={path}: it holds {len(found.files)} arrays "
                    f"({first_few(found.files)}), none of them is {array}; "
                    f"name one: {name}={path}:{[*found.files, 'NAME'][0]}"
                )
            return found[array]
    except (OSError, ValueError, EOFError, BadZipFile, KeyError) as error:
        if starts_as_pickle(path) or "Python objects" in str(error):
            raise UserError(
                f"{name}={path}: it is a pickle of Python objects, which can run code when it is "
                f"opened, and is refused; save an array of numbers"
            ) from error
        raise UserError(f"{name}={path}: the file is damaged or no array ({error})") from error


def read_ids(name: str, source: Any) -> list[str]:
    """Ids from an index file or a sequence."""
    if not isinstance(source, str | Path):
        return [str(id) for id in source]
    path = home(source)
    if array := in_archive(name, path):
        return _check_numbers(name, path, load_array(name, *array))
    if not path.is_file():
        raise UserError(f"{name}={path}: with data=..., this is an index file; there is none")
    if path.suffix.lower() in ARRAYS:
        return _check_numbers(name, path, load_array(name, path))
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}={path}: no index file, one id a line ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def _check_numbers(name: str, path: Path, numbers: np.ndarray) -> list[str]:
    if numbers.ndim != 1 or numbers.dtype.kind not in "iub":
        raise UserError(f"{name}={path}: an index file holds a list of whole numbers, or a mask")
    return [str(number) for number in numbers.tolist()]


def first_few(names: Sequence[Any] | pd.Index) -> str:
    """The first few of some names."""
    shown = [str(name) for name in list(names)[:5]]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
