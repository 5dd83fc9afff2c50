"""Imports without collecting garbage: afterwards Python collects as before."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from benchmark.config import imports


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_is_collected_afterwards_where_it_was_before(was_on: bool) -> None:
    (gc.enable if was_on else gc.disable)()
    try:
        with suppress(ImportError), imports.kept_for_good():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is was_on
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()


def test_a_function_of_a_module_is_called_with_what_is_given() -> None:
    assert imports.call("operator", "add", 2, 3) == 5
