"""Docstrings: examples of pure functions are true, parameters of choices are listed."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re

import pytest
from conftest import CONF
from hydra.utils import get_class

MEASURES = "benchmark.measures"
MODULES = {
    f"{MEASURES}.metrics": 7,
    f"{MEASURES}.rates": 3,
    f"{MEASURES}.numbers": 7,
    f"{MEASURES}.sets": 1,
    f"{MEASURES}.epsilon": 3,
    f"{MEASURES}.gaussian": 1,
    "benchmark.quality.likeness": 2,
    "attacks.calibration.difference": 1,
    "attacks.distances": 3,
    "attacks.lpips_network": 1,
    "attacks.mixed": 2,
    "attacks.search.nearest": 7,
}
"""Module -> how many of its functions have an example."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    module = importlib.import_module(name)
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert len(found) >= MODULES[name]
    assert doctest.testmod(module).failed == 0


OURS = "(?:attacks|benchmark|victims)"
GROUPS = ["attack", "blind", "calibration", "canaries", "data", "distance", "dp", "ensemble"]
GROUPS += ["copies", "logger", "quality", "reference", "split", "victim"]


def classes_named_by(*groups: str) -> list[str]:
    """The classes that the files of these groups of conf/ name, in our own packages."""
    texts = [file.read_text() for group in groups for file in (CONF / group).glob("*.yaml")]
    return sorted(
        {name for text in texts for name in re.findall(rf"_target_: ({OURS}[\w.]+)", text)}
    )


@pytest.mark.parametrize("name", classes_named_by(*GROUPS))
def test_every_parameter_of_a_choice_has_a_line_in_its_docstring(name: str) -> None:
    found = get_class(name)
    docs = [inspect.cleandoc(base.__doc__ or "") for base in found.__mro__[:-1]]
    for parameter in inspect.signature(found).parameters.values():
        line = re.compile(rf"^(\w+, )*{parameter.name}(, \w+)*: \S", re.MULTILINE)
        is_named = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        assert not is_named or any(line.search(doc) for doc in docs), parameter
