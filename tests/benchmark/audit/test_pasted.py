"""Advice in a message works when it is pasted into a shell."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from benchmark.audit.arguments import pasted

NAMES = [
    "age",
    "waist (cm)",
    "a=b",
    "it's",
    'say "x"',
    "#1",
    "{a}",
    "größe",
    "2018",
    "null",
    "a,b",
    "İ",
]


def back(text: str) -> list[str]:
    (word,) = shlex.split(text)
    found = OverridesParser.create().parse_override(word).value()
    return [str(name) for name in found]


@pytest.mark.parametrize("name", NAMES)
def test_known_names_come_back(name: str) -> None:
    assert back(pasted("records.ignore", name)) == [name]
    assert back(pasted("records.ignore", name, "other")) == [name, "other"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_any_name_comes_back(name: str) -> None:
    assert back(pasted("records.ignore", name)) == [name]
