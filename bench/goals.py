"""One line for each thing that is measured: work, peer, ratio, goal, met or not.

    python bench/goals.py results/bench.csv     # prints the table that `make bench` wrote

Scripts of this folder call `note`. Where the variable BENCH names a CSV file, it gains a row with
machine and versions; a row of the same work and peer is replaced.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import pandas as pd

COLUMNS = ["work", "peer", "ratio", "goal", "met"]
PACKAGES = "torch", "numpy", "scipy", "scikit-learn"


def note(work: str, peer: str, ratios: float | Sequence[float], goal: str) -> None:
    """Print one comparison, and keep it where BENCH says.

    ratios: of the work to its peer, one for each repeat. goal: `<= 0.6` or `>= 0.95`, for their
    median; one without a sign is a remark.
    """
    every = [ratios] if isinstance(ratios, int | float) else [*ratios]
    ratio = median(every)
    sign, _, limit = goal.partition(" ")
    met = {"<=": "yes" if ratio <= float(limit or 0) else "NO"} if sign == "<=" else {}
    met |= {">=": "yes" if ratio >= float(limit or 0) else "NO"} if sign == ">=" else {}
    row = dict(zip(COLUMNS, [work, peer, f"{ratio:.3g}", goal, met.get(sign, "")], strict=True))
    row["range"] = f"{min(every):.3g} to {max(every):.3g}" if len(every) > 1 else ""
    print(" | ".join(filter(None, [*row.values()])), flush=True)
    if path := os.environ.get("BENCH"):
        _keep(Path(path), row | _machine())


def _machine() -> dict[str, str]:
    """When and where it was measured, how busy the machine was, and with what."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    return {
        "load": f"{load:.1f} on {cores} cores",
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "machine": f"{platform.machine()}, {_processor()}",
        "versions": " ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _keep(path: Path, row: dict[str, str]) -> None:
    own = pd.DataFrame([row])
    if path.exists():
        before = pd.read_csv(path, dtype=str, keep_default_na=False)
        same = (before["work"] == row["work"]) & (before["peer"] == row["peer"])
        own = pd.concat([before[~same], own], ignore_index=True)
    own.to_csv(path, index=False)


if __name__ == "__main__":
    table = pd.read_csv(sys.argv[1], dtype=str, keep_default_na=False)
    print(table[[*COLUMNS, "range"]].to_string(index=False))
