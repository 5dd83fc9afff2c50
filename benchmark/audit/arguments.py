"""The command line of an audit: `members=My Data/train (1).csv` means what it says.

Hydra would read `data=` and `reference=` as a choice among the benchmark's groups of these names,
and blanks, commas and brackets in a path as its own grammar.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

SOURCES = ("members", "non_members", "data", "samples", "generator", "discriminator", "reference")
"""What an auditor may hand in; the first two always."""


def as_overrides(words: Sequence[str]) -> list[str]:
    """Command-line words with `NAME=PATH` of SOURCES as Hydra overrides `given.NAME='PATH'`."""
    return [_override(word) for word in words]


def _override(word: str) -> str:
    name, equals, value = word.partition("=")
    if name not in (*SOURCES, "again") or not equals:
        return word
    name = name if name == "again" else f"given.{name}"
    if not value or value == "null":
        return f"{name}=null"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    # A run of backslashes counts only before a quote, in Hydra's grammar; see its documentation.
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
