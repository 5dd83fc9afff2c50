"""A disk that is full, or cannot be written: one clear line, nothing lost, the same bits later."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.conftest import Contents, contents, small

from benchmark.job import run
from victims.errors import UserError

Mount = Callable[[str], None]

SIZE = 5850
"""Kilobytes that the small job leaves in its store; nine tenths are the data."""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount, or remount, a file system of its own at `tmp_path`/disk with these options."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    done: list[str] = []

    def mounted(options: str) -> None:
        how = f"remount,{options}" if done else options
        command = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(disk)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode != 0:
            pytest.skip(f"mounting is not allowed here: {found.stderr.strip()}")
        done.append(options)

    yield mounted
    if done:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.9, 0.94, 0.97])
def test_a_full_disk_costs_nothing_but_time(
    share: float, mount: Mount, undisturbed: Contents, tmp_path: Path
) -> None:
    """The disk has room for a share of what the job leaves there."""
    disk = tmp_path / "disk"
    mount(f"size={int(share * SIZE)}k")
    with pytest.raises(UserError, match=r"machine\.store=.*: no space left") as caught:
        run.run(small(disk))
    assert "\n" not in str(caught.value)
    kept = contents(disk)
    assert kept.items() <= undisturbed.items()
    mount("size=64m")
    run.run(small(disk))
    assert contents(disk) == undisturbed


@pytest.mark.slow
def test_a_read_only_disk_is_one_clear_line_and_loses_nothing(
    mount: Mount, undisturbed: Contents, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    mount("size=64m")
    run.run(small(disk))
    gc.collect()  # arrays that are mapped for writing
    mount("ro")
    assert contents(disk) == undisturbed  # what is there can be read
    for overrides in ([], ["seed=1"]):
        with pytest.raises(UserError, match=r"machine\.store=.*: cannot be written") as caught:
            run.run(small(disk, *overrides))
        assert "\n" not in str(caught.value)
    mount("rw")
    run.run(small(disk))
    assert contents(disk) == undisturbed
