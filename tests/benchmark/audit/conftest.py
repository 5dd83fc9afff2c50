"""Small audits whose right answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import compose_once
import pytest
from omegaconf import DictConfig

from benchmark.audit import run as report
from benchmark.audit.request import open_request


@pytest.fixture
def audit_config(tmp_path: Path) -> Callable[..., DictConfig]:
    """The real audit config at smoke scale, with a store of its own."""

    def composed(*overrides: str) -> DictConfig:
        words = ["scale=smoke", "machine.progress=false", *overrides]
        config = compose_once.composed("audit", words)
        config.machine.store = f"{tmp_path}/store"
        return config

    return composed


@pytest.fixture
def audited(audit_config: Callable[..., DictConfig]) -> Callable[..., report.Audit]:
    """Run an audit of objects or paths."""

    def run(*overrides: str, **sources: Any) -> report.Audit:
        return report.run_audit(open_request(audit_config(*overrides), sources))

    return run
