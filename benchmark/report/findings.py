"""What became of a claim: estimates of its parts, a verdict, and what the verdict rests on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmark.measures.estimate import MOST, Estimate, seeds_to_tell
from benchmark.measures.numbers import count_of, spaced_name
from benchmark.report.claims import Claim
from benchmark.report.evidence import Score

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
    families: victim -> family. data: the data sets that were tested, where the study has several,
    each with its victims. untested: why others were not. left_out: how many results do not count,
    and why. choice: how the attacks were chosen. together: how many claims are corrected together.
    beside: the same claim in the other score.
    """

    claim: Claim
    parts: dict[str, Estimate] = field(default_factory=dict)
    lacking: str = ""
    command: str = ""
    p_holm: float = np.nan
    p_worth: float = np.nan
    score: Score = "auroc"
    families: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    untested: str = ""
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

        Where each size of the training set is tested by itself, with these sizes; where the study
        has several data sets, of each one that was tested.
        """
        between = "; " if len(self.data) > 1 else ", "  # such a name of a part has a comma
        sizes = f": {between.join(self.parts)}" if self.claim.at_each_size else ""
        if not self.data:
            found = dict.fromkeys(name for part in self.parts.values() for name in part.victims)
            return f"{self._victims_text(found)}{sizes}" if found else ""
        alike: dict[frozenset[str], list[str]] = {}
        for data, victims in self.data.items():
            alike.setdefault(frozenset(victims), []).append(spaced_name(data))
        texts = (f"{self._victims_text(own)} on {' and '.join(on)}" for own, on in alike.items())
        return f"{', '.join(texts)}{sizes}"

    def _victims_text(self, victims: Collection[str]) -> str:
        if len(victims) == 1:
            return f"1 victim ({next(iter(victims))})"
        families = {self.families.get(name, name) for name in victims}
        return f"{count_of(len(victims), 'victims')} of {count_of(len(families), 'families')}"

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
        """Whether there are enough repetitions for a p-value, and each part has an error."""
        if not self.parts or too_few(self.claim, self.parts):
            return False
        return all(np.isfinite(part.p_value) and part.has_error for part in self.parts.values())

    @property
    def verdict(self) -> str:
        """Holds: p_holm under LEVEL. Does not hold: p_worth under LEVEL, and the interval of a part
        excludes an effect of the claim's margin or more. Not enough data: neither, or too few
        repetitions, or a part without an error, as where one attack stands for both accesses.
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
        words = [self._reason, self._plan, self._aside, self.untested, self.left_out]
        return "; ".join(filter(None, words))

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
        needed = self.seeds_needed
        if not needed and any(np.isnan(part.error) for part in self.parts.values()):
            return "more seeds would not decide it, more families of victims might"
        more = 1 + min(part.seeds for part in self.parts.values())  # these did not decide it
        number = f"about {max(needed, more)}" if needed else f"more than {MOST}"
        on = " on each data set" if len(self.data) > 1 else ""
        return f"{number} seeds{on} would decide it, if all else stays as measured"

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
            return too_few(self.claim, self.parts) or self._without_error
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

    @property
    def _without_error(self) -> str:
        """Which parts have the same number in every repetition."""
        names = [name for name, part in self.parts.items() if not part.has_error]
        which = f" ({', '.join(names)})" if len(self.parts) > 1 else ""
        return f"all {self.claim.of} gave the same number{which}, so that no error of it is known"


def too_few(claim: Claim, parts: Mapping[str, Estimate]) -> str:
    """Says so where a part has fewer repetitions than the claim needs, else ""."""
    fewest = min(part.seeds for part in parts.values())
    if fewest >= claim.repetitions:
        return ""
    return f"{count_of(fewest, claim.of)}, at least {claim.repetitions} are needed"
