"""What one job found, and how its numbers are written down for a reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml

TPR_COLUMNS = {"tpr_at_10": "TPR@10%", "tpr_at_1": "TPR@1%", "tpr_at_0p1": "TPR@0.1%"}
"""Column of `JobResult.rows` -> heading: true positive rate at a false positive rate."""

UNTRAINED, REAL = "untrained", "real"
"""What a quality is set beside: the network before its first step, and held-out records."""

NO_ACCESS = "none"
"""Access of a row that never looks at the victim."""


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
    rows: one row per (attack, calibration); columns attack, access, calibrated ("none" or the
        calibration's name), auroc, auroc_low, auroc_high, average_precision, balanced_accuracy,
        advantage, the TPR_COLUMNS each with `_low` and `_high`, n_members, n_non_members, seconds,
        evaluations (how often the attack may ask a network for each query; NaN without a budget),
        warnings, status ("ok", or why there is no number: "no access", ...), best (whether it is
        the best AUROC or not significantly worse); epsilon, delta, sigma, clipping_norm of the
        victim's private training (without it infinite, the others NaN) and epsilon_lower, what the
        row's scores show epsilon to be at least; auroc_reference and tpr_at_1_reference of rows
        without calibration, `benchmark.table.on_references`. NaN = not resolvable, shown as n/a.
    scores: tidy; attack, calibrated, query (int), member (bool), score (float64); those of the
        blind baseline, which are not independent, are left out.
    comparisons: AUROC differences of every two rows, `benchmark.judging.COMPARISONS`.
    sets: accuracy on sets of records, `benchmark.judging.CURVES`.
    canaries: the one-run audit's rows, `benchmark.canaries.audit`; empty without one.
    samples: (n, c, h, w) in [-1, 1], None where the records are no images.
    family: which kind of model the victim is, `victims.base.Victim.family`.
    code: attack -> digest of its file when its scores were made, `benchmark.provenance.code`.
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


def name(row: pd.Series) -> str:
    """Name of a row for a legend: the attack, and its calibration if it has one."""
    attack = str(row["attack"]).replace("_", " ")
    return attack if row["calibrated"] == "none" else f"{attack} + {row['calibrated']}"


def access(row: pd.Series) -> str:
    """What a row's attacker has, and its budget: partial black box, 600 evaluations."""
    words, asked = str(row["access"]).replace("_", " "), row.get("evaluations", np.nan)
    return words if pd.isna(asked) else f"{words}, {asked:.0f} evaluations"


def number(value: float, digits: int = 3) -> str:
    """A number with fixed digits; NaN is n/a."""
    return "n/a" if pd.isna(value) else f"{value:.{digits}f}"


def count(n: int, things: str) -> str:
    """3 seeds, 1 seed; 2 families, 1 family."""
    one = f"{things[:-3]}y" if things.endswith("ies") else things.removesuffix("s")
    return f"{n} {one if n == 1 else things}"


def p_value(value: float) -> str:
    """A p-value for a reader: 0.032, or < 0.001."""
    return "< 0.001" if value < 0.001 else number(value)


def brief(value: float) -> str:
    """A number of any size with three digits; NaN is n/a."""
    return "n/a" if pd.isna(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def percent(value: float) -> str:
    """A rate in percent; NaN is n/a."""
    return "n/a" if pd.isna(value) else f"{100 * value:.1f}%"


def interval(row: pd.Series) -> str:
    """AUROC with its 95% interval, or n/a."""
    if pd.isna(row["auroc"]):
        return "n/a"
    return f"{row['auroc']:.3f} [{number(row['auroc_low'])}, {number(row['auroc_high'])}]"


def mark(row: pd.Series) -> str:
    """A star for the best AUROC and for every row that is not significantly worse."""
    return "*" if bool(row.get("best", False)) else ""


MARKED = (
    "* the best AUROC, or not significantly worse: DeLong's paired test on the same queries, "
    "Holm-corrected over all pairs, 5%"
)


def privacy(row: pd.Series) -> list[str] | None:
    """Epsilon as promised, as measured at least, and how it is kept; None for rows without."""
    if pd.isna(row.get("epsilon", np.nan)):
        return None
    measured = "" if pd.isna(row["epsilon_lower"]) else f"≥ {row['epsilon_lower']:.2f} measured"
    if np.isinf(row["epsilon"]):
        return ["∞", measured, ""]
    how = f"δ = {row['delta']:.2g}, σ = {row['sigma']:.3g}, C = {row['clipping_norm']:.3g}"
    return [f"{row['epsilon']:.3g}", measured, how]


def planted(canaries: pd.DataFrame) -> pd.DataFrame:
    """The one-run audit as a table of texts."""
    texts = {
        "attack": canaries["attack"].str.replace("_", " "),
        "canaries": [f"{row.inside} of {row.canaries} inside" for row in canaries.itertuples()],
        "ε at least": canaries["epsilon_lower"].map("{:.2f}".format),
        "ε promised": canaries["epsilon"].map(lambda x: "∞" if np.isinf(x) else f"{x:.3g}"),
    }
    return pd.DataFrame(texts)


def duration(seconds: float) -> str:
    """Seconds for a reader: 0.42 s, 3.1 s, 51 s, 12 min, 1.5 h; NaN is n/a."""
    if pd.isna(seconds):
        return "n/a"
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.{int(seconds < 10)}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def made(result: JobResult) -> str:
    """What it took to make the victim: its size and its training time."""
    count = f"{result.quality['parameters']:,.0f}".replace(",", " ")
    return f"{count} parameters, trained in {duration(result.quality['training seconds'])}"


def better(row: pd.Series) -> bool:
    """Whether the attack is better than guessing: its whole 95% interval is above 0.5."""
    return not pd.isna(row["auroc_low"]) and bool(row["auroc_low"] > 0.5)


def remarks(row: pd.Series) -> list[str]:
    """What a reader must know beside a row's numbers: its status unless ok, and its warnings."""
    status = [] if row["status"] == "ok" else [str(row["status"])]
    warnings = row["warnings"]
    return status + ([str(warnings)] if isinstance(warnings, str) and warnings.strip() else [])


def to_yaml(tree: dict[str, Any]) -> str:
    """A config or provenance as YAML; a value that YAML has no type for is written as its text."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_multi_representer(np.generic, lambda dumper, x: dumper.represent_data(x.item()))
_Dumper.add_multi_representer(object, lambda dumper, x: dumper.represent_str(str(x)))
