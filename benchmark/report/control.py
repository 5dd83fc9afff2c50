"""What private training is compared with: the same without it, and a control of equal quality.

A model that generates nothing leaks nothing, private or not. So a defence is only measured where
the private model does generate, and against a model without privacy that generates no better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from benchmark.measures.checks import CORRELATION, MARGINAL, MIN_SHARE, learnt_shares
from benchmark.report.collect import Group, Outcome, Study
from benchmark.report.evidence import first_number, frechet_distance
from benchmark.report.means import Lacking, Number

SOME_EPSILON = 10.0
"""Claims on privacy are tested at the largest epsilon up to this that a study has."""

MAX_WORSE = 1.5
"""How many times the private model's Frechet distance a control may have, or its marginal error.
One that is far worse leaks less by that alone, and would speak against privacy without reason."""


def without_and_with(study: Study) -> dict[Group, Group]:
    """Private group, at the epsilon of the claim -> the group that has no privacy and else equals.

    Those with a partner; raises Lacking where the study has no privacy, or nothing else.
    """
    epsilons = {group: _epsilon_of(next(iter(own.values()))) for group, own in study.groups.items()}
    private = [epsilon for epsilon in epsilons.values() if epsilon <= SOME_EPSILON]
    without = [group for group in epsilons if np.isinf(epsilons[group])]
    if not private or not without:
        raise Lacking(f"results without privacy and with epsilon up to {SOME_EPSILON:g} are needed")
    found: dict[Group, Group] = {}
    for group in epsilons:
        if epsilons[group] == max(private):
            same = [other for other in without if same_but_for(study, group, other, "dp")]
            if same:
                found[group] = same[0]
    return found


def generating(study: Study) -> tuple[dict[Group, _Quality], list[str]]:
    """Private group, at the epsilon of the claim -> how well it generates; see MIN_SHARE.

    Of those that do generate; and why the others are left out.
    """
    found, why = {}, []
    for group in without_and_with(study):
        own = _mean_quality(study, group, study.groups[group])
        if own is None:
            why.append(
                f"{group.victim}: the quality of its samples was not measured, or the measure does "
                "not tell real records from an untrained model's"
            )
        elif not own.generates:
            shares = " and ".join(f"{name} {share:.2g}" for name, share in own.learnt.items())
            why.append(
                f"{group.victim}: {shares}, at least {MIN_SHARE} of both are needed: what "
                "generates nothing has nothing to leak"
            )
        else:
            found[group] = own
    return found, why


def fair_controls(study: Study) -> dict[Group, Group]:
    """Private group that generates, at the epsilon of the claim -> its control; see MAX_WORSE.

    A control differs in the victim's own settings alone, such as how long it was trained. None of
    its errors is smaller, as means over the seeds of the private model. The best of these is taken.
    Raises Lacking where no pair is left.
    """
    found: dict[Group, Group] = {}
    generate, why = generating(study)
    for group, own in generate.items():
        if control := _best_control(study, group, own):
            found[group] = control
        else:
            seeds = ", ".join(map(str, study.groups[group]))
            why.append(
                f"{group.victim}: no control without privacy generates as badly ({own.name} "
                f"{own.errors[0]:.3g} to {MAX_WORSE * own.errors[0]:.3g}) with seeds {seeds}"
            )
    return _some(found, why)


def plain_partners(study: Study) -> dict[Group, Group]:
    """Private group that generates -> the group that has no privacy and else equals it.

    Raises Lacking where no pair is left.
    """
    pairs, (generate, why) = without_and_with(study), generating(study)
    return _some({group: pairs[group] for group in generate}, why)


def _some(found: dict[Group, Group], why: Sequence[str]) -> dict[Group, Group]:
    if not found:
        raise Lacking("; ".join(why) or "no victim was run with and without private training")
    return found


def generation_error(outcome: Outcome) -> Number | None:
    """How badly a victim generates: its Frechet distance, or the marginal error of a table."""
    return first_number(outcome, "Frechet distance", "FID", MARGINAL)


@dataclass(frozen=True)
class _Quality:
    """How well a victim generates, as a mean over seeds.

    name: what the first error is. errors (3,) or (2,): smaller is better; the first one is the
    generation error, the others are 1 - precision and 1 - recall, or the error of correlations.
    learnt: shares by name, see MIN_SHARE.
    """

    name: str
    errors: np.ndarray
    learnt: dict[str, float]

    @property
    def generates(self) -> bool:
        """Whether the victim has learnt enough to have something to leak."""
        return min(self.learnt.values()) >= MIN_SHARE


def _best_control(study: Study, private: Group, quality: _Quality) -> Group | None:
    """The best group without privacy that has learnt something, and whose quality is no better."""
    fair = {}
    for group, own in study.groups.items():
        is_plain = np.isinf(_epsilon_of(next(iter(own.values()))))
        if is_plain and same_but_for(study, private, group, "dp", "victim."):
            other = _mean_quality(study, group, study.groups[private])
            if (
                other is not None
                and other.generates
                and (other.errors >= quality.errors).all()
                and other.errors[0] <= MAX_WORSE * quality.errors[0]
            ):
                fair[group] = other.errors[0]
    return min(fair, key=lambda group: fair[group]) if fair else None


def _mean_quality(study: Study, group: Group, seeds: Iterable[int]) -> _Quality | None:
    """The mean over these seeds; None where one lacks."""
    outcomes = [study.groups[group].get(seed) for seed in seeds]
    found = [_quality_of(outcome) for outcome in outcomes if outcome is not None]
    whole = [one for one in found if one is not None]
    if not whole or len(whole) < len(outcomes):
        return None
    errors = np.mean([one.errors for one in whole], 0)
    learnt = {name: fmean(one.learnt[name] for one in whole) for name in whole[0].learnt}
    return _Quality(whole[0].name, errors, learnt)


def _quality_of(outcome: Outcome) -> _Quality | None:
    """A victim's; None where something was not measured, or is no number."""
    assert outcome.record is not None
    numbers = outcome.record.result.quality
    learnt = learnt_shares(numbers)
    if MARGINAL in numbers:
        name, errors = MARGINAL, [numbers.get(x, np.nan) for x in (MARGINAL, CORRELATION)]
    else:
        name, distance = "Frechet distance", frechet_distance(outcome)
        errors = [distance.value if distance else np.nan, *(1 - x for x in learnt.values())]
    if not np.isfinite([*errors, *learnt.values()]).all():
        return None
    return _Quality(name, np.array(errors), learnt)


def same_but_for(study: Study, a: Group, b: Group, *apart: str) -> bool:
    """Whether two groups have the same settings, but for those whose names start so."""
    names = zip(study.labels, a.values, b.values, strict=True)
    return all(x == y for name, x, y in names if not name.startswith(apart))


def _epsilon_of(outcome: Outcome) -> float:
    """What was asked for, or else what was spent; infinite without private training."""
    dp = outcome.job.config.get("dp")
    if not dp:
        return np.inf
    spent = (row["epsilon"] for row in outcome.numbers.values())
    return float(next(spent, np.nan) if dp.epsilon is None else dp.epsilon)
