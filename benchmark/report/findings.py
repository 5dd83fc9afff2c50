"""What the paper claims, each claim as a test that was fixed before the reference run was made.

Source of the claims: Chen, Yu, Zhang, Fritz 2020, arXiv 1909.03935. The p-values are one-sided, in
the direction of the claim, and corrected by Holm's method over all findings that have one. A claim
that says "and" or "every" has several parts and is tested by the weakest, the one with the largest
p-value. It is rejected where one of its parts is surely less than the effect worth the claim:
p-values of that, times the parts, corrected over all findings likewise (a correction that was added
during the run; it can only make rejections fewer). Attacks are compared without calibration unless
the claim is about it. What a seed's error is, and what is assumed, see `benchmark.report.estimate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.metrics import holm
from benchmark.report import measures
from benchmark.report.collect import Study
from benchmark.report.estimate import Estimate
from benchmark.result import count

LEVEL = 0.05
SEEDS = 3
"""With fewer, nobody can say whether another training would give the same."""

HOLDS, FAILS, OPEN = "holds", "does not hold", "not enough data"


@dataclass(frozen=True)
class Claim:
    """A statement of the paper and the test of it.

    says: in our words. test: what is measured; the claim is that it is above 0. unit: of the
    estimate. study: the sweep that it is measured on. margin: the smallest effect worth the claim.
    of, repetitions: what is counted as a repetition, and how many are needed.
    """

    says: str
    test: str
    unit: str
    study: str
    margin: float
    measure: Callable[[Study], dict[str, Estimate]]
    of: str = "seeds"
    repetitions: int = 3


CLAIMS = (
    Claim(
        "The discriminator is the most dangerous thing to give away.",
        "AUROC of the discriminator attack minus that of each attack on the generator, same "
        "queries, mean over the victims that have a discriminator",
        "AUROC",
        "taxonomy",
        0.01,
        measures.discriminator_is_worst,
    ),
    Claim(
        "After it come the generator and control over its latent code.",
        "AUROC of the white box, and of the partial black box, minus that of the full black box, "
        "same queries, mean over victims",
        "AUROC",
        "taxonomy",
        0.01,
        measures.generator_is_next,
    ),
    Claim(
        "Models whose objective contains data reconstruction are the most vulnerable.",
        "AUROC of the white box: mean over victims with an encoder minus mean over those without",
        "AUROC",
        "taxonomy",
        0.01,
        measures.reconstruction_is_vulnerable,
    ),
    Claim(
        "Vulnerability follows the quality of generation.",
        "Spearman's correlation over victims of the white box's AUROC with minus the Fréchet "
        "distance, both averaged over the seeds a victim has; exact permutation test",
        "rank correlation",
        "taxonomy",
        0.2,
        measures.quality_is_vulnerable,
        "victims",
        5,
    ),
    Claim(
        "Smaller training sets leak more.",
        "AUROC gained per halving of the training set (least squares over all sizes), mean over "
        "victims and accesses",
        "AUROC per halving",
        "train_size",
        0.005,
        measures.small_sets_leak,
    ),
    Claim(
        "Under 10 000 training records most GANs can overfit to single records.",
        "AUROC of the discriminator attack above 0.5, median over the victims that have one, at "
        "the largest size under 10 000 that was run",
        "AUROC",
        "train_size",
        0.01,
        measures.small_sets_overfit,
    ),
    Claim(
        "Calibration improves the attack in every setting.",
        "AUROC calibrated by a reference model minus AUROC without, for each access, same queries, "
        "mean over victims",
        "AUROC",
        "taxonomy",
        0.01,
        measures.calibration_helps,
    ),
    Claim(
        "Differential privacy in training defends against practical attacks.",
        "AUROC without private training minus AUROC with it, at the largest epsilon up to 10 that "
        "was run, mean over victims and accesses",
        "AUROC",
        "privacy",
        0.01,
        measures.privacy_defends,
    ),
    Claim(
        "Differential privacy costs sample quality.",
        "logarithm of the Fréchet distance with private training over that without, mean over "
        "victims",
        "log ratio",
        "privacy",
        0.05,
        measures.privacy_costs_quality,
    ),
    Claim(
        "Differential privacy costs compute.",
        "logarithm of the training time with private training over that without, mean over victims",
        "log ratio",
        "privacy",
        0.05,
        measures.privacy_costs_time,
    ),
)
"""In the order of the paper, where some of them are parts of one statement."""


@dataclass(frozen=True)
class Finding:
    """A claim, what was measured of it, and the verdict.

    parts: name -> estimate; the claim needs all of them above 0. lacking: why there are none.
    p_holm: of the weakest part, corrected over all findings; NaN without one. p_worth: of "every
    part has the claim's margin or more", corrected likewise.
    """

    claim: Claim
    parts: dict[str, Estimate] = field(default_factory=dict)
    lacking: str = ""
    command: str = ""
    p_holm: float = np.nan
    p_worth: float = np.nan

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
        """What the verdict rests on, in a sentence."""
        if self.lacking:
            return self.lacking
        if not self.is_tested:
            fewest = min(e.seeds for e in self.parts.values())
            return f"{count(fewest, self.claim.of)}, at least {self.claim.repetitions} are needed"
        if self.verdict == HOLDS:
            also = f", also the weakest part ({self.weakest[0]})" if len(self.parts) > 1 else ""
            return f"above 0 at 5%, one-sided and corrected for the number of claims{also}"
        worth, (name, part) = f"{self.claim.margin:g} {self.claim.unit} or more is", self.least
        which = f" ({name})" if len(self.parts) > 1 else ""
        if self.verdict == FAILS:
            return f"{worth} excluded{which}"
        if part.high < self.claim.margin:
            return f"{worth} excluded by one interval{which}, but not among so many claims"
        which = f" for the weakest part ({self.weakest[0]})" if len(self.parts) > 1 else ""
        return f"neither 0 nor {self.claim.margin:g} or more is excluded{which}"


def findings(studies: Sequence[Study]) -> list[Finding]:
    """Every claim, tested on what there is."""
    by_name = {study.name: study for study in studies}
    return corrected(_finding(claim, by_name.get(claim.study)) for claim in CLAIMS)


def corrected(measured: Iterable[Finding]) -> list[Finding]:
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
        found[i] = dataclasses.replace(found[i], p_holm=float(p_holm), p_worth=float(p_worth))
    return found


def _finding(claim: Claim, study: Study | None) -> Finding:
    if study is None or not study.done:
        command = study.command if study else f"python -m benchmark +sweep={claim.study} -m"
        return Finding(claim, lacking=f"no job of the study {claim.study} is done", command=command)
    try:
        return Finding(claim, claim.measure(study), command=study.command)
    except measures.Lacking as lacking:
        return Finding(claim, lacking=str(lacking), command=study.command)
