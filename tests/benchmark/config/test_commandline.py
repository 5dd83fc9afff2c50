"""How a command ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDING = """
import atexit, sys
from benchmark.config.commandline import and_end
atexit.register(print, "cleared away")
and_end(lambda: {ending})
"""


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("None", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('too late')", 1, "too late\n"),
    ],
)
def test_a_command_ends_with_its_code_and_clears_away(ending: str, code: int, said: str) -> None:
    words = [sys.executable, "-c", ENDING.format(ending=ending)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "cleared away\n", said)
