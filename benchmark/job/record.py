"""A job's record in the store: its result, or why there is none.

    result/<key>   JobResult as parquet, npz and JSON, and the page; made once, like a victim
    failed/<key>   what went wrong and the command that tries again; gone once the job succeeds

A result is filed under the resolved config, in which the data's identity stands for its path;
of `machine` only the precision of training counts, logger and the sweep's name are left out. So
every process and node finds every result through the store alone, and a job whose result is there
needs neither torch nor the victim.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from benchmark.config.build import build
from benchmark.config.commandline import command
from benchmark.job.files import PAGE, load_result, save_result
from benchmark.measures.result import JobResult
from benchmark.store.entries import Store, key, plain, read_meta
from benchmark.store.keys import settings
from benchmark.store.provenance import code
from victims.errors import UserError

log = logging.getLogger(__name__)

FORMAT = 6
"""Raise it when a result holds or means something else: stored ones are then made again, from the
stored scores."""


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
    def page(self) -> Path:
        """The page as it was rendered when the job was done."""
        return self.folder / PAGE


def obtain_record(config: DictConfig, make: Callable[[DictConfig], JobResult]) -> Record:
    """The job's result from the store, or from `make`; a failure is recorded and raised again.

    Stopping a job (Ctrl-C, SIGTERM) is no failure and leaves no record.
    """
    store, fresh = Store(config.machine.store), False

    def record(folder: Path) -> None:
        nonlocal fresh
        save_result(make(config), folder)
        fresh = True

    try:
        store.check()
        filed = filed_under(config)
        if _is_stale(config, store, filed):
            store.drop("result", filed)
        note = {"command": command(config), "sweep": config.sweep}
        folder = store.get("result", filed, record, note)
    except Exception as error:
        with suppress(UserError):  # a config that has no key, a store that cannot be written
            _record_failure(store, config, error)
        raise
    store.drop("failed", settings(config))
    found = Record(load_result(folder), folder, fresh)
    known = found.result.code  # scores of before there were digests have an empty one
    if edited := [name for name in _edited_attacks(config, found.result) if known[name]]:
        log.warning(
            "attack=[%s]: its file was edited after these scores were made, they may be of the old "
            "code; machine.renew=[%s] scores anew",
            *[",".join(edited)] * 2,
        )
    return found


def _edited_attacks(config: DictConfig, result: JobResult) -> list[str]:
    """The attacks whose file is not, for all one knows, what it was when they were scored."""
    now = code(config.attack)
    return [name for name, then in result.code.items() if now.get(name, then) != then]


def _is_stale(config: DictConfig, store: Store, filed: dict[str, Any]) -> bool:
    """Whether `machine.renew` is about a stored result: one of its attacks was edited since."""
    if not config.machine.renew or not store.has("result", filed):
        return False
    return bool(
        {*config.machine.renew}
        & {*_edited_attacks(config, load_result(store.folder("result", filed)))}
    )


def is_stored(config: DictConfig, store: Store, filed: dict[str, Any]) -> bool:
    """Whether a job has a result that it will not make anew. filed: see `filed_under`."""
    return store.has("result", filed) and not _is_stale(config, store, filed)


def find_record(config: DictConfig, store: Store) -> Record | dict[str, Any] | None:
    """What the store knows of a job: its record, the failure (error, command, ...), or None."""
    with suppress(UserError):  # data that is not here; then no result of it can be either
        filed = filed_under(config)
        if store.has("result", filed):
            folder = store.folder("result", filed)
            return Record(load_result(folder), folder)
    filed = settings(config)
    if store.has("failed", filed):
        failure: dict[str, Any] = json.loads(
            (store.folder("failed", filed) / "failure.json").read_text()
        )
        return failure
    return None


def is_started(config: DictConfig, store: Store) -> bool:
    """Whether a job was begun that has no result: it is running, or was stopped or killed."""
    with suppress(UserError):
        path = store.folder("result", filed_under(config))
        return path.with_name(f"{path.name}.partial").exists()
    return False


def name_of_settings(config: DictConfig) -> str:
    """One name for all jobs that have the same settings."""
    return key(settings(config))


def filed_under(config: DictConfig) -> dict[str, Any]:
    """What determines a job's result: its settings, with the data's content for its place."""
    data = json.loads(_identity_of_data(OmegaConf.to_yaml(config.data, resolve=True)))
    return settings(config) | {"data": data, "format": FORMAT}


@cache
def _identity_of_data(data: str) -> str:
    """The identity of a data config (YAML), as JSON; it may hash files, so only once a process."""
    return json.dumps(build(DictConfig(OmegaConf.create(data)), "data").identity())


def _record_failure(store: Store, config: DictConfig, error: Exception) -> None:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    failure = {
        "error": lines[0]
        if isinstance(error, UserError)
        else f"{type(error).__name__}: {lines[0]}",
        "traceback": "".join(traceback.format_exception(error)),
        "command": command(config),
        "sweep": config.sweep,
        "config": plain(config),
    }

    def write(folder: Path) -> None:
        (folder / "failure.json").write_text(json.dumps(failure, indent=1), encoding="utf-8")

    filed = settings(config)
    store.drop("failed", filed)
    store.get("failed", filed, write)


# --- a result as files ----------------------------------------------------------------------------
