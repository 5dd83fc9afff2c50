"""Dependencies point one way, and every config composes."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import CONF, names
from omegaconf import DictConfig, OmegaConf

ROOT = CONF.parent
MAY_IMPORT = {
    "attacks": {"attacks", *(f"victims.{own}" for own in ("access", "errors", "schema", "seeded"))},
    "victims": {"victims"},
    "benchmark": {"benchmark", "attacks", "victims"},
}


ROOMS = [
    "store",
    "config",
    "data",
    "measures",
    "models",
    "scores",
    "quality",
    "show",
    "job",
    "sweep",
    "report",
]
"""Rooms of `benchmark/`; each may import those before it. `audit` may import up to `show`."""


@cache
def tree_of(file: Path) -> ast.Module:
    """A file as it was parsed, once for all tests."""
    return ast.parse(file.read_text())


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree_of(file)):
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


def modules(file: Path) -> set[str]:
    """The files of this project that a file imports, by dotted name."""
    found = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inside if is_file(name)} or {node.module}
    return {name for name in found if is_file(name)}


def is_file(name: str) -> bool:
    return ROOT.joinpath(*name.split(".")).with_suffix(".py").exists()


def every_file() -> dict[str, Path]:
    files = [file for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}


@pytest.mark.parametrize("room", [*ROOMS, "audit"])
def test_rooms_know_those_before_them_only(room: str) -> None:
    before = ROOMS[: ROOMS.index("show" if room == "audit" else room) + 1]
    for file in (ROOT / "benchmark" / room).rglob("*.py"):
        rooms = {name.split(".")[1] for name in imports(file) if name.startswith("benchmark.")}
        assert rooms <= {*before, room}, f"{file}: {rooms}"


def test_no_file_imports_itself_by_way_of_others() -> None:
    files = every_file()
    graph = {name: modules(file) - {name} for name, file in files.items()}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(files)


def test_files_and_functions_are_short() -> None:
    for name, file in every_file().items():
        text = file.read_text()
        assert text.count("\n") <= 300, name
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 50, f"{name}: {node.name}"


DOORS = {
    *("__main__", "config.build", "config.machine"),
    *("job.filing", "job.request", "job.run", "sweep.compose", "sweep.hooks"),
    *("audit.__main__", "audit.again", "audit.many", "audit.request"),
}
"""Files of `benchmark/` that are given a config as Hydra composes it."""


def test_a_config_is_opened_at_the_doors_alone() -> None:
    """All other files are given what was made of it: objects, or plain settings."""
    for name, file in every_file().items():
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.arg) and node.annotation is not None:
                opens = "DictConfig" in ast.unparse(node.annotation)
                assert not opens or name.removeprefix("benchmark.") in DOORS, name


def groups() -> list[str]:
    skip = {"config", "machine", "sweep", "dp", "attack"}
    found = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in skip)
    return [f"{group}={name}" for group in found for name in names(group)]


@pytest.mark.parametrize("choice", [*groups(), f"attack=[{','.join(names('attack'))}]"])
def test_every_choice_composes_at_every_scale(
    config: Callable[..., DictConfig], choice: str
) -> None:
    composed = config(choice)
    for scale in names("scale"):
        composed.scale = OmegaConf.load(CONF / "scale" / f"{scale}.yaml")
        OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("scale", names("scale"))
def test_a_scale_changes_nothing_but_its_own_node(
    config: Callable[..., DictConfig], scale: str
) -> None:
    wanted, found = config(f"scale={scale}"), config()
    found.scale = OmegaConf.load(CONF / "scale" / f"{scale}.yaml")
    assert found == wanted


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_text_and_no_file_becomes_code(package: str) -> None:
    """No shell, no eval, no pickle but by the unpickler that admits arrays only."""
    forbidden = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads"}
    forbidden |= {"joblib.load", "pd.read_pickle", "yaml.load", "yaml.unsafe_load"}
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(tree_of(file)):
            if not isinstance(node, ast.Call):
                continue
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            place = f"{file}:{node.lineno}: {called(node)}"
            assert called(node) not in forbidden, place
            assert given.get("shell", "False") == "False", place
            assert given.get("allow_pickle", "False") == "False", place
            if called(node) == "torch.load":
                assert given.get("weights_only") == "True", place
