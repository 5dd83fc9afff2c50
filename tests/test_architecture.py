"""Dependencies point one way, and every config composes."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONF, names
from omegaconf import DictConfig, OmegaConf

ROOT = CONF.parent
MAY_IMPORT = {
    "attacks": {"attacks", "victims.access"},
    "victims": {"victims"},
    "benchmark": {"benchmark", "attacks", "victims"},
}


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_dependencies_point_one_way(package: str) -> None:
    ours = tuple(MAY_IMPORT)
    for file in (ROOT / package).rglob("*.py"):
        for module in imports(file):
            if module.split(".")[0] in ours:
                allowed = MAY_IMPORT[package]
                assert module in allowed or module.split(".")[0] in allowed, f"{file}: {module}"


def groups() -> list[str]:
    skip = {"config", "machine", "sweep", "dp", "attack"}
    found = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in skip)
    return [f"{group}={name}" for group in found for name in names(group)]


@pytest.mark.parametrize("choice", [*groups(), *(f"attack=[{name}]" for name in names("attack"))])
@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_every_choice_composes_at_every_scale(
    config: Callable[..., DictConfig], choice: str, scale: str
) -> None:
    composed = config(choice, f"scale={scale}")
    OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
