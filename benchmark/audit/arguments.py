"""The command line of an audit: `members=My Data/train (1).csv` means what it says.

Hydra would read `data=` and `reference=` as a choice among the benchmark's groups of these names,
and blanks, commas and brackets in a path as its own grammar.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.config.quoting import quoted

ATTACKED = ("samples", "generator", "discriminator", "diffusion", "fit")
"""What is attacked: one of these at least."""
SET = {"suspects": "members", "unseen": "non_members"}
"""What stands for members and non-members where the question is about a set as a whole."""
SOURCES = ("members", "non_members", *SET, "data", *ATTACKED, "reference")
"""What an auditor may hand in; the first two always, or the second two."""


def as_overrides(words: Sequence[str]) -> list[str]:
    """Command-line words with `NAME=PATH` of SOURCES as Hydra overrides `given.NAME='PATH'`."""
    return [_as_override(word) for word in words]


def _as_override(word: str) -> str:
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
