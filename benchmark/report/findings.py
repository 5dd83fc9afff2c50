"""What is claimed, each claim as a test that was fixed before it was run.

Sources of the claims: see `benchmark.report.claims`. The p-values are one-sided, in the direction
of the claim, and corrected by Holm's method over all findings that have one. A claim that says
"and" or "every" has several parts and is tested by the weakest, the one with the largest p-value.
It is rejected where one of its parts is surely less than the effect worth the claim: p-values of
that, times the parts, corrected over all findings likewise (a correction that was added during the
first reference run; it can only make rejections fewer). Claims about leaks are tested on the AUROC,
and beside it on the true positive rate at 1% false positives, corrected among themselves: each of
the two promises 5%. Results whose checks void them are left out and counted. Attacks are compared
without calibration unless the claim is about it; which attack stands for an access, see
`benchmark.report.evidence`; what a seed's error is, and what is assumed, see
`benchmark.measures.estimate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.measures.estimate import MOST, Estimate, seeds_to_tell
from benchmark.measures.metrics import holm
from benchmark.measures.numbers import count_of
from benchmark.report.claims import CLAIMS, Claim
from benchmark.report.collect import Outcome, Study
from benchmark.report.evidence import Evidence, Score
from benchmark.report.means import Lacking

LEVEL = 0.05
AUROC: Score = "auroc"
TPR: Score = "tpr_at_1"
SCORES: dict[Score, str] = {AUROC: "AUROC", TPR: "TPR at 1% FPR"}

HOLDS, FAILS, OPEN = "holds", "does not hold", "not enough data"


@dataclass(frozen=True)
class Finding:
    """A claim, what was measured of it, and the verdict.

    parts: name -> estimate; the claim needs all of them above 0. lacking: why there are none.
    p_holm: of the weakest part, corrected over all findings; NaN without one. p_worth: of "every
    part has the claim's margin or more", corrected likewise. score: what leaks are measured in.
    families: victim -> family. left_out: how many results do not count, and why. choice: how the
    attacks were chosen. together: how many claims are corrected together. beside: the same claim in
    the other score.
    """

    claim: Claim
    parts: dict[str, Estimate] = field(default_factory=dict)
    lacking: str = ""
    command: str = ""
    p_holm: float = np.nan
    p_worth: float = np.nan
    score: Score = "auroc"
    families: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""
    choice: str = ""
    together: int = 1
    beside: Finding | None = None

    @property
    def test(self) -> str:
        """What is measured, and of which attacks."""
        sentence = f"{self.claim.test.format(score=SCORES[self.score])}."
        return f"{sentence} {self.choice}" if self.choice else sentence

    @property
    def unit(self) -> str:
        """Of the estimate."""
        return self.claim.unit.format(score=SCORES[self.score])

    @property
    def scope(self) -> str:
        """How many victims it is about: 1 victim, 7 victims of 5 families; "" without any.

        Where each size of the training set is tested by itself, with these sizes.
        """
        victims = dict.fromkeys(name for part in self.parts.values() for name in part.victims)
        if not victims:
            return ""
        sizes = f": {', '.join(self.parts)}" if self.claim.at_each_size else ""
        if len(victims) == 1:
            return f"1 victim ({next(iter(victims))}){sizes}"
        families = {self.families.get(name, name) for name in victims}
        return (
            f"{count_of(len(victims), 'victims')} of {count_of(len(families), 'families')}{sizes}"
        )

    @property
    def least(self) -> tuple[str, Estimate]:
        """The part that is surest to be less than the margin."""
        return min(self.parts.items(), key=lambda part: part[1].p_at_least(self.claim.margin))

    @property
    def weakest(self) -> tuple[str, Estimate]:
        """The part with the largest p-value."""
        return max(self.parts.items(), key=lambda part: part[1].p_value)

    @property
    def is_tested(self) -> bool:
        """Whether there are enough repetitions for a p-value."""
        estimates = self.parts.values()
        return bool(self.parts) and all(
            e.seeds >= self.claim.repetitions and np.isfinite(e.p_value) for e in estimates
        )

    @property
    def verdict(self) -> str:
        """Holds: p_holm under LEVEL. Does not hold: p_worth under LEVEL, and the interval of a part
        excludes an effect of the claim's margin or more. Not enough data: neither, or too few
        repetitions.
        """
        if not self.is_tested:
            return OPEN
        if self.p_holm < LEVEL:
            return HOLDS
        excluded = self.least[1].high < self.claim.margin
        return FAILS if excluded and self.p_worth < LEVEL else OPEN

    @property
    def reason(self) -> str:
        """What the verdict rests on, what would decide it, and what was left out."""
        return "; ".join(filter(None, [self._reason, self._plan, self._aside, self.left_out]))

    @property
    def seeds_needed(self) -> int | None:
        """About how many seeds decide the claim, if means and errors are as measured.

        Either way counts: that all parts are above 0, or that one is below the margin. None: more
        than MOST, or no number of them.
        """
        level, margin = LEVEL / self.together, self.claim.margin
        parts = self.parts.values()
        above = [seeds_to_tell(part.mean, part, level) for part in parts]
        below = [seeds_to_tell(margin - part.mean, part, level / len(parts)) for part in parts]
        ways = [n for n in below if n]
        if all(above):
            ways.append(max(n for n in above if n))
        return min(ways, default=None)

    @property
    def _plan(self) -> str:
        """How many seeds would decide what is tested and open."""
        if not self.is_tested or self.verdict != OPEN or self.claim.of != "seeds":
            return ""
        if any(np.isnan(part.error) for part in self.parts.values()):
            return "more seeds would not decide it, more families of victims might"
        needed = self.seeds_needed
        more = 1 + min(part.seeds for part in self.parts.values())  # these did not decide it
        number = f"about {max(needed, more)}" if needed else f"more than {MOST}"
        return f"{number} seeds would decide it, if all else stays as measured"

    @property
    def _aside(self) -> str:
        """Which victims a mean over seeds leaves out."""
        names = dict.fromkeys(name for part in self.parts.values() for name in part.aside)
        return f"without {', '.join(names)}: run with fewer seeds" if names else ""

    @property
    def _reason(self) -> str:
        if self.lacking:
            return self.lacking
        if not self.is_tested:
            fewest = min(e.seeds for e in self.parts.values())
            return (
                f"{count_of(fewest, self.claim.of)}, at least {self.claim.repetitions} are needed"
            )
        if self.verdict == HOLDS:
            also = f", also the weakest part ({self.weakest[0]})" if len(self.parts) > 1 else ""
            return f"above 0 at 5%, one-sided and corrected for the number of claims{also}"
        worth, (name, part) = f"{self.claim.margin:g} {self.unit} or more is", self.least
        which = f" ({name})" if len(self.parts) > 1 else ""
        if self.verdict == FAILS:
            return f"{worth} excluded{which}"
        if part.high < self.claim.margin:
            return f"{worth} excluded by one interval{which}, but not among so many claims"
        which = f" for the weakest part ({self.weakest[0]})" if len(self.parts) > 1 else ""
        return f"neither 0 nor {self.claim.margin:g} or more is excluded{which}"


def judge_claims(studies: Sequence[Study]) -> list[Finding]:
    """Every claim, tested on what there is; claims about leaks in both scores."""
    by_name = {study.name: study for study in studies}
    leaks = [claim for claim in CLAIMS if claim.is_leak]
    first = holm_corrected(
        _finding_of(claim, by_name.get(claim.study), "auroc") for claim in CLAIMS
    )
    other = holm_corrected(
        _finding_of(claim, by_name.get(claim.study), "tpr_at_1") for claim in leaks
    )
    beside = dict(zip(leaks, other, strict=True))
    return [dataclasses.replace(own, beside=beside.get(own.claim)) for own in first]


def holm_corrected(measured: Iterable[Finding]) -> list[Finding]:
    """The findings with the p-values that hold for all of them together."""
    found = list(measured)
    tested = [i for i, finding in enumerate(found) if finding.is_tested]
    if not tested:
        return found
    above = [found[i].weakest[1].p_value for i in tested]
    worth = [
        min(1.0, len(found[i].parts) * found[i].least[1].p_at_least(found[i].claim.margin))
        for i in tested
    ]
    columns = [holm(p_values) for p_values in (above, worth)]
    for i, p_holm, p_worth in zip(tested, *columns, strict=True):
        found[i] = dataclasses.replace(
            found[i], p_holm=float(p_holm), p_worth=float(p_worth), together=len(tested)
        )
    return found


def _finding_of(claim: Claim, study: Study | None, score: Score) -> Finding:
    if study is None or not study.done:
        command = study.command if study else f"python -m benchmark +sweep={claim.study} -m"
        lacking = f"no job of the study {claim.study} is done"
        return Finding(claim, lacking=lacking, command=command, score=score)
    kept, left_out = without_void_results(study, claim.voids)
    evidence = Evidence(kept, score)
    finding = Finding(
        claim,
        command=study.command,
        score=score,
        families=evidence.families,
        left_out=left_out,
        choice=evidence.choice if claim.is_leak else "",
    )
    try:
        return dataclasses.replace(finding, parts=claim.measure(evidence))
    except Lacking as lacking_parts:
        return dataclasses.replace(finding, lacking=str(lacking_parts))


def without_void_results(study: Study, voids: Sequence[str]) -> tuple[Study, str]:
    """The study without results that an error or one of these checks voids, and what that was."""
    kept, why = [], dict[str, list[str]]()
    for outcome in study.outcomes:
        checks = outcome.record.result.checks if outcome.record else []
        void = [check.name for check in checks if check.level == "error" or check.name in voids]
        kept.append(Outcome(outcome.job, f"left out: {void[0]}") if void else outcome)
        if void:
            why.setdefault(void[0], []).append(str(study.coordinates(outcome.job)["victim"]))
    if not why:
        return study, ""
    names = ", ".join(
        f"{name}: {len(own)} ({', '.join(dict.fromkeys(own))})" for name, own in why.items()
    )
    left = sum(map(len, why.values()))
    text = f"{left} of {count_of(len(study.done), 'results')} left out ({names})"
    return dataclasses.replace(study, outcomes=tuple(kept)), text
