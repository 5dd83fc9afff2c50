"""One job: from a configuration to the rows of a table."""

from __future__ import annotations

import pandas as pd
from omegaconf import DictConfig

from benchmark.job import canaries
from benchmark.job.assemble import result_of
from benchmark.job.attack import raws_of, target_of, with_strangers
from benchmark.job.prepare import Prepared, prepare
from benchmark.job.request import open_request
from benchmark.job.workers import side_by_side
from benchmark.measures import promise
from benchmark.measures.blind import row_of
from benchmark.measures.result import JobResult
from benchmark.models.recipe import Model, obtain_all, obtain_model
from benchmark.scores.rows import with_budgets


def run(config: DictConfig) -> JobResult:
    """The life of a job; whatever the store holds is not done again.

    The config becomes objects, the data are read and divided, and what cannot work is refused.
    Then the victim and its reference models are trained, and release the samples that are looked
    at. Each attack scores each query under each of them. Scores become rows, and the rows a result.
    """
    request = open_request(config)
    request.machine.set_up()
    job = prepare(request)
    trial, workshop = job.trial, job.workshop(job.trial)
    blind = row_of(request.blind, queries=trial.queries, store=job.store, seed=request.seed)

    side_by_side(job)
    victim = obtain_model(trial.recipe, workshop)
    models = obtain_all(job.references, workshop)

    target, *references = (target_of(job, trial, model, models) for model in (victim, *models))
    if not job.scores_references:
        references = []
    raws = with_strangers(job, target, raws_of(job, trial, target, references))

    rows, scores = job.table.build(raws)
    rows = with_budgets(pd.concat([rows, blind], ignore_index=True), request.attacks)
    rows = promise.promise_columns(rows, scores, victim.privacy, len(trial.split.members))
    audited = _audit_by_canaries(job, models)
    return result_of(job, target, rows=rows, scores=scores, canaries=audited)


def _audit_by_canaries(job: Prepared, shadows: list[Model]) -> pd.DataFrame:
    """What attacks show on canaries in one more training run; empty where none are asked for."""
    trial = job.canaries
    if trial is None:
        return pd.DataFrame()
    model = obtain_model(trial.recipe, job.workshop(trial))
    if trial.is_attacked:
        raws = raws_of(job, trial, target_of(job, trial, model, shadows), [])
        scores = {name: raw.victim for name, raw in raws.items() if raw.victim is not None}
    else:
        assert model.victim.canaries is not None
        scores = {"noised_gradients": model.victim.canaries.evidence.cpu().numpy()}
    spent = promise.spent_or_none(model.privacy, len(trial.split.members))
    return canaries.audit_canaries(scores, trial.queries.is_member, spent, trial.recipe.seed)
