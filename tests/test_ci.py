"""What CI does, with a `make` that only notes what it was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

CI = Path(__file__).parents[1] / ".ci" / "run"
MAKE = """#!/bin/sh
echo "$1 is run"
[ "$1 $FAILS" != "install " ] || {python} -m pip install --quiet --no-index --target packages *.whl
[ "$1" != "$FAILS" ]
"""
NAME = "alone-1.0"


def run_ci(folder: Path, fails: str) -> subprocess.CompletedProcess[str]:
    """CI in a folder of its own, where this target fails."""
    programs = folder / "bin"
    for path in (programs, folder / ".ci"):
        path.mkdir()
    (folder / ".ci" / "run").write_text(CI.read_text())
    with ZipFile(folder / f"{NAME}-py3-none-any.whl", "w") as wheel:
        about = f"{NAME}.dist-info"
        wheel.writestr("alone.py", "")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: alone\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    made = {"make": MAKE.format(python=sys.executable)}
    for name in ("make", "dpkg", "chromium", "apt-get"):
        (programs / name).write_text(made.get(name, "#!/bin/sh\n"))
        (programs / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "FAILS": fails}
    words = ["bash", folder / ".ci" / "run"]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("fails", ["", "lint", "test", "slow"])
def test_ci_fails_where_a_target_does_and_tells_of_style_beside_tests(
    tmp_path: Path, fails: str
) -> None:
    done = run_ci(tmp_path, fails)
    assert (done.returncode == 0) == (not fails), done.stderr
    assert {"test is run", "lint is run"} <= {*done.stdout.splitlines()}
    assert ("slow is run" in done.stdout) == (fails not in ("lint", "test"))
    assert (tmp_path / "packages" / "alone.py").exists() == (not fails)  # pip takes seconds
    assert not list(tmp_path.glob("packages/**/*.pyc"))
