"""Advice in a message works when it is pasted into a shell."""

from __future__ import annotations

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from benchmark.config.commandline import _as_meant
from benchmark.config.quoting import pasted, places_quoted

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


@pytest.mark.parametrize("path", ["/a/My Data (1).csv", "C:\\x y\\z.csv", "it's.csv", "a#1.csv"])
def test_a_file_is_named_as_it_is(path: str) -> None:
    (word,) = places_quoted([f"data.file={path}"])
    assert OverridesParser.create().parse_override(word).value() == path


def test_what_the_grammar_reads_stays() -> None:
    words = ["data.file=a.csv,b.csv", "data.file='a b'", "data.root=${x}", "seed=(1", "-m"]
    assert places_quoted(words) == words


def test_a_word_that_cannot_be_read_is_told_how_to_write_it() -> None:
    advice = _as_meant("data.columns=[age,waist (cm)]").rpartition(" write ")[2]
    assert back(advice) == ["age", "waist (cm)"]
    assert _as_meant("victim.steps=[") == _as_meant("a b=c") == ""
