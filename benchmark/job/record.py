"""A job's record in the store: its result, or why there is none.

    result/<key>   JobResult as parquet, npz and JSON, and the page; made once, like a victim
    failed/<key>   what went wrong and the command that tries again; gone once the job succeeds

`filing.py` says what either is filed under. So every process and node finds every result through
the store alone, and a job whose result is there needs neither torch nor the victim.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.job.files import PAGE, load_result, save_result
from benchmark.job.filing import Filing
from benchmark.measures.result import JobResult
from benchmark.store.entries import read_meta
from benchmark.store.provenance import code
from victims.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """A stored result. fresh: whether this call made it. meta: the entry's meta.json."""

    result: JobResult
    folder: Path
    fresh: bool = False

    @property
    def meta(self) -> dict[str, Any]:
        """Key, git commit, versions, date, seconds and (as note) the command that made it."""
        return read_meta(self.folder)

    @property
    def page(self) -> Path | None:
        """The page as it was rendered when the job was done; None where the result came from an
        archive, which holds no pages.
        """
        page = self.folder / PAGE
        return page if page.is_file() else None


def obtain_record(filing: Filing, make: Callable[[], JobResult]) -> Record:
    """The job's result from the store, or from `make`; a failure is recorded and raised again.

    An earlier failure is dropped when the job is tried again, so that its state is that of now.
    Stopping a job (Ctrl-C, SIGTERM) is no failure and leaves no record.
    """
    store, fresh = filing.store, False

    def record(folder: Path) -> None:
        nonlocal fresh
        store.drop("failed", filing.settings)
        save_result(make(), folder)
        fresh = True

    try:
        store.check()
        if _is_stale(filing):
            store.drop("result", filing.result)
        folder = store.get("result", filing.result, record, filing.note)
    except Exception as error:
        with suppress(UserError):  # a store that cannot be written
            _record_failure(filing, error)
        raise
    store.drop("failed", filing.settings)
    found = Record(load_result(folder), folder, fresh)
    if edited := edited_attacks(filing, found.result):
        log.warning(
            "attack=[%s]: its file was edited after these scores were made, they may be of the old "
            "code; machine.renew=[%s] scores anew",
            *[",".join(edited)] * 2,
        )
    return found


def edited_attacks(filing: Filing, result: JobResult) -> list[str]:
    """The attacks whose file was certainly edited since; older scores have an empty digest."""
    return [name for name in _other_code(filing, result) if result.code[name]]


def _other_code(filing: Filing, result: JobResult) -> list[str]:
    """The attacks whose file is not, for all one knows, what it was when they were scored."""
    now = code(filing.settings["attack"])
    return [name for name, then in result.code.items() if now.get(name, then) != then]


def _is_stale(filing: Filing) -> bool:
    """Whether `machine.renew` is about a stored result: one of its attacks was edited since."""
    store = filing.store
    if not filing.renew or not store.has("result", filing.result):
        return False
    stored = load_result(store.folder("result", filing.result))
    return bool(filing.renew & {*_other_code(filing, stored)})


def is_stored(filing: Filing) -> bool:
    """Whether a job has a result that it will not make anew."""
    return filing.store.has("result", filing.result) and not _is_stale(filing)


def find_record(filing: Filing) -> Record | dict[str, Any] | None:
    """What the store knows of a job: its record, the failure (error, command, ...), or None."""
    store = filing.store
    with suppress(UserError):  # data that is not here; then no result of it can be either
        if store.has("result", filing.result):
            folder = store.folder("result", filing.result)
            return Record(load_result(folder), folder)
    if store.has("failed", filing.settings):
        failure: dict[str, Any] = json.loads(
            (store.folder("failed", filing.settings) / "failure.json").read_text()
        )
        return failure
    return None


def is_started(filing: Filing) -> bool:
    """Whether a job was begun that has no result: it is running, or was stopped or killed."""
    with suppress(UserError):
        path = filing.store.folder("result", filing.result)
        return path.with_name(f"{path.name}.partial").exists()
    return False


def _record_failure(filing: Filing, error: Exception) -> None:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    failure = {
        "error": lines[0]
        if isinstance(error, UserError)
        else f"{type(error).__name__}: {lines[0]}",
        "traceback": "".join(traceback.format_exception(error)),
        **filing.note,
        "config": filing.whole,
    }

    def write(folder: Path) -> None:
        (folder / "failure.json").write_text(json.dumps(failure, indent=1), encoding="utf-8")

    filing.store.drop("failed", filing.settings)
    filing.store.get("failed", filing.settings, write)
