"""A sweep of audits: all of them run, each has a line at the end, the exit code is the worst."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

OUTCOMES = ".outcomes"


def leave_note(code: int, line: str) -> None:
    """Leave what became of this audit where the sweep finds it, whichever process it runs in."""
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir) / OUTCOMES
    folder.mkdir(parents=True, exist_ok=True)
    words = " ".join(hydra.overrides.task)
    text = json.dumps({"words": words, "code": code, "line": line})
    (folder / f"{hydra.job.num}.json").write_text(text, encoding="utf-8")


class Hooks(Callback):
    """What Hydra calls around a sweep of audits."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print a line for each audit; end with the worst exit code, if any is not 0."""
        files = Path(config.hydra.sweep.dir, OUTCOMES).glob("*.json")
        found = [json.loads(file.read_text()) for file in sorted(files, key=lambda f: int(f.stem))]
        for number, outcome in enumerate(found):
            print(f"[{number}] {outcome['words']}: exit code {outcome['code']}: {outcome['line']}")
        worst = max((outcome["code"] for outcome in found), default=1)
        if worst:
            sys.stdout.flush()
            sys.exit(worst)
