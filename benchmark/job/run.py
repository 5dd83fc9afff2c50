"""One job: from a configuration to the rows of a table."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from attacks.base import Reconstructs
from benchmark.config.machine import set_up
from benchmark.data.queries import Queries
from benchmark.job import canaries
from benchmark.job.prepare import Plan, asked, planted, prepare, victim_recipe
from benchmark.measures import blind, checks, copies, pairs, promise
from benchmark.measures.dataset_inference import set_detection
from benchmark.measures.result import JobResult, Strip
from benchmark.models import memory
from benchmark.models.recipe import GRID, Model, obtain, obtain_all
from benchmark.scores import knowledge
from benchmark.scores.closest import closest
from benchmark.scores.rows import Raw, with_budgets
from benchmark.scores.target import (
    Attacker,
    Trained,
    drop_if_edited,
    filed_under,
    made_by,
    scores_of,
)
from benchmark.store.entries import Store, key, plain, read_meta
from benchmark.store.seeds import sub_seed
from victims.access import FullBlackBox, View, setting
from victims.errors import Unsuited

log = logging.getLogger(__name__)

SHOWN = 8
"""Members, and as many non-members, in a strip of reconstructions."""


def run(config: DictConfig) -> JobResult:
    """Do one job; whatever the store holds is not done again."""
    set_up(config.machine)
    plan = prepare(config)
    note = {"data": plan.dataset.facts, "duplicates_dropped": plan.split.duplicates}
    note["machine"] = {name: config.machine[name] for name in ("accelerator", "precision")}

    unseeing = blind.rows(config, plan.store, plan.queries)
    made = plan.dataset, plan.store, config.machine, note
    victim = obtain(victim_recipe(config, plan.split), *made)
    models = obtain_all(plan.references, *made)
    target, *references = (_trained(plan, model, models) for model in (victim, *models))
    raws = {n: _raw(plan, attacker, target, references) for n, attacker in plan.attacks.items()}
    rows, scores = plan.table.build(raws)
    rows = pd.concat([rows, unseeing], ignore_index=True)
    rows = with_budgets(rows, {name: attacker.attack for name, attacker in plan.attacks.items()})
    rows = promise.columns(rows, scores, victim.privacy, len(plan.split.members))
    return _result(plan, target, rows, scores, _canaries(plan, note, models))


# --- scores ---------------------------------------------------------------------------------------


def _raw(plan: Plan, attacker: Attacker, victim: Trained, references: list[Trained]) -> Raw:
    """Raw scores of one attack under the victim and, where these compare, the reference models.

    An attack for which a model's samples do not suffice does not end the others.
    """
    access = attacker.access
    raw = Raw(setting(access))
    if not (victim.model.victim.can_grant(access) and knowledge.suffices(access, plan.split)):
        return raw
    try:
        scores, seconds = _scores(plan, attacker, victim)
    except Unsuited as error:
        return raw._replace(refused=f"not run: {error}")
    alone = next(filter(None, (_incomparable(access, other) for other in references)), "")
    raw = raw._replace(victim=scores, seconds=seconds, alone=alone)
    if alone or not references:
        return raw
    try:
        found = [_scores(plan, attacker, reference) for reference in references]
    except Unsuited as error:
        return raw._replace(alone=f"not run: {error}")
    stacked = np.stack([scores for scores, _ in found])
    return raw._replace(references=stacked, reference_seconds=sum(s for _, s in found))


def _scores(plan: Plan, attacker: Attacker, target: Trained) -> tuple[np.ndarray, float]:
    """Raw scores (2q,) under one model, and their seconds; what breaks an attack ends the job."""
    try:
        return scores_of(attacker, target, plan.queries, plan.store)
    except ValueError as error:
        raise ValueError(f"attack.{attacker.name}: {error}") from error


def _trained(plan: Plan, model: Model, shadows: list[Model]) -> Trained:
    batch_size = plan.config.machine.batch_size
    return Trained(model, plan.split, plan.dataset, batch_size, shadows)


def _incomparable(access: type[View], reference: Trained) -> str:
    """Why an attack on a reference model says nothing about that on the victim, or ""."""
    if not reference.model.victim.can_grant(access):
        return "no access to the reference models"
    return knowledge.incomparable(access, reference.split, reference.model.recipe.rows)


def _code(plan: Plan, victim: Trained) -> dict[str, str]:
    """Attack -> digest of the code that made its scores, of those that have any."""
    filed = {n: filed_under(attack, victim, plan.queries) for n, attack in plan.attacks.items()}
    kind, store = victim.kind, plan.store
    return {n: made_by(store, kind, own) for n, own in filed.items() if store.has(kind, own)}


def _canaries(plan: Plan, note: dict[str, Any], shadows: list[Model]) -> pd.DataFrame:
    """What attacks show on canaries in one more training run; empty where none are asked for."""
    if not plan.config.canaries:
        return pd.DataFrame()
    dataset, recipe, split = planted(plan.config, plan.dataset, plan.split)
    queries = asked(dataset, split, plan.config.seed)
    own = dataclasses.replace(plan, dataset=dataset, split=split, queries=queries, references=[])
    model = obtain(recipe, dataset, plan.store, plan.config.machine, note)
    target = _trained(own, model, shadows)
    raws = {n: _raw(own, attacker, target, []).victim for n, attacker in plan.attacks.items()}
    scores = {name: raw for name, raw in raws.items() if raw is not None}
    spent = promise.spent_or_none(model.privacy, len(split.members))
    return canaries.audit(scores, queries.is_member, spent, recipe.seed)


# --- result ---------------------------------------------------------------------------------------


def _result(
    plan: Plan, target: Trained, rows: pd.DataFrame, scores: pd.DataFrame, planted: pd.DataFrame
) -> JobResult:
    victim = target.model
    config = plain(plan.config)
    meta = read_meta(victim.folder)
    comparisons = pairs.compare(scores)
    seed = sub_seed(config["seed"], "copies")
    near = closest(target.view(FullBlackBox), plan.queries, seed)
    return JobResult(
        title=f"{config['victim']['_target_'].split('.')[-1]}, {plan.dataset.facts.get('name')}, "
        f"{len(plan.split.members)} training records, seed {config['seed']}",
        config=config,
        provenance={
            "victim key": key(meta["config"]),
            "training seconds": round(meta["seconds"], 1),
            "trained on": meta["note"].get("machine"),
            **{k: meta.get(k) for k in ("git", "versions", "created")},
            "data": plan.dataset.facts,
            "duplicates dropped": plan.split.duplicates,
            "store": str(plan.store.root),
        },
        rows=rows.assign(best=pairs.best(rows, comparisons)),
        scores=scores,
        comparisons=comparisons,
        sets=pairs.set_curves(scores),
        detection=set_detection(rows, scores, config["seed"]),
        copies=copies.table(near, seed),
        samples=np.array(victim.released[:GRID]) if plan.dataset.is_image else None,
        strips=_strips(plan, target, set(scores["attack"])) if plan.dataset.is_image else {},
        canaries=planted,
        checks=[
            *promise.broken(scores, victim.privacy, planted),
            *promise.nominal(victim.privacy),
            *_checks(plan, victim, rows, scores, comparisons),
        ],
        quality=_quality(plan, victim),
        code=_code(plan, target),
        family=victim.victim.family or type(victim.victim).__name__,
    )


def _quality(plan: Plan, victim: Model) -> dict[str, float]:
    """How good the victim's samples are, and what it took to make it."""
    found = plan.comparison.judge(
        victim,
        plan.dataset,
        plan.split,
        plan.config.seed,
        plan.store,
        plan.config.machine.batch_size,
    )
    seconds = read_meta(victim.folder)["seconds"]
    return found | {
        "parameters": victim.parameters,
        "training seconds": round(seconds, 1),
        "seconds per step": float(f"{seconds / victim.steps:.3g}"),
    }


