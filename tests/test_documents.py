"""The documents are short, their links lead somewhere, and their commands mean something."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import CONF
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from benchmark.audit.arguments import as_overrides
from benchmark.config.build import composing
from victims import access

ROOT = CONF.parent
FRONT = ["README.md", "ARCHITECTURE.md"]
ROOMS = ["attacks", "benchmark", "conf", "results", "tests", "victims"]
WORDS = 1100
"""Of each front page; what is longer belongs into the README of the room that it is about."""

SENTENCE = 25
"""Words of a sentence at most."""

IMAGE_BYTES = 150_000
PROGRAMS = ("python ", "make ")
EXAMPLE = "radius_count"
"""The attack that `attacks/README.md` writes: here another one stands for it."""


def documents() -> list[str]:
    """The front pages, and the README of every room."""
    found = (file for room in ROOMS for file in (ROOT / room).rglob("README.md"))
    return [*FRONT, *sorted(str(file.relative_to(ROOT)) for file in found)]


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def links(document: str) -> list[str]:
    """Where a document links to, but for other sites."""
    found = re.findall(r"\]\(([^)\s]+)\)", text_of(document))
    return [link for link in found if "://" not in link]


def anchors(document: Path) -> set[str]:
    """What GitHub calls a document's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> list[str]:
    """What a reader may type: lines of code blocks, and code within sentences."""
    text = re.sub(r"```python.*?```", "", text, flags=re.DOTALL).replace("\\\n", " ")
    blocks = re.findall(r"^    (.*)$", text, re.MULTILINE)
    within = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [" ".join(line.split()) for line in [*blocks, *within]]
    return [line for line in found if line.startswith(PROGRAMS)]


@cache
def check(command: str) -> None:
    """Raise an error for a command that names something that is not there."""
    program, *words = shlex.split(command, comments=True)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets), words
    elif words[0] != "-m":
        assert (ROOT / words[0]).is_file(), words[0]
    else:
        module, *given = (word.replace(EXAMPLE, "pia") for word in words[1:])
        if module in ("zipfile", "pytest"):
            assert all((ROOT / word).exists() for word in given if "/" in word), given
            return
        for flag in ("--out", "--archive", "--archive-models"):
            if flag in given:
                del given[given.index(flag) : given.index(flag) + 2]
        given = [word for word in given if word not in ("-m", "--help", "--ranking")]
        audit = module == "benchmark.audit"
        assert audit or module in ("benchmark", "benchmark.report"), module
        compose("audit" if audit else "config", first(as_overrides(given) if audit else given))


def first(words: list[str]) -> list[str]:
    """The words of the first job of a sweep."""
    found = []
    for override in OverridesParser.create().parse_overrides(words):
        several = override.is_sweep_override()
        value = next(override.sweep_string_iterator()) if several else ""
        found.append(f"{override.get_key_element()}={value}" if several else override.input_line)
    return [str(word) for word in found]


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    with composing():
        yield


@pytest.mark.parametrize("document", FRONT)
def test_front_pages_are_short(document: str) -> None:
    assert len(text_of(document).split()) <= WORDS


