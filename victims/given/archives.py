"""Model files, opened without running what a stranger may have hidden in them.

A pickle runs whatever its author likes when it is opened, and `torch.save` writes pickles.
TorchScript archives are read by torch's C++ unpickler, which builds tensors and TorchScript classes
only. Archives of `torch.export` are JSON and raw tensors, but `torch.export.load` (torch 2.14) also
opens pickles, compiled libraries, symbolic shapes (which sympy evaluates as code) and calls of any
function that can be reached from `torch`, where an archive holds them: such are refused here. A
model still computes what its author chose, and torch itself may have faults: an untrusted model
belongs into a sandbox all the same.
"""

from __future__ import annotations

import json
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from victims.errors import UserError

EXPORT = "archive_format"
PLAIN = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/[\w.]+|models/model\.json|"
    r"data/(weights|constants)/((weight|tensor)_\d+|model_(weights|constants)_config\.json)|"
    r"data/sample_inputs/model\.pt|extra/.*"
)
"""Entries that `torch.export.save` writes for an ordinary network."""
SHAPE = re.compile(
    r"(Symbol|Integer|Add|Mul|Pow|Mod|FloorDiv|CleanDiv|Max|Min|positive|nonnegative|integer|"
    r"True|False|'[a-z]+\d+'|-?\d+|[=,() ])*"
)
"""Symbolic shapes as `torch.export` writes them: nothing else gets to sympy."""

CALL = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+(\.\w+)?|torch\.sym_\w+|_operator\.(getitem|add|sub|mul|neg|pow|mod|"
    r"floordiv|truediv|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
"""Functions that an exported graph may call; torch would look up any name, torch.os.system too."""


def load_program(where: str, path: Path) -> Any:
    """A TorchScript module or a torch.export program, in evaluation mode.

    where: the setting, for messages. Raises UserError for pickles, damaged and other files.
    """
    names = _list_entries(where, path)
    kinds = {name.split("/", 1)[-1] for name in names}
    try:
        if EXPORT in kinds:
            return _load_exported(where, path, names)
        if "constants.pkl" in kinds and any(kind.startswith("code/") for kind in kinds):
            return _load_scripted(path)
    except UserError:
        raise
    except Exception as error:  # torch raises whatever it met inside
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{where}={path}: the model file is damaged ({reason[0]})") from error
    if any(kind.endswith("data.pkl") for kind in kinds):
        raise _refused_pickle(where, path)
    raise UserError(
        f"{where}={path}: this archive is no model; allowed are TorchScript (torch.jit.save), "
        f"torch.export.save and ONNX files"
    )


def _list_entries(where: str, path: Path) -> list[str]:
    try:
        with ZipFile(path) as archive:
            if torn := archive.testzip():  # torch would load whatever stands there
                raise UserError(f"{where}={path}: the model file is damaged (checksum of {torn})")
            return archive.namelist()
    except (BadZipFile, NotImplementedError, zlib.error) as error:
        if starts_as_pickle(path):
            raise _refused_pickle(where, path) from error
        raise UserError(
            f"{where}={path}: the model file is damaged or of another kind; allowed are "
            f"TorchScript (torch.jit.save), torch.export.save and ONNX files"
        ) from error
    except OSError as error:
        raise UserError(f"{where}={path}: cannot be read ({error.strerror})") from error


def starts_as_pickle(path: Path) -> bool:
    """Whether a file begins as pickles of protocol 2 to 5 do, and torch's files from before 1.6."""
    with path.open("rb") as stream:
        start = stream.read(2)
    return start[:1] == b"\x80" and start[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _refused_pickle(where: str, path: Path) -> UserError:
    return UserError(
        f"{where}={path}: it is a pickle (torch.save), which can run code when it is opened, and "
        f"is refused; save the model with torch.export.save or torch.jit.save, or name your own "
        f"code as {where}=my_module:function"
    )


def _load_scripted(path: Path) -> Any:
    with warnings.catch_warnings():  # torch prefers torch.export by now
        warnings.simplefilter("ignore")
        return torch.jit.load(str(path), map_location="cpu").eval()


def _load_exported(where: str, path: Path, names: list[str]) -> Any:
    odd = [name for name in names if not PLAIN.fullmatch(name.split("/", 1)[-1])]
    with ZipFile(path) as archive:
        texts = {n: archive.read(n).decode() for n in names if n.endswith(".json")}
    for name, text in texts.items():
        odd += [f"{value!r} in {name}" for value in _suspect_values(json.loads(text))]
    if odd:
        raise UserError(
            f"{where}={path}: the archive holds {odd[0][:80]}, which could run code when it is "
            f"opened, and is refused"
        )
    with _no_pickles(), path.open("rb") as stream:
        return torch.export.load(stream).module(check_guards=False)


def _suspect_values(tree: Any) -> Iterator[str]:
    """Values in an export's JSON that torch would unpickle or evaluate."""
    if isinstance(tree, dict):
        if tree.get("use_pickle"):
            yield "use_pickle"
        if not re.fullmatch(r"(weight|tensor)_\d+", str(tree.get("path_name", "weight_0"))):
            yield str(tree["path_name"])
        if not SHAPE.fullmatch(str(tree.get("expr_str", ""))):
            yield str(tree["expr_str"])
        if not CALL.fullmatch(str(tree.get("target", "_operator.add"))):
            yield str(tree["target"])
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _suspect_values(branch)


@contextmanager
def _no_pickles() -> Iterator[None]:
    """torch.load admits tensors only, whatever its caller asks for: its own setting for that."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.__setitem__(name, before)
