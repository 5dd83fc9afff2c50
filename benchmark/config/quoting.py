"""Words of a command line that mean what they say, whatever signs are in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

PLACES = ("data.file", "data.root")
"""Settings that are one file or folder: a value that Hydra's grammar cannot read is a path."""

READABLE = re.compile(r"""'.*'|".*"|\$\{.*|[^\s()\[\]{}"'`#]*""")
"""Values that are left alone: quoted, interpolated, or without a sign that the grammar uses.
A comma lists several files for a sweep."""


def places_quoted(words: Sequence[str]) -> list[str]:
    """Command-line words in which `data.file=My Data (1).csv` names that file."""
    return [_quoted_place(word) for word in words]


def _quoted_place(word: str) -> str:
    name, equals, value = word.partition("=")
    if name not in PLACES or not equals or READABLE.fullmatch(value):
        return word
    return f"{name}={quoted(value)}"


def quoted(value: str) -> str:
    """A text as Hydra's grammar quotes it, and without OmegaConf's interpolations."""
    text, slashes = "", 0
    for sign in value:
        text += "\\" * (slashes + 1) + sign if sign == "'" else sign
        slashes = slashes + 1 if sign == "\\" else 0
    return f"'{text}{chr(92) * slashes}'"


def pasted(setting: str, *names: str) -> str:
    """`setting=[name,...]` as it can be pasted into a shell, whatever the names are."""
    # ASCII: without it, and the case ignored, İ and ſ count as I and s.
    word = r"(?!(null|true|false|nan|inf)$)[A-Za-z_][A-Za-z0-9_]*"
    plain = re.compile(word, re.IGNORECASE | re.ASCII)
    listed = ",".join(name if plain.fullmatch(name) else quoted(name) for name in map(str, names))
    word = f"{setting}=[{listed}]"
    return word if listed.replace(",", "_").isidentifier() else shlex.quote(word)
