"""A sweep from the command line: its table, its failures, its exit code."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.__main__ import main
from benchmark.store import Store


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `python -m benchmark` with these words in this process; gives the exit code."""

    def run(*words: str) -> int:
        fixed = ["scale=smoke", "logger=none", "machine.progress=false", "distance=l2"]
        fixed += [f"machine.store={tmp_path}/store", f"machine.outputs={tmp_path}/outputs"]
        monkeypatch.setattr("sys.argv", ["benchmark", *fixed, *words])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def test_a_sweep_goes_on_past_a_failed_job_and_says_so(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cheap = ["attack=[discriminator]", "calibration=none"]
    assert command(*cheap, "split.queries=99,20", "-m") == 1
    out = capsys.readouterr().out
    assert "1 of 2 jobs have a result" in out
    (again,) = [line.split("again: ")[1] for line in out.splitlines() if "again: " in line]
    assert "split.queries=99" in again
    (failed,) = Store(tmp_path / "store").find("failed")
    assert failed[1]["config"]["split"]["queries"] == 99
    # The command as printed fails alone in the same way; with room for the queries it succeeds.
    words = shlex.split(again)[3:]
    assert command(*words) == 1
    assert command(*(word.replace("=99", "=21") for word in words)) == 0
