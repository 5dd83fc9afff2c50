"""A job's attacks on its models: raw scores of each query under each model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmark.job.prepare import Prepared, Trial
from benchmark.job.strips import has_strip, scores_with_strip
from benchmark.models.recipe import Model
from benchmark.scores import knowledge
from benchmark.scores.rows import Raw
from benchmark.scores.scoring import BadScores
from benchmark.scores.target import Attacker, Trained, scores_of
from victims.access import View, setting_of
from victims.errors import Unsuited, UserError


def target_of(job: Prepared, trial: Trial, model: Model, shadows: list[Model]) -> Trained:
    """A trained model as attacks meet it. shadows: the reference models."""
    return Trained(
        model=model,
        split=trial.split,
        dataset=trial.dataset,
        batch_size=job.request.machine.batch_size,
        shadows=shadows,
    )


def raws_of(
    job: Prepared, trial: Trial, victim: Trained, references: list[Trained]
) -> dict[str, Raw]:
    """Raw scores of each attack under the victim and, where these compare, the reference models."""
    return {
        name: _raw(job, trial, attacker=attacker, victim=victim, references=references)
        for name, attacker in job.request.attackers.items()
    }


def _raw(
    job: Prepared, trial: Trial, *, attacker: Attacker, victim: Trained, references: list[Trained]
) -> Raw:
    """Raw scores of one attack; where a model's samples do not suffice for it, others go on."""
    access = attacker.access
    raw = Raw(setting_of(access))
    if not is_granted(access, victim.model, trial):
        return raw
    try:
        scores, seconds = scores_under(job, trial, attacker, victim)
    except Unsuited as error:
        return raw._replace(refused=f"not run: {error}")
    alone = next(filter(None, (incomparable(access, other) for other in references)), "")
    raw = raw._replace(victim=scores, seconds=seconds, alone=alone)
    if alone or not references:
        return raw
    try:
        found = [scores_under(job, trial, attacker, reference) for reference in references]
    except Unsuited as error:
        return raw._replace(alone=f"not run: {error}")
    stacked = np.stack([scores for scores, _ in found])
    return raw._replace(references=stacked, reference_seconds=sum(s for _, s in found))


def with_strangers(job: Prepared, victim: Trained, raws: Mapping[str, Raw]) -> dict[str, Raw]:
    """The raw scores, with those of the attacker's own records where a calibration needs them."""
    if not job.request.quantiles:
        return dict(raws)
    return {name: _with_strangers(job, victim, name, raw) for name, raw in raws.items()}


def _with_strangers(job: Prepared, victim: Trained, name: str, raw: Raw) -> Raw:
    attacker = job.request.attackers[name]
    if raw.victim is None:
        return raw
    if reason := knowledge.why_no_strangers(attacker.access):
        return raw._replace(unasked=reason)
    trial = replace(job.trial, queries=job.strangers)
    scores, seconds = scores_under(job, trial, attacker, victim)
    return raw._replace(strangers=scores, stranger_seconds=seconds)


def is_granted(access: type[View], model: Model, trial: Trial) -> bool:
    """Whether a model has the access, and the split what the attacker must know."""
    return model.victim.can_grant(access) and knowledge.split_suffices(access, trial.split)


def scores_under(
    job: Prepared, trial: Trial, attacker: Attacker, target: Trained
) -> tuple[np.ndarray, float]:
    """Raw scores (2q,) under one model, and their seconds; what breaks an attack ends the job."""
    of_job = trial.queries is job.trial.queries and target.model.recipe is job.trial.recipe
    try:
        if of_job and has_strip(job, attacker):
            return scores_with_strip(job, attacker, target)
        return scores_of(attacker, target, trial.queries, job.store)
    except BadScores as error:
        raise UserError(f"attack.{attacker.name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"attack.{attacker.name}: {error}") from error


def incomparable(access: type[View], reference: Trained) -> str:
    """Why an attack on a reference model says nothing about that on the victim, or ""."""
    if not reference.model.victim.can_grant(access):
        return "no access to the reference models"
    return knowledge.why_incomparable(access, reference.split, reference.model.recipe.rows)
