"""Hand-made stores: jobs of real sweeps whose results have scores with a known AUROC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmark import judging, metrics
from benchmark.keys import plain
from benchmark.result import Check, JobResult, Strip
from benchmark.sweep import Job

N = 40
"""Members, and as many non-members."""

ACCESS = {
    "full_black_box": "full_black_box",
    "partial_black_box": "partial_black_box",
    "white_box": "white_box",
    "discriminator": "accessible_discriminator",
    "encoder": "accessible_encoder",
}

Shifts = Mapping[tuple[str, str], int | None]
"""(attack, calibration) -> by how many ranks members score higher, None = no access."""


def known_auroc(shift: int) -> float:
    """Closed form for `known_scores`: member i beats the non-members 0 ... i + shift."""
    return sum(min(N, max(0, i + shift + 1)) for i in range(N)) / N**2


def known_scores(shift: int) -> np.ndarray:
    """Scores (2N,), members first: member i has i + shift + 1/2, non-member j has j."""
    return np.concatenate([np.arange(N) + shift + 0.5, np.arange(N)])


def known_result(job: Job, shifts: Shifts, **numbers: float) -> JobResult:
    """A result with the AUROCs that follow from `shifts`."""
    member = np.arange(2 * N) < N
    rows: list[dict[str, Any]] = []
    scores = []
    for (attack, calibrated), shift in shifts.items():
        row = {"attack": attack, "access": ACCESS[attack], "calibrated": calibrated}
        row |= {"warnings": "", "seconds": 1.0}
        if shift is None:
            rows.append(row | {"status": "no access"})
            continue
        values = known_scores(shift)
        summary = metrics.summary(values[member], values[~member])
        rows.append(row | {"status": "ok", "epsilon": np.inf} | summary)
        columns = {"query": np.arange(2 * N), "member": member, "score": values}
        scores.append(pd.DataFrame({"attack": attack, "calibrated": calibrated} | columns))
    all_scores = pd.concat(scores, ignore_index=True)
    images = np.tile(np.linspace(-1, 1, 8, dtype=np.float32), (2, 1, 8, 1))
    strip = Strip(images, images, np.array([True, False]), np.array([0.1, 0.2]))
    return JobResult(
        title=f"{job.choices['victim']} <script>alert(1)</script>, seed {job.config.seed}",
        config=plain(job.config),
        provenance={"victim key": "0" * 64},
        rows=pd.DataFrame(rows),
        scores=all_scores,
        comparisons=judging.compare(all_scores),
        samples=images,
        strips={"white_box": strip},
        checks=[Check("few queries", "warning", "only <40> members & non-members")],
        **({"quality": dict(numbers)} if numbers else {}),
    )
