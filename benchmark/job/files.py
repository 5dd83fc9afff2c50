"""A result as files: tables as parquet, arrays as one npz, the rest as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.measures.result import Check, JobResult, Strip

PAGE = "index.html"


IS = "is a"
"""Key of the JSON objects that stand for a table, an array or a dataclass."""

KINDS: dict[str, type[Any]] = {"job": JobResult, "strip": Strip, "check": Check}
"""Name in a file -> the dataclass that it stands for."""


def save_result(result: JobResult, folder: Path) -> None:
    """Write a result: tables as parquet, arrays as one npz, the rest as JSON; and its page."""
    from benchmark.show.page import render_job  # matplotlib takes a second to import

    save_data(result, folder)
    (folder / PAGE).write_text(render_job(result), encoding="utf-8")


def save_data(result: JobResult, folder: Path) -> None:
    """Write a result without its page."""
    arrays: dict[str, np.ndarray] = {}
    tree = _as_json(result, folder, "", arrays)
    np.savez_compressed(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
    (folder / "result.json").write_text(json.dumps(tree, indent=1, default=str), encoding="utf-8")


def load_result(folder: Path) -> JobResult:
    """Read what `save_result` wrote; a field that this version does not know is left out."""
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        result: JobResult = _from_json(
            json.loads((folder / "result.json").read_text(encoding="utf-8")), folder, arrays
        )
    return result


def _as_json(value: Any, folder: Path, place: str, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON; {IS: ...} stands for what JSON does not have."""
    if isinstance(value, pd.DataFrame):
        value.to_parquet(folder / f"{place}.parquet", index=False)
        return {IS: "table", "file": f"{place}.parquet"}
    if isinstance(value, np.ndarray):
        arrays[place] = value
        return {IS: "array", "name": place}
    if is_dataclass(value) and not isinstance(value, type):
        kind = next(name for name, known in KINDS.items() if type(value) is known)
        value = {field.name: getattr(value, field.name) for field in fields(value)}
        return {IS: kind, "fields": _as_json(value, folder, place, arrays)}
    if isinstance(value, Mapping):
        inside = f"{place}." if place else ""
        return {str(k): _as_json(v, folder, f"{inside}{k}", arrays) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(v, folder, f"{place}.{i}", arrays) for i, v in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _from_json(value: Any, folder: Path, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_from_json(v, folder, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(IS)
    if kind == "table":
        return pd.read_parquet(folder / value["file"])
    if kind == "array":
        return arrays[value["name"]]
    found = {k: _from_json(v, folder, arrays) for k, v in value.get("fields", value).items()}
    return _constructor_of(kind)(found) if kind else found


def _constructor_of(kind: str) -> Callable[[dict[str, Any]], Any]:
    """A constructor of one of our dataclasses; nothing else is ever called."""
    if (found := KINDS.get(kind)) is None:
        raise ValueError(f"{kind} is no part of a result")
    known = {field.name for field in fields(found)}
    return lambda values: found(**{k: v for k, v in values.items() if k in known})
