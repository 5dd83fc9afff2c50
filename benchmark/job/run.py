"""One job: from a configuration to the rows of a table."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from attacks.base import Reconstructs
from benchmark.config.machine import set_up
from benchmark.data.queries import Queries
from benchmark.job import canaries
from benchmark.job.prepare import Plan, asked, planted, prepare, victim_recipe
from benchmark.measures import blind, checks, pairs, promise
from benchmark.measures.dataset_inference import set_detection
from benchmark.measures.result import JobResult, Strip
from benchmark.models import memory
from benchmark.models.recipe import GRID, Model, obtain, obtain_all
from benchmark.scores import knowledge, scoring
from benchmark.scores.rows import Raw
from benchmark.store.entries import key, plain, read_meta
from benchmark.store.seeds import sub_seed
from victims.access import PartialBlackBox, View, setting
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
    references = obtain_all(plan.references, *made)
    plan = dataclasses.replace(plan, shadows=references)
    raws = {name: _raw(plan, name, victim, references) for name in plan.attacks}
    rows, scores = plan.table.build(raws)
    rows = pd.concat([rows, unseeing], ignore_index=True)
    spent = {name: scoring.evaluations(attack) for name, attack in plan.attacks.items()}
    rows = rows.assign(evaluations=rows["attack"].map(spent))
    rows = promise.columns(rows, scores, victim.privacy, len(plan.split.members))
    return _result(plan, victim, rows, scores, _canaries(plan, note))


# --- scores ---------------------------------------------------------------------------------------


def _raw(plan: Plan, name: str, victim: Model, references: list[Model]) -> Raw:
    """Raw scores of one attack under the victim and, where these compare, the reference models.

    An attack for which a model's samples do not suffice does not end the others.
    """
    access = plan.attacks[name].access
    if not (victim.victim.can_grant(access) and knowledge.suffices(access, plan.split)):
        return Raw(setting(access))
    try:
        scores, seconds = _scores(plan, name, victim)
    except Unsuited as error:
        return Raw(setting(access), refused=f"not run: {error}")
    alone = next(filter(None, (_incomparable(plan, access, model) for model in references)), "")
    if alone or not references:
        return Raw(setting(access), scores, None, seconds, alone=alone)
    try:
        found = [_scores(plan, name, reference) for reference in references]
    except Unsuited as error:
        return Raw(setting(access), scores, None, seconds, alone=f"not run: {error}")
    stacked = np.stack([scores for scores, _ in found])
    return Raw(setting(access), scores, stacked, seconds, sum(seconds for _, seconds in found))


def _incomparable(plan: Plan, access: type[View], reference: Model) -> str:
    """Why an attack on a reference model says nothing about that on the victim, or ""."""
    if not reference.victim.can_grant(access):
        return "no access to the reference models"
    return knowledge.incomparable(access, plan.split, reference.recipe.rows)


def _scores(plan: Plan, name: str, model: Model) -> tuple[np.ndarray, float]:
    """Raw scores (2q,) of one attack under one model, and the seconds they took when made."""
    view = _view(plan, name, model)
    config = _filed_under(plan, name, model, plan.queries)
    attack, filed = plan.attacks[name], _filed_under(plan, name, model)
    _renew(plan, name, "learnt", filed)
    _renew(plan, name, "scores", config)
    note = scoring.note_of(name, plan.config.attack[name])
    score, learning = scoring.ready(plan.store, filed, note, attack, view)

    def make(folder: Path) -> None:
        log.info("attack %s: %d queries", name, len(plan.queries))
        try:
            work = scoring.place(folder, note)
            scores = scoring.score_all(
                score, view, plan.queries.blocks(scoring.chunk(attack)), work
            )
        except ValueError as error:
            raise ValueError(f"attack.{name}: {error}") from error
        np.save(folder / "scores.npy", scores)

    folder = plan.store.get("scores", config, make, note)
    return np.load(folder / "scores.npy"), float(read_meta(folder)["seconds"]) + learning


def _renew(plan: Plan, name: str, kind: str, filed: dict[str, Any]) -> None:
    """Drop an entry of other code of an attack, where `machine.renew` names it.

    What the present code made stays: a job that is stopped goes on, and jobs share what they made.
    """
    if name in plan.config.machine.renew and plan.store.has(kind, filed):
        made = read_meta(plan.store.folder(kind, filed))["note"].get("code")
        if made != scoring.note_of(name, plan.config.attack[name])["code"]:
            plan.store.drop(kind, filed)


def _code(plan: Plan, victim: Model) -> dict[str, str]:
    """Attack -> digest of the code that made its scores, of those that have any."""
    found = {}
    for name in plan.attacks:
        filed = _filed_under(plan, name, victim, plan.queries)
        if plan.store.has("scores", filed):
            note = read_meta(plan.store.folder("scores", filed))["note"]
            found[name] = str(note.get("code", ""))
    return found


def _view(plan: Plan, name: str, model: Model) -> Any:
    """What an attack may touch of a model; raises NoAccess where the model has no such part."""
    access, batch_size = plan.attacks[name].access, plan.config.machine.batch_size
    auxiliary: dict[str, Any] = knowledge.records(access, plan.split, plan.dataset)
    if knowledge.has_shadows(access):
        auxiliary["shadows"] = knowledge.shadows(plan.shadows, plan.split, plan.dataset)
    samples = model.outputs if issubclass(access, PartialBlackBox) else model.released
    return model.victim.view(access, samples, model.codes, batch_size, **auxiliary)


def _filed_under(
    plan: Plan, name: str, model: Model, queries: Queries | None = None
) -> dict[str, Any]:
    """What determines whatever an attack learns, or finds for these queries."""
    access = plan.attacks[name].access
    learnt_on = [own.config for own in plan.shadows] if knowledge.has_shadows(access) else []
    return {
        "attack": plain(plan.config.attack[name]),
        "model": model.config,
        **knowledge.digests(access, plan.split, plan.dataset),
        **({"shadows": learnt_on} if learnt_on else {}),
        **({} if queries is None else {"queries": queries.digest}),
    }


def _canaries(plan: Plan, note: dict[str, Any]) -> pd.DataFrame:
    """What attacks show on canaries in one more training run; empty where none are asked for."""
    if not plan.config.canaries:
        return pd.DataFrame()
    dataset, recipe, split = planted(plan.config, plan.dataset, plan.split)
    queries = asked(dataset, split, plan.config.seed)
    own = dataclasses.replace(plan, dataset=dataset, split=split, queries=queries, references=[])
    model = obtain(recipe, dataset, plan.store, plan.config.machine, note)
    raws = {name: _raw(own, name, model, []).victim for name in plan.attacks}
    scores = {name: raw for name, raw in raws.items() if raw is not None}
    spent = promise.spent_or_none(model.privacy, len(split.members))
    return canaries.audit(scores, queries.is_member, spent, recipe.seed)


# --- result ---------------------------------------------------------------------------------------


def _result(
    plan: Plan, victim: Model, rows: pd.DataFrame, scores: pd.DataFrame, planted: pd.DataFrame
) -> JobResult:
    config = plain(plan.config)
    meta = read_meta(victim.folder)
    comparisons = pairs.compare(scores)
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
        samples=np.array(victim.released[:GRID]) if plan.dataset.is_image else None,
        strips=_strips(plan, victim, set(scores["attack"])) if plan.dataset.is_image else {},
        canaries=planted,
        checks=[
            *promise.broken(scores, victim.privacy, planted),
            *promise.nominal(victim.privacy),
            *_checks(plan, victim, rows, scores, comparisons),
        ],
        quality=_quality(plan, victim),
        code=_code(plan, victim),
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
    whole = [dict(row) for _, row in rows[rows["status"] == "ok"].iterrows()]
    found += checks.split_leaks(whole)
    found += checks.weaker_beats_stronger(whole, comparisons)
    found += pairs.same_order(scores)
    for name, group in scores[scores["calibrated"] == "none"].groupby("attack", sort=False):
        member = group["member"].to_numpy(bool)
        values = group["score"].to_numpy(float)
        found += checks.tied_scores(str(name), values[member], values[~member])
        found += checks.sign_error(str(name), values[member], values[~member])
    return found


def _strips(plan: Plan, victim: Model, ran: set[str]) -> dict[str, Strip]:
    """A few members and non-members beside what each reconstruction attack finds for them."""
    is_member = plan.queries.is_member
    shown = np.concatenate([np.flatnonzero(is_member)[:SHOWN], np.flatnonzero(~is_member)[:SHOWN]])
    return {
        name: _strip(plan, name, attack, victim, plan.queries.take(shown))
        for name, attack in plan.attacks.items()
        if isinstance(attack, Reconstructs) and name in ran
    }


def _strip(plan: Plan, name: str, attack: Any, victim: Model, shown: Queries) -> Strip:
    """One attack's reconstructions, kept in the store like its scores."""
    queries = shown.records(slice(None))
    config = _filed_under(plan, name, victim, shown)

    def make(folder: Path) -> None:
        fitting = memory.Fitting(_view(plan, name, victim))
        losses, found = fitting(lambda view: attack.reconstruct(view, queries))
        np.savez(folder / "strip.npz", losses=losses, reconstructions=found.numpy())

    _renew(plan, name, "strip", config)
    note = scoring.note_of(name, plan.config.attack[name])
    stored = np.load(plan.store.get("strip", config, make, note) / "strip.npz")
    return Strip(queries.numpy(), stored["reconstructions"], shown.is_member, stored["losses"])
