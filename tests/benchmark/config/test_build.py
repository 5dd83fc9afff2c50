"""Mistakes in a command line: one line that names the setting, its value and what is allowed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import names
from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import PositiveInt

from benchmark import __main__ as program
from benchmark.audit.__main__ import main as audit
from benchmark.config.build import check, check_values, choices
from benchmark.job import run
from benchmark.job.request import open_request
from benchmark.report.__main__ import main as report
from victims.errors import UserError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("attack=[nope]", f"attack=nope: there is no such choice; allowed are {', '.join(names('attack'))}"),
        ("+sweep=nope -m", "sweep=nope: there is no such choice; allowed are all, baselines, "),
        ("victim@reference.victim=nope", "victim=nope: there is no such choice; allowed are ctgan, "),
        ("+sweep=taxonomy victim=vae,nope -m", "victim=nope: there is no such choice; allowed are "),
        ("victim.stps=3", "victim.stps: there is no such setting; did you mean victim.steps?"),
        ("machine.fast=1", "machine.fast: there is no such setting; machine has store, outputs, "),
        ("sweep=taxonomy", "sweep: nothing of this kind is chosen by default; write +sweep=taxonomy"),
        ("dp.epsilon=10", "dp.epsilon: there is no such setting in the chosen file of conf/dp/; it has off, on"),
        ("attack=[]", "attack: nothing is chosen; choose of closest_record, "),
        ("+swep=taxonomy", "+swep=taxonomy: there is no setting swep; did you mean sweep?"),
        ("+foo.bar=1 +sweep=taxonomy -m", "+foo.bar=1: there is no setting foo; there are again, attack, "),
        ("+sweep=taxonomy,distance -m", "+sweep=taxonomy,distance: a command runs one sweep; write one "),
        ("+sweep=tables +sweep=copies", "+sweep=tables +sweep=copies: a command runs one sweep; write one "),
        ("seed=0,1", "seed=0,1: add -m to run one job for each"),
        ("split.members=4,8", "split.members=4,8: add -m to run one job for each; a setting that takes a "),
        ("attack=encoder,white_box", "write attack=[encoder,white_box] for a list, or add -m"),
        ("unheard=1", "unheard: there is no such setting; a config has scale, data, split, "),
        ("victim.steps=[", "victim.steps=[: this cannot be read: "),
        ("split.members 64", "split.members: this cannot be read: write NAME=VALUE"),
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


def test_words_may_stand_on_both_sides_of_a_flag(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """argparse takes the words of one side for all there are."""
    seen: list[list[str]] = []
    monkeypatch.setattr(program, "run", lambda main: seen.append(sys.argv[1:]))
    for words in (["seed=0", "-m", "victim=vae"], ["seed=0", "--cfg", "job", "victim=vae"]):
        monkeypatch.setattr("sys.argv", ["benchmark", *words])
        with pytest.raises(SystemExit):
            program.command()
    assert seen[0] == ["seed=0", "victim=vae", "-m"]
    assert seen[1] == ["seed=0", "--cfg", "job", "victim=vae"]
    assert report(["+sweep=nowhere", "--out", "x", "machine.store=y"]) == 2
    assert capsys.readouterr().err.startswith("error: sweep=nowhere: there is no such choice")


OWN = """
import numpy as np
from victims.access import FullBlackBox

class Mine:
    access = FullBlackBox

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def score(self, view, queries):
        return -np.abs(queries.numpy()).reshape(len(queries), -1).mean(1) * self.radius
