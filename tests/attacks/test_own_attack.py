"""The attack that the README writes does what every attack must."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import CONF, Memoriser, digits
from omegaconf import DictConfig

import attacks
from attacks.base import Attack
from benchmark.config.build import build
from benchmark.measures import metrics
from victims.access import FullBlackBox

README = (CONF.parent / "attacks" / "README.md").read_text(encoding="utf-8")
NAME = "radius_count"
MEMBERS = digits(0, 40)


def attack() -> Attack:
    (text,) = re.findall(rf"^    {NAME}:\n(?:      .*\n)+", README, re.MULTILINE)
    return build(DictConfig(yaml.safe_load(text)[NAME]), NAME)


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written where its YAML says that it is."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / f"{NAME}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(attacks, "__path__", [*attacks.__path__, str(tmp_path)])


def scores(attack: Attack) -> tuple[np.ndarray, np.ndarray]:
    view = Memoriser(MEMBERS).grant(FullBlackBox)
    return attack.score(view, MEMBERS), attack.score(view, digits(1, 40))


def test_the_example_finds_the_members_of_a_memoriser() -> None:
    assert metrics.auroc(*scores(attack())) >= 0.95


def test_the_example_scores_each_query_by_itself() -> None:
    members, others = scores(attack())
    both = attack().score(
        Memoriser(MEMBERS).grant(FullBlackBox), torch.cat([digits(1, 40), MEMBERS]).flip(0)
    )
    np.testing.assert_array_equal(both, np.concatenate([others, members])[::-1])
