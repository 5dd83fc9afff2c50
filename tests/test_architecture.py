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


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_text_and_no_file_becomes_code(package: str) -> None:
    """No shell, no eval, no pickle but by the unpickler that admits arrays only."""
    forbidden = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads"}
    forbidden |= {"joblib.load", "pd.read_pickle", "yaml.load", "yaml.unsafe_load"}
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            place = f"{file}:{node.lineno}: {called(node)}"
            assert called(node) not in forbidden, place
            assert given.get("shell", "False") == "False", place
            assert given.get("allow_pickle", "False") == "False", place
            if called(node) == "torch.load":
                assert given.get("weights_only") == "True", place