def sentences(text: str) -> list[str]:
    """Sentences of prose in Markdown; a piece of code is one word, an item of a list is its own."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        prose = [line for line in block.splitlines() if not line.startswith(("    ", "|", "#"))]
        joined = re.sub(r"`[^`]*`", "code", " ".join(" ".join(prose).split()))
        found += re.split(r"(?<=[.!?])\**\s+", re.sub(r"\]\([^)]*\)", "]", joined))
    return found


def page_sentences(template: str) -> list[str]:
    """Sentences of the prose of a page; what is filled in is one word."""
    text = re.sub(r"<(style|script)>.*?</\1>", "", template, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}", " ", text, flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}", "value", text, flags=re.DOTALL)
    blocks = re.split(r"</?(?:p|li|ul|h\d|t[dhr]|div|table|form|figcaption|summary)\b[^>]*>", text)
    found = []
    for block in blocks:
        joined = " ".join(re.sub(r"<[^>]*>", " ", block).split())
        found += re.split(r"(?<=[.!?])\s+", joined)
    return found


def too_long(found: list[str]) -> list[str]:
    return [sentence for sentence in found if len(sentence.split()) > SENTENCE]


@pytest.mark.parametrize("document", documents())
def test_sentences_are_short(document: str) -> None:
    found = sentences(text_of(document))
    assert len(found) > 3
    assert not too_long(found)


@pytest.mark.parametrize("template", sorted((ROOT / "benchmark/show/templates").glob("*.j2")))
def test_sentences_of_pages_are_short(template: Path) -> None:
    assert not too_long(page_sentences(template.read_text(encoding="utf-8")))


def test_a_long_sentence_is_noticed() -> None:
    long = " ".join(["word"] * (SENTENCE + 1))
    for text in (f"Short. {long}.", f"- item\n- {long}", f"a\n\n{long}! Short."):
        assert len(too_long(sentences(text))) == 1
    assert not too_long(sentences(f"    {long}\n\n| {long} |\n\n`{long}` is code."))
    assert len(too_long(page_sentences(f"<p>Short. {long}.</p><p>{{{{ {long} }}}}</p>"))) == 1


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_somewhere(document: str) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
        if target.suffix == ".png":
            assert target.stat().st_size < IMAGE_BYTES, link


def files_named(document: str) -> list[str]:
    """Files of the project that a document names as code: `measures/pairs.py`; not the text of a link."""
    return re.findall(r"`([\w/]+\.py|\w+/[\w/]+\.yaml)`(?!\])", text_of(document))


@pytest.mark.parametrize("document", documents())
def test_every_file_that_is_named_exists(document: str) -> None:
    room = (ROOT / document).parent
    inside = [folder for folder in room.rglob("*") if folder.is_dir()] if room != ROOT else []
    bases = [ROOT, ROOT / "benchmark", room, *inside]
    for name in files_named(document):
        placeholder = "NAME" in name
        assert placeholder or any((base / name).is_file() for base in bases), name


def test_every_readme_is_linked_from_the_front_page() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links("README.md")}
    assert {(ROOT / document).resolve() for document in documents()} - linked == {
        (ROOT / "README.md").resolve()
    }


@pytest.mark.parametrize("document", documents())
def test_every_command_means_something(document: str) -> None:
    for command in commands(text_of(document)):
        try:
            check(command)
        except Exception as error:
            pytest.fail(f"{command}: {error}")


@pytest.mark.parametrize(
    "command",
    [
        "python -m benchmark victim=dcgann",
        "python -m benchmark split.member=64",
        "python -m benchmark.audit member=train.csv",
        "python bench/nothing.py",
        "make coffee",
    ],
)
def test_a_command_that_means_nothing_is_noticed(command: str) -> None:
    assert commands(f"    {command}") == commands(f"Type `{command}` now.") == [command]
    with pytest.raises((AssertionError, HydraException)):
        check(command)


def test_every_choice_stands_in_the_tables_of_conf() -> None:
    told = text_of("conf/README.md")
    for group in ("attack", "calibration", "copies", "data", "distance", "quality", "victim"):
        for file in (CONF / group).glob("*.yaml"):
            stem = file.stem
            for prefix in ("monte_carlo", "lpips", "l2_lpips"):
                stem = re.sub(rf"^{prefix}(_\w+)$", r"\1", stem)
            assert f"`{file.stem}`" in told or f"`{stem}`" in told, file


def test_every_access_stands_in_the_table_of_victims() -> None:
    told = text_of("victims/README.md")
    drawn = text_of("results/pictures/access.svg")
    for name, kind in vars(access).items():
        if isinstance(kind, type) and issubclass(kind, access.View) and kind is not access.View:
            assert f"| `{name}` |" in told
            assert re.search(rf"{name}\W", drawn), f"{name}: run python bench/pictures.py"
