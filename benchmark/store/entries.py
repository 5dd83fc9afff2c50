"""Everything expensive is made once and kept under the hash of what determines it.

    <root>/<kind>/<key>/            a finished entry: its files and meta.json
    <root>/<kind>/<key>.partial/    an entry in the making; survives a kill, so that it can go on
    <root>/<kind>/<key>.lock        held by the process that makes the entry

The lock is the operating system's: it ends with the process that held it, however that died.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark.store.folders import home
from benchmark.store.keys import key, plain
from benchmark.store.provenance import provenance
from victims.errors import UserError

log = logging.getLogger(__name__)

META = "meta.json"
WORK = "work"
"""Subfolder of a partial entry for checkpoints and the like; removed when the entry is finished."""
CLOCK = "attempt.json"
NOTICE_S = 30.0
"""Seconds between two messages while another process makes the entry."""
MIN_FREE = 2**20
"""Bytes; less is a full disk, also where a library hides that behind an error of its own."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


class Busy(Exception):
    """Another process makes it."""


class Store:
    """A folder of finished entries that any number of processes may share.

    root: the setting machine.store. waits: for an entry that another process makes; if not, Busy is
    raised. An entry counts as finished only when its meta.json is whole and every file has the size
    and sha256 noted there; anything else is reported and remade.
    """

    def __init__(self, root: Path | str, waits: bool = True) -> None:
        self.root, self.waits = home(root).absolute(), waits
        self._verified: dict[Path, list[tuple[int, ...]]] = {}

    def check(self) -> None:
        """Raise UserError unless files can be written and locked here; call it before training."""
        with self._explained_errors():
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".check-", dir=self.root) as probe:
                (Path(probe) / META).write_bytes(b"0" * 4096)
                with FileLock(Path(probe) / "lock", timeout=1):
                    pass
            if shutil.disk_usage(self.root).free < MIN_FREE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def has(self, kind: str, config: Any) -> bool:
        """Whether the entry is finished and whole."""
        return self._fault_of(self.folder(kind, config)) is None

    def folder(self, kind: str, config: Any) -> Path:
        """Where the entry is, or would be."""
        return self.root / kind / key(config)

    def drop(self, kind: str, config: Any) -> None:
        """Delete the entry if there is one; for entries that stop being true."""
        path = self.folder(kind, config)
        if not path.exists():
            return
        with self._explained_errors():
            lock = self._lock_entry(path)
            try:
                if path.exists():
                    _discard_entry(path)
            finally:
                lock.release()

    def find(self, kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield (folder, meta.json) of every whole entry of a kind, in the order of their keys."""
        for path in sorted((self.root / kind).glob("?" * 64)):
            if self._fault_of(path) is None:
                yield path, read_meta(path)

    def get(
        self,
        kind: str,
        config: Any,
        make: Callable[[Path], None],
        note: Mapping[str, Any] | None = None,
    ) -> Path:
        """The folder of the entry that `config` determines; made first where there is none.

        make: writes the entry's files into the folder it is given. After a kill it is called again
        with that folder as it was left, and may go on from what it kept under WORK there.
        note: provenance for meta.json that is no part of the key (machine, facts about the data).
        Raises UserError where the store is full (what was done so far is kept) or read-only.
        """
        facts = {"config": plain(config), "note": plain(note or {}, "note")}
        path = self.folder(kind, config)
        if self._fault_of(path) is None:
            return path
        with self._explained_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._lock_entry(path)
        try:
            if self._fault_of(path) is not None:  # else another process made it while we waited
                self._make_entry(path, make, facts)
        finally:
            lock.release()
        return path

    def _make_entry(self, path: Path, make: Callable[[Path], None], facts: dict[str, Any]) -> None:
        partial = _path_beside(path, ".partial")
        with self._explained_errors():
            if path.exists():
                fault = self._fault_of(path)
                log.warning("store entry %s is damaged: %s; making it again", path, fault)
                _discard_entry(path)
            (partial / WORK).mkdir(parents=True, exist_ok=True)
        if self._fault_of(partial, path.name) is not None:  # else only publishing was interrupted
            seconds = _timed_attempts(partial, lambda: self._make_explained(make, partial))
            with self._explained_errors():
                write_meta(partial, facts | {"seconds": seconds} | provenance())
        with self._explained_errors():
            if (partial / WORK).exists():
                shutil.rmtree(partial / WORK)
            os.rename(partial, path)
            _sync_to_disk(path.parent)

    def _make_explained(self, make: Callable[[Path], None], partial: Path) -> None:
        with self._explained_errors(making=partial):
            make(partial)

    def _lock_entry(self, path: Path) -> FileLock:
        """Take the entry's lock, and say so while another process has it."""
        place = _path_beside(path, ".lock")
        place.touch()  # the lock library would wait for ever where it cannot create the file
        lock, since = FileLock(place, poll_interval=0.1), time.monotonic()
        wait: float = 0
        while True:
            try:
                lock.acquire(timeout=wait)
                return lock
            except Timeout:
                if not self.waits:
                    raise Busy from None
                wait, waited = NOTICE_S, time.monotonic() - since
                name = f"{path.parent.name}/{path.name}"
                log.warning("waiting for another process to make %s (for %.0f s)", name, waited)

    def _fault_of(self, path: Path, name: str | None = None) -> str | None:
        """What is wrong with an entry in one line, or None; files are hashed once a process."""
        try:
            meta = read_meta(path)
            if key(meta["config"]) != (name or path.name):
                return f"{META} describes another entry"
            for file, known in meta["files"].items():
                if not (path / file).is_file():
                    return f"{file} is missing"
                if (size := (path / file).stat().st_size) != known["bytes"]:
                    return f"{file} has {size} bytes, not {known['bytes']}"
            state = [_signature_of(path / file) for file in (*meta["files"], META)]
            if self._verified.get(path) != state:
                for file, known in meta["files"].items():
                    if _sha256_of(path / file) != known["sha256"]:
                        return f"the content of {file} has changed (sha256)"
                self._verified[path] = state
        except FileNotFoundError:
            return f"{META} is missing"
        except (ValueError, KeyError, TypeError, AttributeError, UserError):
            return f"{META} is damaged"
        except OSError as error:
            return f"it cannot be read ({error.strerror or error})"
        return None

    @contextmanager
    def _explained_errors(self, making: Path | None = None) -> Iterator[None]:
        """Turn "cannot write here" into a UserError; while `making`, other errors pass."""
        try:
            yield
        except (UserError, Busy):
            raise
        except Exception as error:
            code = getattr(error, "errno", None)
            at = getattr(error, "filename", None)
            inside = at is None or Path(os.fsdecode(at)).is_relative_to(self.root)
            hidden = code is None and (self._is_full() or os.strerror(errno.ENOSPC) in str(error))
            if (code in _FULL and inside) or hidden:
                kept = f"what was done so far is kept in {making}; " if making else ""
                raise UserError(
                    f"machine.store={self.root}: no space left; {kept}"
                    f"free some space and start again, or choose another folder"
                ) from error
            denied = code in _DENIED and at is not None and inside
            if denied or (making is None and isinstance(error, OSError)):
                raise UserError(
                    f"machine.store={self.root}: cannot be written to ({error}); "
                    f"choose a folder that can"
                ) from error
            raise

    def _is_full(self) -> bool:
        with suppress(OSError):
            return shutil.disk_usage(self.root).free < MIN_FREE
        return False


def read_meta(path: Path) -> dict[str, Any]:
    """An entry's meta.json; raises ValueError where it is damaged, OSError where it is absent."""
    meta: dict[str, Any] = json.loads((path / META).read_text(encoding="utf-8"))
    if meta.pop("sha256") != key(meta):
        raise ValueError(f"{path / META} was changed")
    return meta


def write_meta(partial: Path, facts: dict[str, Any]) -> None:
    """Describe the files of a finished entry, beside these facts, and see them to the disk."""
    files = sorted(f for f in partial.rglob("*") if f.is_file())
    names = [f.relative_to(partial) for f in files]
    own = [n for n in names if n.parts[0] not in (WORK, META)]
    described = {
        n.as_posix(): {"bytes": (partial / n).stat().st_size, "sha256": _sha256_of(partial / n)}
        for n in own
    }
    meta = facts | {"files": described}
    for name in own:
        _sync_to_disk(partial / name)
    text = json.dumps(meta | {"sha256": key(meta)}, indent=1)
    (partial / META).write_text(text, encoding="utf-8")
    for place in {partial / META, partial, *((partial / n).parent for n in own)}:
        _sync_to_disk(place)


def _timed_attempts(partial: Path, make: Callable[[], None]) -> float:
    """Run `make`; seconds that it and earlier, interrupted attempts took together.

    A killed attempt is counted up to the last file it wrote: what came later has to be redone.
    """
    clock = partial / WORK / CLOCK
    before = 0.0
    with suppress(OSError, ValueError, KeyError, TypeError):
        last = json.loads(clock.read_text(encoding="utf-8"))
        newest = max(f.stat().st_mtime for f in partial.rglob("*") if f.is_file())
        before = last["before"] + max(0.0, newest - last["started"])
    with suppress(OSError):
        clock.write_text(json.dumps({"before": before, "started": time.time()}), encoding="utf-8")
    start = time.monotonic()
    try:
        make()
    finally:
        with suppress(OSError):
            os.utime(clock)
    return round(before + time.monotonic() - start, 3)


def _path_beside(path: Path, ending: str) -> Path:
    return path.parent / (path.name + ending)


def _discard_entry(path: Path) -> None:
    """Delete an entry; renamed first, so that nobody meets it half deleted."""
    doomed = _path_beside(path, ".damaged")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed) if doomed.is_dir() else doomed.unlink()


def _sync_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as stream:  # read in small blocks
        return file_digest(stream, "sha256").hexdigest()


def _signature_of(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
