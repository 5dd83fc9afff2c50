"""Whether a folder holds an audit of the same inputs: asked before attacks that take hours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.data.files import hash_content, hash_listing
from benchmark.store.folders import home
from victims.errors import UserError

NOTE = ".given.json"
"""File beside a result: input -> hash of what it was."""


def hash_inputs(given: Mapping[str, Any]) -> dict[str, str]:
    """Input -> hash of a file's content, or of a folder's names and sizes; others have none."""
    return {name: digest for name, source in given.items() if (digest := _hash_input(source))}


def refuse_other_inputs(folder: Path, inputs: Mapping[str, str]) -> None:
    """Raise UserError where a folder's result is one of inputs with another content."""
    note = folder / NOTE
    if not note.exists():
        return
    earlier = json.loads(note.read_text(encoding="utf-8"))
    for name in sorted({*earlier, *inputs}):
        if earlier.get(name) != inputs.get(name):
            raise UserError(
                f"{folder}: it holds an audit of other records ({name} has changed since); "
                "choose another folder"
            )


def note_inputs(folder: Path, inputs: Mapping[str, str]) -> None:
    """Leave beside a result what `refuse_other_inputs` compares."""
    (folder / NOTE).write_text(json.dumps(inputs), encoding="utf-8")


def _hash_input(source: Any) -> str | None:
    if not isinstance(source, str | Path):
        return None
    path = home(source)
    if not path.exists():
        path = Path(str(path).rpartition(":")[0])  # FILE.npz:NAME
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        return hash_listing({str(file.relative_to(path)): file.stat().st_size for file in files})
    try:
        return hash_content(path) if path.is_file() else None
    except OSError:
        return None  # the audit says what is wrong with it
