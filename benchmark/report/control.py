"""What private training is compared with: the same without it, and a control of equal quality.

A model that generates nothing leaks nothing, private or not. So a defence is only measured where
the private model does generate, and against a model without privacy that generates no better.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.report.collect import Group, Outcome, Study
from benchmark.report.evidence import Lacking, first_number, frechet_distance

SOME_EPSILON = 10.0
"""Claims on privacy are tested at the largest epsilon up to this that a study has."""

MIN_SHARE = 0.1
"""Precision and recall that a private model must have. Below, nine in ten of its samples lie
outside of what is real, or nine in ten of the real records are out of its reach: a low AUROC then
says that it has learnt nothing. Victims of the reference run have 0.32 or more without privacy, and
networks before their first step 0."""

MAX_WORSE = 1.5
"""How many times the private model's Frechet distance a control may have. One that is far worse
leaks less by that alone, and would speak against privacy without reason."""


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


def fair_controls(study: Study) -> dict[Group, Group]:
    """Private group, at the epsilon of the claim -> its control; see MIN_SHARE and MAX_WORSE.

    A control differs in the victim's own settings alone, such as how long it was trained: its
    Frechet distance is no smaller, its precision and recall are no larger, as means over the seeds
    of the private model. The best of these is taken. Raises Lacking where no pair is left.
    """
    found, why = {}, []
    for group in without_and_with(study):
        own = _mean_quality(study, group, study.groups[group])
        if own is None:
            why.append(f"{group.victim}: Frechet distance, precision or recall was not measured")
        elif min(own[1:]) < MIN_SHARE:
            why.append(
                f"{group.victim}: precision {own[1]:.2g} and recall {own[2]:.2g}, at least "
                f"{MIN_SHARE} of both are needed: what generates nothing has nothing to leak"
            )
        elif control := _best_control(study, group, own):
            found[group] = control
        else:
            why.append(
                f"{group.victim}: no control without privacy generates as badly (Frechet distance "
                f"{own[0]:.3g} to {MAX_WORSE * own[0]:.3g})"
            )
    if not found:
        raise Lacking("; ".join(why) or "no victim was run with and without private training")
    return found


def _best_control(study: Study, private: Group, quality: np.ndarray) -> Group | None:
    """The best group without privacy whose quality is no better."""
    tried = {}
    for group, own in study.groups.items():
        is_plain = np.isinf(_epsilon_of(next(iter(own.values()))))
        if is_plain and same_but_for(study, private, group, "dp", "victim."):
            other = _mean_quality(study, group, study.groups[private])
            if other is not None:
                tried[group] = other
    fair = {
        group: other[0]
        for group, other in tried.items()
        if quality[0] <= other[0] <= MAX_WORSE * quality[0] and (other[1:] <= quality[1:]).all()
    }
    return min(fair, key=lambda group: fair[group]) if fair else None


def _mean_quality(study: Study, group: Group, seeds: Any) -> np.ndarray | None:
    """Frechet distance, precision and recall (3,), means over these seeds; None where one lacks."""
    rows = []
    for seed in seeds:
        outcome = study.groups[group].get(seed)
        if outcome is None:
            return None
        numbers = [
            frechet_distance(outcome),
            first_number(outcome, "precision"),
            first_number(outcome, "recall"),
        ]
        rows.append([np.nan if number is None else number.value for number in numbers])
    means = np.mean(rows, 0)
    return means if np.isfinite(means).all() else None


def same_but_for(study: Study, a: Group, b: Group, *apart: str) -> bool:
    """Whether two groups have the same settings, but for those whose names start so."""
    names = zip(study.labels, a.values, b.values, strict=True)
    return all(x == y for name, x, y in names if not name.startswith(apart))


def _epsilon_of(outcome: Outcome) -> float:
    """What was asked for, or else what was spent; infinite without private training."""
    dp = outcome.job.config.get("dp")
    if not dp:
        return np.inf
    first = next(iter(outcome.numbers.values()))
    return float(first["epsilon"] if dp.epsilon is None else dp.epsilon)
