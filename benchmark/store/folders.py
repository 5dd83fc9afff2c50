"""Folders that results are written to: each holds one result, whoever else starts then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from benchmark.store.keys import settings
from victims.errors import UserError

RESULTS = ("index.html", "audit.json", "table.csv")
"""Files of a finished result."""
CONFIG = "config.yaml"
"""File of the settings that a result was made with; the first that is written."""
HOME = re.compile(r"([\w.@/+]+=)(~[^=]*)")


def home(path: Path | str) -> Path:
    """A path in which `~` is the home folder. Raises UserError where nobody has that name."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: ~ is the home folder, but there is none of that name") from error


def with_home(words: Sequence[str]) -> list[str]:
    """Command-line words in which `NAME=~/...` names the home folder: a shell leaves these."""
    found = [(word, HOME.fullmatch(word)) for word in words]
    return [f"{m[1]}{home(m[2])}" if m else word for word, m in found]


def free(outputs: str, kind: str) -> str:
    """Make a new folder below `outputs`, named after the time, and give its path.

    kind: job, sweep, audit or audits; the name of every kind but a job ends in it. A name that is
    taken gets a number: of all who start in one second, each has its own.
    Raises UserError where it cannot be made.
    """
    root = home(outputs)
    base = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    ending = "" if kind == "job" else f"_{kind}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            folder = root / f"{base}{'' if number == 1 else f'-{number}'}{ending}"
            try:
                folder.mkdir()  # atomic: one of all processes makes it
            except FileExistsError:
                continue
            return str(folder)
    except OSError as error:
        raise UserError(
            f"machine.outputs={outputs}: {error.strerror}; choose a folder that can be written"
        ) from error
    raise AssertionError("count never ends")


def claim(folder: Path, config: Any) -> FileLock:
    """Take a folder for one result; it stays taken until the lock is released or the process ends.

    config: of the job or audit; a folder that holds its own result may be written anew, so that the
    same command can be given again.
    Raises UserError where it holds another result, or another process is writing one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{folder}: another process writes its result here; choose another folder"
        ) from error
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror}; choose a folder that can be written"
        ) from error
    try:
        refuse_another(folder, config)
    except UserError:
        lock.release()
        raise
    return lock


def refuse_another(folder: Path, config: Any) -> None:
    """Raise UserError where a folder holds the result of other settings than these."""
    there = [name for name in RESULTS if (folder / name).exists()]
    if there and _written_config(folder) != settings(config):
        raise UserError(f"{folder}: it holds another result ({there[0]}); choose another folder")


def _written_config(folder: Path) -> dict[str, Any] | None:
    """The settings of the result that a folder holds; None where they cannot be read."""
    try:
        return settings(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, AttributeError, TypeError, yaml.YAMLError, UserError):
        return None