"""


def test_a_folder_conf_of_ones_own_adds_an_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "attack").mkdir(parents=True)
    (tmp_path / "own_attack.py").write_text(OWN)
    settings = "mine:\n  _target_: own_attack.Mine\n  radius: 0.5\n"
    (tmp_path / "conf" / "attack" / "mine.yaml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    assert "mine" in choices("attack")
    assert "full_black_box" in choices("attack")
    words = ["attack=[mine]", "scale=smoke", "calibration=none", "quality=none", "logger=none"]
    monkeypatch.setattr("sys.argv", ["benchmark", *words, "machine.progress=false"])
    with pytest.raises(SystemExit) as stop:
        program.command()
    shown = capfd.readouterr()
    assert stop.value.code == 0, shown.err
    assert "mine" in shown.out


@pytest.mark.parametrize("words", [["+memberss=a"], ["+sweep=copies,tables"], ["++swep=all"]])
def test_what_nobody_means_is_one_line_of_audits_and_reports(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        audit(words)
    assert (stop.value.code, report(words)) == (2, 2)
    one, other = capfd.readouterr().err.splitlines()
    assert one == other
    assert one.startswith(f"error: {words[0]}: ")


def test_a_mistake_in_an_audit_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        audit(["members=a", "non_members=b", "samples=c", "fail_if.auroc_uper=0.6"])
    assert stop.value.code == 2
    assert capfd.readouterr().err == (
        "error: fail_if.auroc_uper: there is no such setting; did you mean fail_if.auroc_upper?\n"
    )


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1, float),
        (None, float | None),
        ("x", str | float),
        (ListConfig([1, 2]), Sequence[float]),
        (ListConfig([1, 2]), tuple[int, ...]),
        (ListConfig([[1], [2]]), list[list[int]]),
        (DictConfig({"a": 1}), dict[str, int]),
        (DictConfig({}), DictConfig | None),
        ("a/b", Path),
    ],
)
def test_a_value_of_the_right_kind_passes(value: Any, wanted: Any) -> None:
    check("it", value, wanted)


@pytest.mark.parametrize(
    ("value", "wanted", "message"),
    [
        ("x", float, "it=x: input should be a valid number"),
        (True, int, "it=True: input should be a valid integer"),
        (1e3, int, "it=1000.0: input should be a valid integer"),
        (0, PositiveInt, "it=0: input should be greater than 0"),
        ("ab", Sequence[str], "it=ab: 'str' instances are not allowed"),
        (ListConfig([1, "x"]), Sequence[float], "input should be a valid number"),
        (3, DictConfig, "it=3: input should be an instance of DictConfig"),
    ],
)
def test_a_value_of_another_kind_is_named(value: Any, wanted: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check("it", value, wanted)


def numbers(config: DictConfig, place: str = "") -> Iterator[str]:
    """Where the numbers of a config are."""
    for name, value in config.items():
        if isinstance(value, DictConfig):
            yield from numbers(value, f"{place}{name}.")
        elif type(value) in (int, float):
            yield f"{place}{name}"


@pytest.mark.parametrize("word", ["threads=x", "batch_size=0", "progress=1", "renew=white_box"])
def test_what_is_wrong_with_the_machine_is_named_by_a_plan_and_by_a_job(
    word: str, config: Callable[..., DictConfig]
) -> None:
    settings = config(f"machine.{word}")
    for start in (open_request, run.run):
        with pytest.raises(UserError, match=f"machine.{word}: input should be"):
            start(settings)


@pytest.mark.parametrize("group", ["victim", "attack", "calibration", "ensemble", "dp", "canaries"])
def test_a_word_in_a_number_s_place_is_named(group: str, config: Callable[..., DictConfig]) -> None:
    listed = group in ("attack", "calibration")
    for file in [f"[{','.join(names(group))}]"] if listed else names(group):
        made = config(f"{group}={file}")[group]
        for node in made.values() if listed or group == "ensemble" else [made]:
            for place in numbers(node) if "_target_" in node else ():
                if place.startswith("arguments."):  # of whatever function a package has
                    continue
                wrong = OmegaConf.merge(node, OmegaConf.from_dotlist([f"{place}=word"]))
                with pytest.raises(UserError, match=f"{place}=word"):
                    check_values(wrong, group)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("seed=-1", "seed=-1: input should be greater than or equal to 0"),
        ("bank.size=0", "bank.size=0: input should be greater than 0"),
        ("quality.size=x", "quality.size=x: input should be a valid integer"),
        ("blind.components=0", "blind.components=0: input should be greater than 0"),
        ("blind.folds=1", "blind.folds=1: input should be greater than or equal to 2"),
        ("blind.shuffles=3", "blind.shuffles=3: input should be greater than or equal to 20"),
        ("machine.checkpoint_every_s=-1", "checkpoint_every_s=-1: input should be greater than or"),
        ("split.members=1.5", "split.members=1.5: input should be a valid integer"),
        ("reference.count=1e3", "reference.count=1000.0: input should be a valid integer"),
        ("reference.count=0", "reference.count=0: input should be greater than 0"),
        ("attack.white_box.distance=x", "attack.white_box.distance=x: input should be an instance"),
        ("victim.learning_rate=0", "victim.learning_rate=0: input should be greater than 0"),
        ("victim.beta1=1", "victim.beta1=1: input should be less than 1"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_without_its_data(
    word: str, message: str, config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        open_request(config(word))
    assert not (tmp_path / "store").exists()
