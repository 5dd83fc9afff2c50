"""Where a stored result comes from: package versions, git commit, date."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from platform import python_version
from typing import Any

from omegaconf.errors import OmegaConfBaseException

PACKAGES = ("torch", "numpy", "pytorch-lightning", "opacus", "lpips", "gan-leaks-benchmark")


def provenance() -> dict[str, Any]:
    """Versions (None: not installed), git ({commit, dirty} or None outside a checkout), date."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"versions": _versions_of_packages(), "git": _state_of_git(), "created": created}


@cache
def _versions_of_packages() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def code(attacks: Mapping[str, Any]) -> dict[str, str]:
    """Attack -> digest of the code in the file of its class; helpers that it imports don't count.

    Imports and texts that explain change no score, so they do not count either.
    """
    found = {}
    for name, attack in attacks.items():
        with suppress(ImportError, ValueError, TypeError, OSError, OmegaConfBaseException):
            spec = find_spec(attack["_target_"].rpartition(".")[0])
            if spec and spec.origin:
                found[str(name)] = _digest_of_code(Path(spec.origin).read_text(encoding="utf-8"))
    return found


@cache
def _digest_of_code(source: str) -> str:
    """Hash (64 hex digits) of what a file computes."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [part for part in body if not isinstance(part, _SILENT) and not _is_text(part)]
            node.body = kept  # type: ignore[attr-defined]
    return sha256(ast.unparse(tree).encode()).hexdigest()


_SILENT = ast.Import, ast.ImportFrom


def _is_text(node: Any) -> bool:
    """Whether a statement is a text that stands alone, such as a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


REPORTED = (":(top,exclude)results",)
"""Where reports are written: they change no number."""


@cache
def _state_of_git() -> dict[str, Any] | None:
    def ask(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        ask("ls-files", "--error-unmatch", __file__)  # else it is a checkout of something else
        return {
            "commit": ask("rev-parse", "HEAD"),
            "dirty": bool(ask("status", "--porcelain", "--", ":/", *REPORTED)),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
