"""What a report writes of command lines and settings: it is read on other machines."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmark.measures.numbers import spaced_name
from benchmark.sweep.compose import Job

ABSENT = "–"

ATTACKS = "attacks"
"""Label of the setting `attack`, a list: `attack` names the attack of a row."""

FOLDERS = re.compile(r"(?<![\w.:/])(/[\w.+@-]+)+/(?=[\w.+-])")
"""Absolute paths but for the last name."""


def without_folders(text: str) -> str:
    """A text without the folders of this machine.

    >>> without_folders("data.file=/tmp/x/my_people.csv")
    'data.file=…/my_people.csv'
    """
    return FOLDERS.sub("…/", text)


def spaced_value(value: object) -> str:
    """A name of the config, or several, for a reader; any other value stays as it is.

    >>> spaced_value("l2_lpips"), spaced_value("…/my_people.csv"), spaced_value(3)
    ('l2 lpips', '…/my_people.csv', '3')
    """
    text = str(value)
    return spaced_name(text) if re.fullmatch(r"[\w, ]*", text) else text


def word_without_folders(word: str) -> str:
    """The same of a word of a command line, whose path may have blanks.

    >>> word_without_folders("data.file='/tmp/my folder/my_people.csv'")
    'data.file=…/my_people.csv'
    """
    name, _, value = word.partition("=")
    path = value.strip("'\"")
    is_path = path.startswith("/") and not set(path) & {*",["}
    return f"{name}=…/{Path(path).name}" if is_path else without_folders(word)


def names_of_paths(values: Iterable[Any]) -> dict[Any, str]:
    """How each absolute path among values is written; where names are alike, with what tells apart.

    >>> names_of_paths(["/tmp/a/x.csv", "/tmp/b/x.csv", 3])
    {'/tmp/a/x.csv': '…/a/x.csv', '/tmp/b/x.csv': '…/b/x.csv'}
    """
    paths = sorted({value for value in values if str(value).startswith("/")})
    names = {path: Path(path).name for path in paths}
    if len({*names.values()}) < len(paths):
        names = {path: os.path.relpath(path, os.path.commonpath(paths)) for path in paths}
    return {path: f"…/{name}" for path, name in names.items()}


def command_line(words: Sequence[str]) -> str:
    """A command line without what never changes a result, and without folders of this machine."""
    own = [word for word in words if not word.lstrip("+").startswith(("machine", "logger"))]
    return shlex.join(["python", "-m", "benchmark", *map(word_without_folders, own), "-m"])


def setting_of(job: Job, name: str) -> Any:
    """The value of a setting, as chosen or composed; numbers as numbers; – where there is none."""
    if name == ATTACKS:
        return ", ".join(map(str, job.config.attack))
    if name in job.choices:
        return job.choices[name]
    value = OmegaConf.select(job.config, name)
    return value if isinstance(value, int | float | str) else job.given.get(name, ABSENT)
