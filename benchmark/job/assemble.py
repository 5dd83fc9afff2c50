"""What a job found, put together: its rows, with all that a reader wants to know beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmark.job.prepare import Prepared
from benchmark.job.strips import strips_of_attacks
from benchmark.measures import checks, copies, pairs, promise
from benchmark.measures.dataset_inference import set_detection
from benchmark.measures.result import JobResult
from benchmark.models.recipe import GRID, Model
from benchmark.scores.closest import closest, pictures
from benchmark.scores.target import Trained, filed_under, made_by
from benchmark.store.entries import key, read_meta
from benchmark.store.seeds import sub_seed
from victims.access import FullBlackBox


def result_of(
    job: Prepared,
    target: Trained,
    *,
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    canaries: pd.DataFrame,
) -> JobResult:
    """A job's result. rows, scores: as `Table.build` gives them. canaries: of the one-run audit."""
    request, split, dataset = job.request, job.trial.split, job.trial.dataset
    victim, comparisons = target.model, pairs.compare_rows(scores)
    kind = request.victim.victim.kind.__name__
    meta, seed = read_meta(victim.folder), sub_seed(request.seed, "copies")
    quality = _judge_samples(job, victim)
    near = closest(target.view(FullBlackBox), job.trial.queries, seed, request.descriptor)
    return JobResult(
        title=f"{kind}, {dataset.facts.get('name')}, {len(split.members)} training records, "
        f"seed {request.seed}",
        config=request.settings,
        provenance={
            "victim key": key(meta["config"]),
            "training seconds": round(meta["seconds"], 1),
            "trained on": meta["note"].get("machine"),
            **{k: meta.get(k) for k in ("git", "versions", "created")},
            "data": dataset.facts,
            "duplicates dropped": split.duplicates,
            "store": str(job.store.root),
        },
        rows=rows.assign(best=pairs.best_rows(rows, comparisons)),
        scores=scores,
        comparisons=comparisons,
        sets=pairs.set_curves(scores),
        detection=set_detection(rows, scores, request.seed),
        copies=copies.table(near, seed),
        closest=pictures(near, job.trial.queries, victim.released) if dataset.is_image else None,
        samples=np.array(victim.released[:GRID]) if dataset.is_image else None,
        strips=strips_of_attacks(job, target, set(scores["attack"])),
        canaries=canaries,
        checks=[
            *promise.check_broken(scores, victim.privacy, canaries),
            *promise.check_nominal(victim.privacy),
            *_checks_of_data(job, victim),
            *pairs.same_order(scores),
            *checks.of_rows(rows, scores, comparisons),
            *checks.learnt_little(quality, rows),
        ],
        quality=quality,
        code=_digests_of_code(job, target),
        family=victim.victim.family or type(victim.victim).__name__,
    )


def judge_victim(job: Prepared, victim: Model) -> dict[str, float]:
    """How good the victim's samples are, by name; from the store, or judged now."""
    workshop, split = job.workshop(job.trial), job.trial.split
    judge = job.request.quality.judge_samples
    return judge(victim, workshop=workshop, split=split, seed=job.request.seed)


def _judge_samples(job: Prepared, victim: Model) -> dict[str, float]:
    """How good the victim's samples are, and what it took to make it."""
    found = judge_victim(job, victim)
    seconds = read_meta(victim.folder)["seconds"]
    return found | {
        "parameters": victim.parameters,
        "training seconds": round(seconds, 1),
        "seconds per step": float(f"{seconds / victim.steps:.3g}"),
    }


def _checks_of_data(job: Prepared, victim: Model) -> list[checks.Check]:
    """What a reader should doubt in the records and the samples."""
    split, dataset = job.trial.split, job.trial.dataset
    sets = {
        "members": split.members,
        "non-members": split.non_members,
        "reference": split.reference,
    }
    real = dataset.records(split.non_members).numpy()
    seed = sub_seed(job.request.seed, "mode collapse")
    return [
        *checks.overlapping_splits({name: dataset.digests[rows] for name, rows in sets.items()}),
        *checks.too_few_queries(len(split.queried), len(split.non_members)),
        *checks.mode_collapse(victim.released, real, seed),
    ]


def _digests_of_code(job: Prepared, victim: Trained) -> dict[str, str]:
    """Attack -> digest of the code that made its scores, of those that have any."""
    queries, kind, store = job.trial.queries, victim.kind, job.store
    attackers = job.request.attackers
    filed = {name: filed_under(own, victim, queries) for name, own in attackers.items()}
    return {name: made_by(store, kind, own) for name, own in filed.items() if store.has(kind, own)}
