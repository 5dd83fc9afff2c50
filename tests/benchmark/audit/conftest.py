"""Small audits whose right answers are known."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from benchmark.audit import run as report
from benchmark.audit.request import open_request


@pytest.fixture
def audit_config(tmp_path: Path) -> Callable[..., DictConfig]:
    """The real audit config at smoke scale, with a store of its own."""

    def composed(*overrides: str) -> DictConfig:
        config = copy.deepcopy(_composed(overrides))
        config.machine.store = f"{tmp_path}/store"
        return config

    return composed


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("audit", ["scale=smoke", "machine.progress=false", *overrides])


@pytest.fixture
def audited(audit_config: Callable[..., DictConfig]) -> Callable[..., report.Audit]:
    """Run an audit of objects or paths."""

    def run(*overrides: str, **sources: Any) -> report.Audit:
        return report.run_audit(open_request(audit_config(*overrides), sources))

    return run
