"""Hand-made stores: jobs of real sweeps whose results have scores with a known AUROC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hydra.utils import get_class
from omegaconf import DictConfig

from benchmark.job.record import Record
from benchmark.measures import columns as table
from benchmark.measures import metrics, pairs
from benchmark.measures.columns import summarise_scores
from benchmark.measures.result import Check, JobResult, Strip
from benchmark.report.collect import DONE, Outcome, Study
from benchmark.store.keys import plain
from benchmark.sweep.compose import Job

N = 40
"""Members, and as many non-members."""

ACCESS = {
    "full_black_box": "full_black_box",
    "partial_black_box": "partial_black_box",
    "white_box": "white_box",
    "discriminator": "accessible_discriminator",
    "encoder": "accessible_encoder",
    "pia": "accessible_denoiser",
    "denoising_loss": "accessible_denoiser",
    "gsa": "weight_gradients_with_shadows",
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
    scores = {row: None if at is None else known_scores(at) for row, at in shifts.items()}
    return result_of(job, scores, np.arange(2 * N) < N, **numbers)


_PLAIN: dict[int, tuple[DictConfig, dict[str, Any]]] = {}


def _plain(config: DictConfig) -> dict[str, Any]:
    """A job's config resolved, once: simulations make hundreds of results of one job."""
    if id(config) not in _PLAIN:
        _PLAIN[id(config)] = config, plain(config)
    return _PLAIN[id(config)][1]


def auroc_alone(members: np.ndarray, non_members: np.ndarray) -> dict[str, float]:
    """What many simulations need of `summarise_scores`, in a tenth of the time."""
    low, high = metrics.auroc_interval(members, non_members)
    return {"auroc": metrics.auroc(members, non_members), "auroc_low": low, "auroc_high": high}


@cache
def _numbers_of(
    summarise: Callable[..., dict[str, float]], values: bytes, member: bytes, columns: Any
) -> dict[str, float]:
    """A row's numbers; most jobs of a hand-made store have the same few scores.

    columns: of the table, as they are now.
    """
    scores, is_member = np.frombuffer(values), np.frombuffer(member, bool)
    return summarise(scores[is_member], scores[~is_member])


def result_of(
    job: Job,
    scores: Mapping[tuple[str, str], np.ndarray | None],
    member: np.ndarray,
    columns: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    compared: bool = True,
    summarise: Callable[..., dict[str, float]] = summarise_scores,
    **numbers: float,
) -> JobResult:
    """A result with these scores (n,) of each attack and calibration; member (n,) bool.

    columns: more columns of some rows. compared: whether it has differences of AUROCs. summarise: what gives a row's
    numbers. numbers: of the victim's quality.
    """
    rows, frames = [], []
    for (attack, calibrated), values in scores.items():
        row = {"attack": attack, "access": ACCESS[attack], "calibrated": calibrated}
        row |= {"warnings": "", "seconds": 1.0, "status": "no access"}
        if values is not None:
            numbers_of_scores = _numbers_of(
                summarise,
                np.asarray(values, float).tobytes(),
                member.tobytes(),
                table.COLUMNS,
            )
            row |= {"status": "ok", "epsilon": np.inf} | numbers_of_scores
            queries = {"query": np.arange(len(member)), "member": member, "score": values}
            names = {"attack": attack, "calibrated": calibrated}
            frames.append(pd.DataFrame(names | queries))
        rows.append(row | dict((columns or {}).get((attack, calibrated), {})))
    tidy = pd.concat(frames, ignore_index=True)
    images = np.tile(np.linspace(-1, 1, 8, dtype=np.float32), (2, 1, 8, 1))
    strip = Strip(images, images, np.array([True, False]), np.array([0.1, 0.2]))
    return JobResult(
        title=f"{job.choices['victim']} <script>alert(1)</script>, seed {job.config.seed}",
        config=_plain(job.config),
        provenance={"victim key": "0" * 64},
        rows=pd.DataFrame(rows),
        scores=tidy,
        comparisons=pairs.compare_rows(tidy) if compared else pd.DataFrame(),
        samples=images,
        strips={"white_box": strip},
        checks=[Check("few queries", "warning", "only <40> members & non-members")],
        family=get_class(job.config.victim._target_).family,
        **({"quality": dict(numbers)} if numbers else {}),
    )


def study_of(jobs: Sequence[Job], result: Callable[[Job], JobResult], name: str) -> Study:
    """A study of results that no store holds."""
    outcomes = (Outcome(job, DONE, Record(result(job), Path())) for job in jobs)
    about = jobs[0].config.study
    return Study(
        name,
        name,
        about.get("x"),
        (),
        tuple(outcomes),
        axis=about.get("axis", ""),
        absent=about.get("absent", "-"),
    )
