"""Mistakes in a command line: one line that names the setting, its value and what is allowed."""

from __future__ import annotations

import pytest
from conftest import names

from benchmark import __main__ as program
from benchmark.audit.__main__ import main as audit


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("attack=[nope]", f"attack=nope: there is no such choice; allowed are {', '.join(names('attack'))}"),
        ("+sweep=nope -m", "sweep=nope: there is no such choice; allowed are all, baselines, "),
        ("victim@reference.victim=nope", "victim=nope: there is no such choice; allowed are dcgan, "),
        ("+sweep=taxonomy victim=vae,nope -m", "victim=nope: there is no such choice; allowed are "),
        ("victim.stps=3", "victim.stps: there is no such setting; did you mean victim.steps?"),
        ("machine.fast=1", "machine.fast: there is no such setting; machine has store, outputs, "),
        ("nope=1", "nope: there is no such setting; a config has scale, data, split, "),
        ("victim.steps=[", "victim.steps=[: this cannot be read: "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    words: str, expected: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", *words.split()])
    with pytest.raises(SystemExit) as stop:
        program.command()
    assert stop.value.code == 2
    lines = capfd.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == len(lines) == 1
    assert expected in lines[0]


def test_a_mistake_in_an_audit_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        audit(["members=a", "non_members=b", "samples=c", "fail_if.auroc_uper=0.6"])
    assert stop.value.code == 2
    assert capfd.readouterr().err == (
        "error: fail_if.auroc_uper: there is no such setting; did you mean fail_if.auroc_upper?\n"
    )
