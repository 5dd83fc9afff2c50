"""From scores to a verdict: thresholds with their sources, plain words, and limits for CI.

All statements of a verdict hold together with the chosen confidence: with k rows in the table, 2k
statements are made (AUROC and records found, each), so each is made at 1 - (1 - confidence) / 2k
(Bonferroni). Picking the strongest of several attacks would otherwise find a leak by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf
from pydantic import NonNegativeInt, PositiveInt

from benchmark import metrics, rates
from benchmark.checks import FAILED_ATTACK, Check
from benchmark.config import check
from benchmark.keys import plain
from benchmark.result import JobResult, name
from victims.access import UserError

WORDS = ("leak", "no leak found", "inconclusive", "invalid")
LIMITS = ("auroc_lower", "auroc_upper", "found_upper")


@dataclass(frozen=True)
class Evidence:
    """What one row of the table proves; low and high at the simultaneous level.

    found: share of the members found at the false alarm rate, NaN where it is not resolved; its
    interval is about that rate among all non-members there could be, not among the given ones;
    p_found: of the hypothesis that this is guessing.
    """

    attack: str
    calibrated: str
    access: str
    auroc: float
    low: float
    high: float
    found: float
    found_low: float
    found_high: float
    p_found: float
    members: int

    @property
    def name(self) -> str:
        """The attack, and its calibration if it has one."""
        return name(pd.Series({"attack": self.attack, "calibrated": self.calibrated}))


@dataclass(frozen=True)
class Verdict:
    """word: one of WORDS; "invalid" also where no leak is proven but an attack is surely worse than
    guessing: then the groups are swapped, or differ by something else. strongest: by the AUROC's
    lower end; sharpest: by records found.

    proven, unproven: kinds of access with and without a proven leak. upper: no attack's AUROC is
    higher. level: of each statement. exceeded: limits of fail_if that were exceeded, with what was
    found. doubtful: members and non-members differ by themselves. failed: an attack that was
    planned failed, so that no leak is ruled out; what the others found stands.
    """

    word: str
    strongest: Evidence
    sharpest: Evidence
    proven: list[str]
    unproven: list[str]
    upper: float
    found_upper: float
    level: float
    exceeded: dict[str, str]
    thresholds: dict[str, dict[str, Any]]
    limits: dict[str, float | None]
    doubtful: bool = False
    failed: bool = False

    @property
    def exit_code(self) -> int:
        """3 where a limit is exceeded, else 0."""
        return 3 if self.exceeded else 0


SETTINGS: dict[str, Any] = {
    "seed": NonNegativeInt,
    "searched": PositiveInt,
    "exposed": PositiveInt,
    "bank.size": PositiveInt,
    "show_records": bool,
    "records.ignore": str | int | list[Any],
    "records.categorical": str | int | list[Any],
    "records.missing": str | int | list[Any],
    "records.channels": Literal[1, 3] | None,
}
"""What settings must be that no constructor takes."""


def check_settings(config: DictConfig) -> None:
    """Raise UserError for settings that make no sense, before any work."""
    for setting, wanted in SETTINGS.items():
        check(setting, OmegaConf.select(config, setting), wanted)
    if config.machine.renew:
        renew, store = config.machine.renew, config.machine.store
        raise UserError(f"machine.renew={renew}: an audit renews nothing; delete {store}")
    for title, threshold in plain(config.thresholds).items():
        value = threshold["value"] if isinstance(threshold, Mapping) else None
        if not isinstance(value, int | float) or not 0 < value < 1:
            raise UserError(
                f"thresholds.{title}: {threshold}; needed are a value in (0, 1) and its source"
            )
        if not str(threshold.get("source") or "").strip():
            raise UserError(f"thresholds.{title}.source: a threshold needs a source")
    for title, value in plain(config.fail_if).items():
        if title not in LIMITS:
            raise UserError(f"fail_if.{title}: allowed are {', '.join(LIMITS)}")
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise UserError(f"fail_if.{title}={value}: allowed are null and numbers in [0, 1]")


def judge(result: JobResult, checks: list[Check], config: DictConfig) -> Verdict:
    """The verdict on a table of attacks; all thresholds come from the config."""
    thresholds, limits = plain(config.thresholds), plain(config.fail_if)
    values = {title: threshold["value"] for title, threshold in thresholds.items()}
    rows = list(result.scored())
    level = 1 - (1 - values["confidence"]) / (2 * len(rows))
    found = [_evidence(*row, values["false_alarms"], level) for row in rows]
    strongest = max(found, key=lambda e: e.low)
    resolved = [e for e in found if not np.isnan(e.found)]
    sharpest = min(resolved, key=lambda e: (e.p_found, -e.found)) if resolved else strongest
    upper = max(e.high for e in found)
    found_upper = max((e.found_high for e in resolved), default=np.nan)
    proven = list(dict.fromkeys(e.access for e in found if e.low > 0.5 or e.p_found < 1 - level))
    unproven = list(dict.fromkeys(e.access for e in found if e.access not in proven))
    failed = any(check.name == FAILED_ATTACK for check in checks)
    if any(check.level == "error" for check in checks):
        word = "invalid"
    elif proven:
        word = "leak"
    elif any(e.high < 0.5 for e in found):
        word = "invalid"
    else:
        word = "no leak found" if upper <= values["small"] and not failed else "inconclusive"
    measured = {
        "auroc_lower": strongest.low,
        "auroc_upper": upper,
        "found_upper": found_upper,
    }
    exceeded = _exceeded(limits, measured, word, failed)
    return Verdict(
        word=word,
        strongest=strongest,
        sharpest=sharpest,
        proven=proven,
        unproven=unproven,
        upper=upper,
        found_upper=found_upper,
        level=level,
        exceeded=exceeded,
        thresholds=thresholds,
        limits=limits,
        doubtful=any(check.name == "split leaks" for check in checks),
        failed=failed,
    )


def _evidence(
    row: pd.Series, scores: np.ndarray, member: np.ndarray, fpr: float, level: float
) -> Evidence:
    x, y = scores[member], scores[~member]
    low, high = metrics.auroc_interval(x, y, level)
    found_low, found_high = rates.tpr_interval(x, y, fpr, level)
    return Evidence(
        attack=str(row["attack"]),
        calibrated=str(row["calibrated"]),
        access=str(row["access"]),
        auroc=float(row["auroc"]),
        low=low,
        high=high,
        found=rates.tpr_at_fpr(x, y, fpr).tpr,
        found_low=found_low,
        found_high=found_high,
        p_found=rates.found_p_value(x, y, fpr),
        members=len(x),
    )


def _exceeded(
    limits: Mapping[str, float | None], measured: Mapping[str, float], word: str, failed: bool
) -> dict[str, str]:
    """Limits that are exceeded, or cannot be judged: what cannot be ruled out fails."""
    texts = {}
    for title, limit in limits.items():
        if limit is None:
            continue
        value = measured[title]
        if word == "invalid":
            texts[title] = "the numbers are not valid"
        elif failed and title.endswith("_upper"):
            texts[title] = "an attack failed, so nothing is ruled out"
        elif np.isnan(value):
            texts[title] = "too few non-members to resolve it"
        elif value > limit:
            texts[title] = f"{value:.3f} is above {limit:g}"
    return texts
