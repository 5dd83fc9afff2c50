"""Attacks by somebody who can train the generator: reference models on halves of the records.

fit(half i of the records) -> what each releases -> scores under them -> rows by LiRA and RMIA
fit(members but some, half of the exposed ones) -> one record's score -> AUROC of that record
both beside the rows of what was released, under one verdict

The first line is this file, the second `worst`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from attacks.calibration.difference import Calibration, models_suffice
from benchmark.audit.given.case import Case
from benchmark.audit.given.fit import Run
from benchmark.audit.request import Request
from benchmark.audit.steps import CHUNK, Attacked, Step, reason_of
from benchmark.audit.worst import NONE, Worst, choose_targets, draw_runs, play_games
from benchmark.scores.rows import Raw, Table, with_budgets
from benchmark.scores.target import scores_of
from benchmark.store.seeds import sub_seed
from victims.access import FullBlackBox, PartialBlackBox
from victims.errors import UserError


def retrain_and_score(request: Request, case: Case, attacked: Attacked) -> tuple[Attacked, Worst]:
    """An audit's rows and scores with those of reference models behind, and the worst records.

    Without a training function they stay as they are.
    """
    budget = request.budget
    if case.fit is None or budget is None:
        return attacked, NONE
    runs = runs_on_halves(case, budget.references, request.seed)
    case.fit.refuse_idle(runs[0], runs[1])
    case.fit.train_ahead(runs)
    more = reference_rows(
        request, case, steps=attacked.steps, runs=runs, calibrations=budget.calibrations
    )
    rows = pd.concat([attacked.rows, more[0]], ignore_index=True)
    scores = pd.concat([attacked.scores, more[1]], ignore_index=True)
    attacked, left = Attacked(attacked.steps, rows, scores), budget.runs - budget.references
    if not left:
        return attacked, Worst(references=len(runs))
    distance = request.distance.made.of(case.view(FullBlackBox))
    chosen = choose_targets(case, distance, rows, scores, budget.records)
    games = draw_runs(case, chosen, left, request.seed)
    case.fit.train_ahead(games)
    told = play_games(case, distance, chosen, games, request.seed)
    return attacked, Worst(told, len(games), len(runs))


def runs_on_halves(case: Case, count: int, seed: int) -> list[Run]:
    """Runs 2j and 2j + 1 train on two parts of one random division of all records.

    Members and non-members alike, no label is used. A part is as large as the members, or half of
    all where that is less. Source: as `benchmark.models.references.Halves`.
    """
    assert case.fit is not None
    size = min(case.fit.members, case.fit.all // 2)
    runs = []
    for i in range(count):
        division = np.random.default_rng(sub_seed(seed, "fit", "division", i // 2))
        order = division.permutation(case.fit.all)
        part = order[:size] if i % 2 == 0 else order[size : 2 * size]
        runs.append((part, sub_seed(seed, "fit", "half", i) % 2**32))
    return runs


def reference_rows(
    request: Request,
    case: Case,
    *,
    steps: Sequence[Step],
    runs: Sequence[Run],
    calibrations: Mapping[str, Calibration],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows by calibration and their scores, of all attacks that ran on released records.

    runs: of the reference models, in the store. An attack that fails under them says so in its row.
    """
    inside = np.array([np.isin(case.queries.rows, rows) for rows, _ in runs])
    kept = {n: own for n, own in calibrations.items() if models_suffice(inside, own)}
    if not kept:
        raise UserError(
            f"fit.references={len(runs)}: too few for {', '.join(calibrations)}; each record must "
            f"be in, and out of, two of them"
        )
    ran = [step for step in steps if step.places is not None and _of_samples(request, step)]
    if not ran:
        return pd.DataFrame(), pd.DataFrame()
    others = [case.case_of_run(run) for run in runs]
    raws = {step.name: _raw_scores(request, case, step, others) for step in ran}
    rows, scores = Table(case.queries, inside, kept, {}).build(raws)
    rows = with_budgets(rows[rows["calibrated"] != "none"], request.attacks)
    return rows, scores[scores["calibrated"] != "none"]


def _of_samples(request: Request, step: Step) -> bool:
    """Whether an attack sees what was released and no more of the victim."""
    access = request.attackers[step.name].access
    return issubclass(access, FullBlackBox) and not issubclass(access, PartialBlackBox)


def _raw_scores(request: Request, case: Case, step: Step, others: Sequence[Case]) -> Raw:
    """Scores of the queries under what was released (stored already), and under other releases."""
    attacker, raw = request.attackers[step.name], Raw(step.access)
    try:
        scores, seconds = scores_of(attacker, case, case.queries, request.store, CHUNK)
        found = [scores_of(attacker, o, case.queries, request.store, CHUNK) for o in others]
    except Exception as error:  # of any attack
        return raw._replace(refused=reason_of(step.name, error))
    return raw._replace(
        victim=scores,
        references=np.array([values for values, _ in found]),
        seconds=seconds,
        reference_seconds=sum(spent for _, spent in found),
    )
