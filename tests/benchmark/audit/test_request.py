"""What an audit asks for: opened once, refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import CONF
from omegaconf import DictConfig, OmegaConf

from benchmark.audit.request import open_request
from benchmark.store.keys import plain
from victims.errors import UserError

Config = Callable[..., DictConfig]
GIVEN = dict.fromkeys(("members", "non_members", "samples"), "nowhere.csv")
MAY_HOLD_CONFIGS = {"__main__.py", "again.py", "many.py", "request.py", "run.py"}


def test_a_config_is_opened_in_one_place() -> None:
    folder = CONF.parent / "benchmark" / "audit"
    holding = {file for file in folder.rglob("*.py") if "DictConfig" in file.read_text()}
    assert {str(file.relative_to(folder)) for file in holding} <= MAY_HOLD_CONFIGS
    run = (folder / "run.py").read_text().partition("def run_audit")[2]
    assert "DictConfig" not in run  # below composing


QUANTILE = {"quantile": {"_target_": "attacks.calibration.quantile.Quantile", "alpha": 0.05}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds.typo": {"value": 0.5, "source": "me"}}, "thresholds.typo: allowed are conf"),
        ({"thresholds.few": 0.5}, "thresholds.few: 0.5; needed are a value in"),
        ({"thresholds.few": None}, "thresholds.few: None; needed are a value in"),
        ({"machine.renew": ["pia"]}, "an audit renews nothing"),
        ({"searched": 0}, "searched=0"),
        ({"attack": {}}, "no attack is selected"),
        ({"generator.z": 3}, "generator.z has no effect"),
        ({"calibration": QUANTILE}, "calibration=quantile: it calibrates attacks of jobs"),
    ],
)
def test_settings_are_refused_before_anything_is_read(
    audit_config: Config, change: dict[str, object], message: str
) -> None:
    config = OmegaConf.create(plain(audit_config()))
    for name, value in change.items():
        OmegaConf.update(config, name, value, merge=False)
    with pytest.raises(UserError, match=message):
        open_request(config, GIVEN)


def test_thresholds_and_limits_are_those_of_the_config(audit_config: Config) -> None:
    config = audit_config("fail_if.copies=2", "thresholds.few.value=0.3")
    request = open_request(config, GIVEN)
    assert asdict(request.thresholds) == plain(config.thresholds)
    assert request.thresholds.few.value == 0.3
    assert request.limits == plain(config.fail_if)
    assert request.budget is None  # no training function is given


def test_suspects_stand_for_members(audit_config: Config, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.touch()
    given = {"suspects": str(file), "unseen": "b.csv", "samples": "c.csv", "members": None}
    request = open_request(audit_config(), given)
    assert request.asks_about_set
    assert request.sources == {"members": str(file), "non_members": "b.csv", "samples": "c.csv"}
    assert request.named_settings["given"]["suspects"] == "a.csv"
    assert request.repeatable_settings["given"]["suspects"] == str(file)
    assert request.named_settings["given"]["members"] is None
    assert not open_request(audit_config(), GIVEN).asks_about_set