def _checks(
    plan: Plan,
    victim: Model,
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    comparisons: pd.DataFrame,
) -> list[checks.Check]:
    """Everything a reader should doubt, beside the numbers."""
    split, digests = plan.split, plan.dataset.digests
    sets = {
        "members": split.members,
        "non-members": split.non_members,
        "reference": split.reference,
    }
    found = checks.overlapping_splits({name: digests[rows] for name, rows in sets.items()})
    found += checks.too_few_queries(len(split.queried), len(split.non_members))
    real = plan.dataset.records(split.non_members).numpy()
    seed = sub_seed(plan.config.seed, "mode collapse")
    found += checks.mode_collapse(victim.released, real, seed)
    return found + pairs.same_order(scores) + checks.of_rows(rows, scores, comparisons)


def _strips(plan: Plan, target: Trained, ran: set[str]) -> dict[str, Strip]:
    """A few members and non-members beside what each reconstruction attack finds for them."""
    is_member = plan.queries.is_member
    shown = np.concatenate([np.flatnonzero(is_member)[:SHOWN], np.flatnonzero(~is_member)[:SHOWN]])
    return {
        name: _strip(plan.store, attacker, target, plan.queries.take(shown))
        for name, attacker in plan.attacks.items()
        if isinstance(attacker.attack, Reconstructs) and name in ran
    }


def _strip(store: Store, attacker: Attacker, target: Trained, shown: Queries) -> Strip:
    """One attack's reconstructions, kept in the store like its scores."""
    queries = shown.records(slice(None))
    filed, attack = filed_under(attacker, target, shown), cast(Reconstructs, attacker.attack)

    def make(folder: Path) -> None:
        fitting = memory.Fitting(target.view(attacker.access))
        losses, found = fitting(lambda view: attack.reconstruct(view, queries))
        np.savez(folder / "strip.npz", losses=losses, reconstructions=found.numpy())

    drop_if_edited(attacker, store, "strip", filed)
    stored = np.load(store.get("strip", filed, make, attacker.note) / "strip.npz")
    return Strip(queries.numpy(), stored["reconstructions"], shown.is_member, stored["losses"])
