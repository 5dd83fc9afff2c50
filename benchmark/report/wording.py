"""What a report writes of command lines and settings: it is read on other machines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

FOLDERS = re.compile(r"(?<![\w.:/])(/[\w.+@-]+)+/(?=[\w.+-])")
"""Absolute paths but for the last name."""


def without_folders(text: str) -> str:
    """A text without the folders of this machine.

    >>> without_folders("data.file=/tmp/x/my_people.csv")
    'data.file=…/my_people.csv'
    """
    return FOLDERS.sub("…/", text)


def command_line(words: Sequence[str]) -> str:
    """A command line without what never changes a result: machine, paths, logger."""
    own = [word for word in words if not word.lstrip("+").startswith(("machine", "logger"))]
    return shlex.join(["python", "-m", "benchmark", *own, "-m"])
