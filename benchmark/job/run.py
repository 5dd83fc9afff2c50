"""One job: from a configuration to the rows of a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from benchmark.job import canaries
from benchmark.job.assemble import result_of
from benchmark.job.prepare import Prepared, Trial, prepare
from benchmark.job.request import open_request
from benchmark.measures import promise
from benchmark.measures.blind import row_of
from benchmark.measures.result import JobResult
from benchmark.models.recipe import Model, obtain, obtain_all
from benchmark.scores import knowledge
from benchmark.scores.rows import Raw, with_budgets
from benchmark.scores.target import Attacker, Trained, scores_of
from victims.access import View, setting
from victims.errors import Unsuited


def run(config: DictConfig) -> JobResult:
    """The life of a job; whatever the store holds is not done again.

    The config becomes objects, the data are read and divided, and what cannot work is refused.
    Then the victim and its reference models are trained, and release their samples. Each attack
    scores each query under each of them. Scores become rows, and the rows a result.
    """
    request = open_request(config)
    request.machine.set_up()
    job = prepare(request)
    trial, workshop = job.trial, job.workshop(job.trial)
    blind = row_of(request.blind, queries=trial.queries, store=job.store, seed=request.seed)

    victim = obtain(trial.recipe, workshop)
    models = obtain_all(job.references, workshop)

    target, *references = (_target(job, trial, model, models) for model in (victim, *models))
    raws = _raws(job, trial, target, references)

    rows, scores = job.table.build(raws)
    rows = with_budgets(pd.concat([rows, blind], ignore_index=True), request.attacks)
    rows = promise.columns(rows, scores, victim.privacy, len(trial.split.members))
    audited = _audit_by_canaries(job, models)
    return result_of(job, target, rows=rows, scores=scores, canaries=audited)


def _target(job: Prepared, trial: Trial, model: Model, shadows: list[Model]) -> Trained:
    return Trained(
        model=model,
        split=trial.split,
        dataset=trial.dataset,
        batch_size=job.request.machine.batch_size,
        shadows=shadows,
    )


def _raws(
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
    raw = Raw(setting(access))
    if not (victim.model.victim.can_grant(access) and knowledge.suffices(access, trial.split)):
        return raw
    try:
        scores, seconds = _scores(job, trial, attacker, victim)
    except Unsuited as error:
        return raw._replace(refused=f"not run: {error}")
    alone = next(filter(None, (_incomparable(access, other) for other in references)), "")
    raw = raw._replace(victim=scores, seconds=seconds, alone=alone)
    if alone or not references:
        return raw
    try:
        found = [_scores(job, trial, attacker, reference) for reference in references]
    except Unsuited as error:
        return raw._replace(alone=f"not run: {error}")
    stacked = np.stack([scores for scores, _ in found])
    return raw._replace(references=stacked, reference_seconds=sum(s for _, s in found))


def _scores(
    job: Prepared, trial: Trial, attacker: Attacker, target: Trained
) -> tuple[np.ndarray, float]:
    """Raw scores (2q,) under one model, and their seconds; what breaks an attack ends the job."""
    try:
        return scores_of(attacker, target, trial.queries, job.store)
    except ValueError as error:
        raise ValueError(f"attack.{attacker.name}: {error}") from error


def _incomparable(access: type[View], reference: Trained) -> str:
    """Why an attack on a reference model says nothing about that on the victim, or ""."""
    if not reference.model.victim.can_grant(access):
        return "no access to the reference models"
    return knowledge.incomparable(access, reference.split, reference.model.recipe.rows)


def _audit_by_canaries(job: Prepared, shadows: list[Model]) -> pd.DataFrame:
    """What attacks show on canaries in one more training run; empty where none are asked for."""
    trial = job.canaries
    if trial is None:
        return pd.DataFrame()
    model = obtain(trial.recipe, job.workshop(trial))
    raws = _raws(job, trial, _target(job, trial, model, shadows), [])
    scores = {name: raw.victim for name, raw in raws.items() if raw.victim is not None}
    spent = promise.spent_or_none(model.privacy, len(trial.split.members))
    return canaries.audit(scores, trial.queries.is_member, spent, trial.recipe.seed)
