"""Imports that take seconds, a third of them spent on looking for garbage that is not there."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def kept_for_good() -> Iterator[None]:
    """While this lasts, Python collects no garbage; what is there at its end it never looks at.

    Modules make a million objects that stay. Python would go through them again and again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def call(module: str, function: str, *given: Any) -> Any:
    """Import a module in this new process, and call a function of it."""
    with kept_for_good():
        found = import_module(module)
    return getattr(found, function)(*given)
