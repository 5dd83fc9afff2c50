"""Stores of hand-made results."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from benchmark.job import record
from benchmark.measures.result import JobResult
from benchmark.sweep import compose
from benchmark.sweep.compose import Job


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each test has its store and outputs: the same words, so that jobs are composed once."""
    return tmp_path_factory.mktemp("report")


@pytest.fixture(autouse=True)
def composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composing a sweep's jobs takes seconds, and is tested elsewhere."""
    monkeypatch.setattr(
        compose, "parts_and_jobs", lambda words: _parts_and_jobs(tuple(map(str, words)))
    )


@cache
def _parts_and_jobs(words: tuple[str, ...]) -> list[tuple[compose.Part, list[Job]]]:
    return PARTS_AND_JOBS(words)


PARTS_AND_JOBS = compose.parts_and_jobs


@pytest.fixture
def words(place: Path) -> list[str]:
    """The command line of every hand-made sweep: an empty store."""
    for folder in place.iterdir():
        shutil.rmtree(folder)
    places = [f"machine.store={place}/store", f"machine.outputs={place}/outputs"]
    return ["scale=smoke", "logger=none", "distance=l2", *places]


@pytest.fixture
def fill(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Store a result for every job of a sweep; gives the sweep's command line."""
    monkeypatch.setattr(
        "benchmark.show.page.render_job", lambda result: "a job's own page takes seconds"
    )

    def filled(result: Callable[[Job], JobResult | None], name: str, *overrides: str) -> list[str]:
        line = [f"+sweep={name}", *words, *overrides]
        for job in compose.list_jobs(line):
            made = result(job)
            if made is not None:
                record.obtain_record(job.filing, lambda made=made: made)
        return line

    return filled
