"""What the paper claims, each claim as a test that was fixed before the reference run was made.

Source of the claims: Chen, Yu, Zhang, Fritz 2020, arXiv 1909.03935. The p-values are one-sided, in
the direction of the claim, and corrected by Holm's method over all findings that have one. A claim
that says "and" or "every" has several parts and is tested by the weakest, the one with the largest
p-value. Attacks are compared without calibration unless the claim is about it. What a seed's error
is, and what is assumed, see `benchmark.report.estimate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from statsmodels.stats.multitest import multipletests

from benchmark.report import measures
from benchmark.report.collect import Study
from benchmark.report.estimate import Estimate

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
        "distance, both averaged over seeds; exact permutation test",
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
    p_holm: of the weakest part, corrected over all findings; NaN without one.
    """

    claim: Claim
    parts: dict[str, Estimate] = field(default_factory=dict)
    lacking: str = ""
    command: str = ""
    p_holm: float = np.nan

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
        """Holds: p_holm under LEVEL. Does not hold: some part's interval excludes an effect of the
        claim's margin or more. Not enough data: neither, or too few repetitions.
        """
        if not self.is_tested:
            return OPEN
        if self.p_holm < LEVEL:
            return HOLDS
        excluded = any(part.high < self.claim.margin for part in self.parts.values())
        return FAILS if excluded else OPEN

    @property
    def reason(self) -> str:
        """What the verdict rests on, in a sentence."""
        if self.lacking:
            return self.lacking
        name, _ = self.weakest
        if not self.is_tested:
            fewest = min(e.seeds for e in self.parts.values())
            return f"{fewest} {self.claim.of}, at least {self.claim.repetitions} are needed"
        if self.verdict == HOLDS:
            return f"the interval lies above 0{self._weakest(name)}"
        if self.verdict == FAILS:
            return (
                f"{self.claim.margin:g} {self.claim.unit} or more is excluded{self._weakest(name)}"
            )
        return f"neither 0 nor {self.claim.margin:g} or more is excluded{self._weakest(name)}"

    def _weakest(self, name: str) -> str:
        return f", also for the weakest part ({name})" if len(self.parts) > 1 else ""


def findings(studies: Sequence[Study]) -> list[Finding]:
    """Every claim, tested on what there is."""
    by_name = {study.name: study for study in studies}
    found = [_finding(claim, by_name.get(claim.study)) for claim in CLAIMS]
    tested = [i for i, finding in enumerate(found) if finding.is_tested]
    if tested:
        p_values = [found[i].weakest[1].p_value for i in tested]
        for i, p_holm in zip(tested, multipletests(p_values, method="holm")[1], strict=True):
            found[i] = dataclasses.replace(found[i], p_holm=float(p_holm))
    return found


def _finding(claim: Claim, study: Study | None) -> Finding:
    if study is None or not study.done:
        command = study.command if study else f"python -m benchmark +sweep={claim.study} -m"
        return Finding(claim, lacking=f"no job of the study {claim.study} is done", command=command)
    try:
        return Finding(claim, claim.measure(study), command=study.command)
    except measures.Lacking as lacking:
        return Finding(claim, lacking=str(lacking), command=study.command)
