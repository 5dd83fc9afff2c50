"""Where a stored result comes from: package versions, git commit, date."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

PACKAGES = ("torch", "numpy", "pytorch-lightning", "opacus", "lpips", "gan-leaks-benchmark")


def provenance() -> dict[str, Any]:
    """Versions (None: not installed), git ({commit, dirty} or None outside a checkout), date."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"versions": _versions(), "git": _git(), "created": created}


@cache
def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


REPORTED = (":(top,exclude)results",)
"""Where reports are written: they change no number."""


@cache
def _git() -> dict[str, Any] | None:
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
