"""What a report rests on as one file, for other machines: unpacked, it is a store.

    results in the store -> the same without pictures and pages -> a zip

    python -m zipfile -e results.zip store

Every number, verdict and ranking is then made again from it, without training anything. Entries
keep their keys, checksums and provenance. So the store trusts them as it trusts its own, and a
sweep goes on from them.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from tqdm import tqdm

from benchmark.job.files import save_data
from benchmark.job.record import Record
from benchmark.measures.numbers import count_of
from benchmark.report.collect import Study
from benchmark.report.wording import without_folders
from benchmark.store.entries import read_meta, write_meta
from victims.errors import UserError

log = logging.getLogger(__name__)


def check_places(results: Path | None, models: Path | None) -> None:
    """Raise UserError unless these files can be written; what is there stays as it is."""
    if results and models and results.absolute() == models.absolute():
        raise UserError(f"--archive and --archive-models both name {results}; choose two files")
    for file in filter(None, (results, models)):
        with _explained(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            _partial(file).touch()
            _partial(file).unlink()


def archive_results(studies: Sequence[Study], file: Path) -> int:
    """Write the results of all jobs to a zip; gives how many.

    Pictures (samples, reconstructions) and pages are left out: they are nine tenths of a result,
    and show training records. The same results give the same bytes.
    """
    done = [outcome.record for study in studies for outcome in study.done]
    records = {record.folder.name: record for record in done if record}
    _require(records, f"no result to archive; run: {studies[0].command}")
    with _archive(file) as archive:
        for name, record in tqdm(sorted(records.items()), "archiving results", disable=None):
            with TemporaryDirectory() as folder:
                _write_light(record, Path(folder))
                _add(archive, f"result/{name}", Path(folder))
    return len(records)


def archive_models(studies: Sequence[Study], file: Path) -> int:
    """Write the victims and reference models of all jobs that have a result to a zip; gives how
    many. Data are read to know which these are.

    Their weights are safetensors, which hold no code. What they release is drawn again from them.
    """
    from benchmark.job.prepare import read_and_draw  # torch takes seconds
    from benchmark.job.request import open_request

    jobs = [outcome.job for study in studies for outcome in study.done]
    _require(jobs, f"no result to archive; run: {studies[0].command}")
    folders, lacking = dict[str, Path](), set[str]()
    for job in tqdm(jobs, "finding models", disable=None):
        for recipe, data in read_and_draw(open_request(job.config)).models:
            own = recipe.filed_under(data)
            folder = job.filing.store.folder("victim", own)
            if job.filing.store.has("victim", own):
                folders[folder.name] = folder
            else:
                lacking.add(folder.name)
    _require(folders, "no stored model to archive: these results came without their models")
    if lacking:
        log.warning("%s not in the store, or damaged: left out", count_of(len(lacking), "models"))
    with _archive(file) as archive:
        for name, folder in tqdm(sorted(folders.items()), "archiving models", disable=None):
            _add(archive, f"victim/{name}", folder)
    return len(folders)


def _require(found: Collection[object], message: str) -> None:
    if not found:
        raise UserError(message)


@contextmanager
def _archive(file: Path) -> Iterator[ZipFile]:
    """A zip that takes its name once it is whole; UserError where it cannot be written."""
    with _explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with ZipFile(_partial(file), "w", ZIP_DEFLATED) as archive:
                yield archive
            _partial(file).replace(file)
        finally:
            with suppress(OSError):
                _partial(file).unlink()


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}; choose another file") from error


def _partial(file: Path) -> Path:
    return Path(f"{file}.partial")


def _write_light(record: Record, folder: Path) -> None:
    """A result's entry without pictures, page and folders of this machine; else as it is."""
    result, meta = record.result, read_meta(record.folder)
    light = dataclasses.replace(
        result,
        samples=None,
        strips={},
        closest=None,
        config=_without_folders(result.config),
        provenance=_without_folders(result.provenance),
    )
    save_data(light, folder)
    write_meta(folder, meta | {"note": _without_folders(meta["note"])})


def _without_folders(value: Any) -> Any:
    """The same with the last name of each absolute path for the path."""
    if isinstance(value, str):
        return without_folders(value)
    if isinstance(value, Mapping):
        return {name: _without_folders(own) for name, own in value.items()}
    return [_without_folders(own) for own in value] if isinstance(value, list | tuple) else value


def _add(archive: ZipFile, place: str, folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        entry = ZipInfo(f"{place}/{path.name}")  # of 1980, so that equal content is equal bytes
        archive.writestr(entry, path.read_bytes(), ZIP_DEFLATED, 9)
