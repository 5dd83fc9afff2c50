"""Folders that results are written to: each holds one result, whoever else starts then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from victims.access import UserError

RESULTS = ("index.html", "audit.json", "table.csv")
"""Files of a finished result."""
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


def claim(folder: Path) -> FileLock:
    """Take a folder for one result; it stays taken until the lock is released or the process ends.

    Raises UserError where it holds a result already, or another process is writing one.
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
    if there := [name for name in RESULTS if (folder / name).exists()]:
        lock.release()
        raise UserError(f"{folder}: it holds another result ({there[0]}); choose another folder")
    return lock
