"""Stores of hand-made results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.job import record
from benchmark.measures.result import JobResult
from benchmark.sweep import compose
from benchmark.sweep.compose import Job


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command line of every hand-made sweep: a store of its own."""
    places = [f"machine.store={tmp_path}/store", f"machine.outputs={tmp_path}/outputs"]
    return ["scale=smoke", "logger=none", "distance=l2", *places]


@pytest.fixture
def fill(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Store a result for every job of a sweep; gives the sweep's command line."""
    monkeypatch.setattr(
        "benchmark.show.page.render", lambda result: "a job's own page takes seconds"
    )

    def filled(result: Callable[[Job], JobResult | None], name: str, *overrides: str) -> list[str]:
        line = [f"+sweep={name}", *words, *overrides]
        for job in compose.listed(line):
            made = result(job)
            if made is not None:
                record.obtain(job.config, lambda _, made=made: made)
        return line

    return filled
