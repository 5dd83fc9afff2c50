"""Makes the fixtures and helpers of `common.py` those of all tests.

Where xdist only hands out tests, nothing of it is loaded: torch and Lightning take seconds.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.register(importlib.import_module("common"), "common")


def __getattr__(name: str) -> Any:
    """What tests import from here; pytest itself looks for names that it may define."""
    if name.startswith(("_", "pytest")):
        raise AttributeError(name)
    return getattr(importlib.import_module("common"), name)
