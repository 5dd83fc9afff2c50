"""From scores to a verdict: thresholds with their sources, and limits for CI.

All statements of a verdict hold together with the chosen confidence: with s statements (see
`evidence`; four more about copies, one about cells, two about each record of `worst`), each is at
1 - (1 - confidence) / s (Bonferroni). Picking the strongest of several attacks would otherwise find
a leak by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.audit.cells import Cells
from benchmark.audit.copies import Copies
from benchmark.audit.evidence import Evidence, evidence_of
from benchmark.audit.limits import limits_exceeded
from benchmark.audit.request import Request, Thresholds
from benchmark.audit.worst import NONE, Worst
from benchmark.measures.checks import FAILED_ATTACK, SPLIT_LEAKS, Check
from benchmark.measures.copies import proven_excess
from benchmark.measures.result import JobResult

WORDS = ("leak", "no leak found", "inconclusive", "invalid")


@dataclass(frozen=True)
class Verdict:
    """word: one of WORDS. An attack that is surely worse than guessing proves a leak too, since
    attackers turn signs; it makes the verdict "invalid" only where nothing else is proven and
    nobody looked whether members and non-members differ by themselves. Where they do, the verdict
    is "invalid" unless something stands that their difference cannot make: copies that are no
    accident, or recognised records. No AUROC is: nothing bounds what a difference allows.

    strongest: by the AUROC's end next to 0.5, the sign turned where that helps; sharpest: by
    records found; first: by members that score above every non-member. proven, unproven: kinds of
    access with and without a proven leak. copied: members that were released word for word, where
    neither chance nor what non-members show explains it; unclear: those that look like no accident
    without a proof, so that "no leak found" is not said; nearly: members that samples come that
    near (`measures.result.NEAR`), less those that non-members let expect, 0 where that proves
    nothing; spared: members are copied less often than non-members. upper: no attack's AUROC is
    higher, with either sign. found_upper: no attack finds more at the false alarm rate, NaN where
    that is not resolved. level: of each statement; statements: how many there are. exceeded: limits
    of fail_if that were exceeded, with what was found. doubtful: members and non-members differ by
    themselves. failed: an attack that was planned failed, so that no leak is ruled out; what the
    others found stands. recognised: single records whose presence is told better than by guessing.
    repeated: columns of which the release repeats cells of members, in words.
    """

    word: str
    strongest: Evidence
    sharpest: Evidence
    first: Evidence
    proven: list[str]
    unproven: list[str]
    copied: int
    unclear: int
    nearly: int
    spared: bool
    upper: float
    found_upper: float
    level: float
    statements: int
    exceeded: dict[str, str]
    thresholds: Thresholds
    limits: dict[str, float | None]
    doubtful: bool = False
    failed: bool = False
    recognised: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """3 where a limit is exceeded, else 0."""
        return 3 if self.exceeded else 0


def judge_audit(
    result: JobResult,
    checks: list[Check],
    request: Request,
    copies: Copies,
    worst: Worst = NONE,
    cells: Sequence[Cells] = (),
) -> Verdict:
    """The verdict on a table of attacks; all thresholds come from the request."""
    thresholds, confidence = request.thresholds, request.thresholds.confidence.value
    others = (3 if copies.released else 0) + (not result.copies.empty) + worst.statements
    others += bool(cells)
    found = evidence_of(result, confidence, thresholds.false_alarms.value, others)
    level = found[0].level
    doubtful, failed = (any(c.name == own for c in checks) for own in (SPLIT_LEAKS, FAILED_ATTACK))
    copied = _judge_copies(copies, result.copies, level, doubtful, found)
    resolved = [e for e in found if not np.isnan(e.found)]
    upper = max(e.upper for e in found)
    found_upper = max((e.found_high for e in resolved), default=np.nan)
    turns = request.blind is not None and not doubtful  # else the groups may differ by themselves
    proven = [] if doubtful else _proven_accesses(found, turns)
    repeated = [own for own in cells if not own.ignored and own.p < 1 - level and not doubtful]
    word = _word_of(
        error=any(check.level == "error" for check in checks),
        leak=bool(proven or repeated or worst.list_recognised(level) or copied.is_leak(turns)),
        differ=doubtful or copied.spared or any(e.turned for e in found),
        bounded=not failed and not copied.unclear and _is_small(thresholds, upper, found_upper),
    )
    strongest = max(found, key=lambda e: e.gain[1])
    values = (strongest.gain[1], upper, found_upper, copied.copied or copied.unclear)
    return Verdict(
        word=word,
        strongest=strongest,
        sharpest=min(resolved, key=lambda e: (e.p_found, -e.found)) if resolved else strongest,
        first=min(found, key=lambda e: (e.p_first, -e.first)),
        proven=proven,
        unproven=list(dict.fromkeys(e.access for e in found if e.access not in proven)),
        **copied._asdict(),
        upper=upper,
        found_upper=found_upper,
        level=level,
        statements=round((1 - confidence) / (1 - level)),
        exceeded=limits_exceeded(request.limits, values, word, failed),
        thresholds=thresholds,
        limits=request.limits,
        doubtful=doubtful,
        failed=failed,
        recognised=tuple(worst.list_recognised(level)),
        repeated=tuple(own.text for own in repeated),
    )


class _Copied(NamedTuple):
    """What is said of copies; see `Verdict`."""

    copied: int = 0
    unclear: int = 0
    nearly: int = 0
    spared: bool = False

    def is_leak(self, turns: bool) -> bool:
        """Whether copies, or their lack, prove a leak. turns: whether an attacker turns signs."""
        return bool(self.copied or self.nearly or (turns and self.spared))


def _judge_copies(
    copies: Copies, near: pd.DataFrame, level: float, doubtful: bool, found: Sequence[Evidence]
) -> _Copied:
    """near: as `measures.copies.table` gives it. Near copies are counted among as many members as
    there are non-members that are asked about."""
    if not copies.released:
        return _Copied()
    copied = copies.count_proven(level, alike=not doubtful)
    unclear = 0 if copied else copies.count_open(alike=not doubtful)
    more = 0.0 if doubtful else proven_excess(near, "near copies", level)
    compared = min(copies.asked, max(e.non_members for e in found))
    nearly = int(np.ceil(more * compared))
    return _Copied(copied, unclear, nearly, copies.p_swapped < 1 - level)


def _proven_accesses(found: list[Evidence], turns: bool) -> list[str]:
    """Kinds of access by which a leak is proven. turns: as in `_Copied.is_leak`."""
    return list(dict.fromkeys(e.access for e in found if e.proves or (turns and e.turned)))


def _is_small(thresholds: Thresholds, upper: float, found_upper: float) -> bool:
    """Whether it is ruled out that any attack finds more than the words allow."""
    return upper <= thresholds.small.value and found_upper <= thresholds.few.value


def _word_of(*, error: bool, leak: bool, differ: bool, bounded: bool) -> str:
    if error:
        return "invalid"
    if leak:
        return "leak"
    if differ:
        return "invalid"
    return "no leak found" if bounded else "inconclusive"
