"""How a command ends."""

from __future__ import annotations

import shlex
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
        ("sys.exit('')", 1, "\n"),
    ],
)
def test_a_command_ends_with_its_code_and_clears_away(ending: str, code: int, said: str) -> None:
    words = [sys.executable, "-c", ENDING.format(ending=ending)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "cleared away\n", said)


def test_a_command_ends_with_its_code_where_nothing_can_be_printed() -> None:
    python = shlex.join([sys.executable, "-c", ENDING.format(ending="sys.exit(3)")])
    assert subprocess.run(["sh", "-c", f"{python} >&- 2>&-"]).returncode == 3


def test_a_command_waits_for_what_a_thread_still_writes() -> None:
    """Such as one that a user's own generator has started."""
    thread = "threading.Thread(target=lambda: (time.sleep(0.2), print('written'))).start()"
    words = [sys.executable, "-c", f"import threading, time\n{ENDING.format(ending=thread)}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "written\ncleared away\n")
