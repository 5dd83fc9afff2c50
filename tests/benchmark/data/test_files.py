"""Hashes of files are remembered while the files stay as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark.data import files
from benchmark.data.files import hash_content, remember_hash
from victims.errors import UserError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_LEAKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "SETTLED_S", -60.0)  # a file just written counts as settled
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"before")
    return tmp_path / "file"


class Reader:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"{self.times:064x}"


def test_a_file_is_read_once_and_what_is_read_is_its_own(cache, file, tmp_path):
    read, other = Reader(), Reader()
    assert [remember_hash("a", [file], read) for _ in range(3)] == [f"{1:064x}"] * 3
    assert read.times == 1
    remember_hash("b", [file], other)
    (tmp_path / "copy").write_bytes(b"before")
    remember_hash("a", [tmp_path / "copy"], other)
    remember_hash("a", [file, tmp_path / "copy"], other)
    assert other.times == 3


def test_an_edit_that_keeps_size_and_date_is_seen(cache, file):
    before = hash_content(file)
    date = file.stat()
    file.write_bytes(b"behind")
    os.utime(file, ns=(date.st_atime_ns, date.st_mtime_ns))
    assert file.stat().st_mtime_ns == date.st_mtime_ns
    assert hash_content(file) != before


def test_a_file_just_changed_is_read_again(cache, file, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_S", 60.0)
    read = Reader()
    for _ in range(2):
        remember_hash("a", [file], read)
    assert read.times == 2
    assert not cache.exists()


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"0" * 63, b"x" * 64])
def test_a_damaged_note_is_read_again(cache, file, garbage):
    expected = hash_content(file)
    (note,) = (cache / "hashes").iterdir()
    note.write_bytes(garbage)
    assert hash_content(file) == expected
    assert note.read_text() == expected


def test_a_cache_that_cannot_be_written_costs_time_only(cache, file):
    cache.write_text("in the way")
    read = Reader()
    for _ in range(2):
        remember_hash("a", [file], read)
    assert read.times == 2


def test_a_damaged_file_is_not_remembered(cache, tmp_path):
    (tmp_path / "cut.gz").write_bytes(b"no gzip")
    for _ in range(2):
        with pytest.raises(UserError, match=r"cut\.gz is damaged"):
            hash_content(tmp_path / "cut.gz")
