"""What one job found, and how its numbers are written down for a reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

UNTRAINED, REAL = "untrained", "real"
"""What a quality is set beside: the network before its first step, and held-out records."""

NO_ACCESS = "none"
"""Access of a row that never looks at the victim."""

SHARES = "exact copies", "near copies", "authenticity", "DCR share"
"""Measures of copies that are shares of records or samples."""

NEAR = 0.2
"""Calibrated distance up to which a sample is a near copy, see `benchmark.measures.copies`."""

OFTEN = 0.95
"""Share of sets of a size that must be detected for that size to suffice."""


@dataclass(frozen=True)
class Check:
    """Something that a reader must know before trusting a number.

    level: "error" = the numbers are not valid, "warning" = read them with care.
    """

    name: str
    level: Literal["warning", "error"]
    message: str


@dataclass(frozen=True)
class Strip:
    """Queries beside what a reconstruction attack found for them.

    queries, reconstructions: (m, c, h, w) in [-1, 1]. member: (m,) bool.
    losses: (m,) distance of each pair, smaller = closer.
    """

    queries: np.ndarray
    reconstructions: np.ndarray
    member: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class JobResult:
    """Everything that a job shows or writes.

    config: the resolved config. provenance: key, commit, versions, date, facts about the data.
    rows: one row per (attack, calibration), with the columns of `benchmark.measures.columns`.
        NaN = not resolvable, shown as n/a.
    scores: tidy; attack, calibrated, query (int), member (bool), score (float64); those of the
        blind baseline, which are not independent, are left out.
    comparisons: AUROC differences of every two rows, `benchmark.measures.pairs.COMPARISONS`.
    sets: accuracy on sets of records, `benchmark.measures.pairs.CURVES`.
    detection: how large a set must be to be detected, `dataset_inference.DETECTION`.
    copies: what samples show of members and of held-out records, `copies.COPIES`.
    closest: the records that samples come closest to beside these, losses are calibrated distances;
        None where records are no images, or are not to be shown.
    canaries: the one-run audit's rows, `benchmark.job.canaries.audit_canaries`; empty without one.
    samples: (n, c, h, w) in [-1, 1], None where the records are no images.
    family: which kind of model the victim is, `victims.base.Victim.family`.
    code: attack -> digest of its file when its scores were made, `benchmark.store.provenance.code`.
    quality: numbers by name, "NAME" of the samples, "NAME, untrained" and "NAME, real" beside it;
        and the victim's "parameters", "training seconds" and "seconds per step".
    """

    title: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    rows: pd.DataFrame
    scores: pd.DataFrame
    samples: np.ndarray | None = None
    strips: dict[str, Strip] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    comparisons: pd.DataFrame = field(default_factory=pd.DataFrame)
    sets: pd.DataFrame = field(default_factory=pd.DataFrame)
    detection: pd.DataFrame = field(default_factory=pd.DataFrame)
    copies: pd.DataFrame = field(default_factory=pd.DataFrame)
    closest: Strip | None = None
    canaries: pd.DataFrame = field(default_factory=pd.DataFrame)
    quality: dict[str, float] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    family: str = ""

    @property
    def measures(self) -> dict[str, tuple[float, float, float]]:
        """Measure of quality -> what samples, an untrained network and real records get."""
        numbers = self.quality
        names = [name for name in numbers if f"{name}, {UNTRAINED}" in numbers]
        return {
            name: (numbers[name], numbers[f"{name}, {UNTRAINED}"], numbers[f"{name}, {REAL}"])
            for name in names
        }

    @cached_property
    def ok(self) -> pd.DataFrame:
        """The rows that carry an attack's AUROC: all but the blind baseline's."""
        whole = (self.rows["status"] == "ok") & self.rows["auroc"].notna()
        return self.rows[whole & (self.rows["access"] != NO_ACCESS)]

    def scored(self) -> Iterator[tuple[pd.Series, np.ndarray, np.ndarray]]:
        """Yield (row, scores (n,), member (n,) bool) of the rows with an AUROC, best first."""
        groups = dict(list(self.scores.groupby(["attack", "calibrated"], sort=False)))
        for _, row in self.ok.sort_values("auroc", ascending=False, kind="stable").iterrows():
            group = groups.get((row["attack"], row["calibrated"]))
            if group is not None:
                yield row, group["score"].to_numpy(float), group["member"].to_numpy(bool)


def enough_records(detection: pd.DataFrame) -> dict[str, int | None]:
    """Access -> the smallest size of which OFTEN sets are detected; None where none is."""
    found: dict[str, int | None] = {}
    if detection.empty:
        return found
    for name, curve in detection.groupby("access", sort=False):
        sizes = curve.loc[curve["detected"] >= OFTEN, "size"]
        found[str(name)] = None if sizes.empty else int(sizes.min())
    return found
