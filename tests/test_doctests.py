"""The examples in the docstrings of pure functions are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = {"metrics": 7, "rates": 3, "numbers": 7}
"""Module of benchmark.measures -> how many of its functions have an example."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    module = importlib.import_module(f"benchmark.measures.{name}")
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert len(found) >= MODULES[name]
    assert doctest.testmod(module).failed == 0
