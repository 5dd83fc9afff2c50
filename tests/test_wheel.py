"""The package as it is installed: what it holds, and that it runs away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import CONF

ROOT = CONF.parent
SMALL = ["scale=smoke", "logger=none", "machine.progress=false", "machine.store=store"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*pip, "--wheel-dir", str(place), str(source)], check=True)
    return next(place.glob("*.whl"))


@pytest.mark.slow
def test_an_installed_package_runs_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    package, away = tmp_path / "package", tmp_path / "away"
    away.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(package)
    inside = {path.relative_to(package / "benchmark" / "conf") for path in package.rglob("*.yaml")}
    assert inside == {path.relative_to(CONF) for path in CONF.rglob("*.yaml")}

    def run(module: str, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=away,
            env={**os.environ, "PYTHONPATH": str(package)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import benchmark; print(benchmark.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where],
        cwd=away,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(package)
    assert "full black box" in run("benchmark", *SMALL, "distance=l2", "quality=none")
    rows = ["x,y", *(f"{i * 37 % 101 / 7:.4f},{i % 13}.{i:03d}" for i in range(400))]
    for name, part in {"a": rows[1:101], "b": rows[101:201], "s": rows[201:]}.items():
        (away / f"{name}.csv").write_text("\n".join([rows[0], *part]) + "\n")
    words = ["members=a.csv", "non_members=b.csv", "samples=s.csv", "machine.store=store"]
    assert "verdict and scores" in run("benchmark.audit", *words)
    run("benchmark.report", "+sweep=taxonomy", *SMALL, "--out", "report")
    assert (away / "report" / "index.html").exists()
