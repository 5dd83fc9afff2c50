"""One job: from a configuration to the rows of a table."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from attacks.base import Attack, Particular, Reconstructs
from attacks.calibration import Calibration
from attacks.ensemble import Ensemble
from benchmark import blind, canaries, checks, judging, knowledge, privacy, scoring
from benchmark.comparison import Comparison
from benchmark.config import build, build_all
from benchmark.data.dataset import Dataset, read
from benchmark.data.split import Split
from benchmark.models import GRID, Model, Recipe, obtain, obtain_all
from benchmark.references import (
    chosen,
    membership,
    recipes,
    refuse_unless_enough,
    suffices,
    victim_of,
)
from benchmark.result import JobResult, Strip
from benchmark.seeds import sub_seed
from benchmark.store import WORK, Store, key, plain, read_meta
from benchmark.table import Raw, Table
from victims.access import NoAccess, UserError, setting

log = logging.getLogger(__name__)

ACCELERATORS = "cpu", "gpu"
PRECISIONS = "32-true", "bf16-mixed"

SHOWN = 8
"""Members, and as many non-members, in a strip of reconstructions."""

SHOW_BAR = tqdm.__init__


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a job is going to do, checked before anything expensive starts."""

    config: DictConfig
    store: Store
    dataset: Dataset
    split: Split
    attacks: dict[str, Attack]
    calibrations: dict[str, Calibration]
    comparison: Comparison
    ensembles: dict[str, Ensemble]
    references: list[Recipe] = dataclasses.field(default_factory=list)
    """Recipes of the reference models; empty where nothing needs them."""

    @property
    def queries(self) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers (2q,) of the shuffled queries, and whether each is a member."""
        return self.split.queries(self.config.seed)

    @property
    def inside(self) -> np.ndarray:
        """Which reference model was trained on which query: (models, 2q) bool."""
        return membership(self.references, self.queries[0])

    @property
    def table(self) -> Table:
        """How raw scores become the rows of the table."""
        return Table(*self.queries, self.inside, self.calibrations, self.ensembles)


def run(config: DictConfig) -> JobResult:
    """Do one job; whatever the store holds is not done again."""
    set_up(config.machine)
    plan = prepare(config)
    note = {"data": plan.dataset.facts, "duplicates_dropped": plan.split.duplicates}
    note["machine"] = {name: config.machine[name] for name in ("accelerator", "precision")}

    unseeing = blind.rows(config, plan.store, plan.dataset, *plan.queries)
    made = plan.dataset, plan.store, config.machine, note
    victim = obtain(_victim(config, plan.split), *made)
    references = obtain_all(plan.references, *made)
    raws = {name: _raw(plan, name, victim, references) for name in plan.attacks}
    rows, scores = plan.table.build(raws)
    rows = pd.concat([rows, unseeing], ignore_index=True)
    rows = privacy.columns(rows, scores, victim.privacy, len(plan.split.members))
    return _result(plan, victim, rows, scores, _canaries(plan, note))


def models(config: DictConfig, dataset: Dataset) -> list[dict[str, Any]]:
    """What each model of a job is filed under, the victim first; nothing is built or trained."""
    split = build(config.split, "split").draw(dataset, config.seed)
    found = [_victim(config, split)]
    if config.calibration or config.ensemble:
        found += recipes(chosen(config), split, config.seed, config.bank.size)
    return [recipe.config(dataset) for recipe in found]


def _victim(config: DictConfig, split: Split) -> Recipe:
    seed = sub_seed(config.seed, "victim")
    return Recipe(config.victim, split.members, seed, config.bank.size, "victim", config.dp)


def prepare(config: DictConfig) -> Plan:
    """Build everything that is cheap, and refuse what cannot work."""
    store = Store(Path(config.machine.store))
    store.check()
    splitter = build(config.split, "split")
    attacks = build_all(config.attack, "attack")
    calibrations = build_all(config.calibration, "calibration")
    comparison = Comparison(config.quality)
    for name, attack in attacks.items():
        needed = getattr(attack, "samples_needed", 0)
        if needed > config.bank.size:
            raise UserError(
                f"attack.{name} needs {needed} released samples, but bank.size={config.bank.size}; "
                f"raise bank.size or lower the attack's candidates or starts"
            )
    source = build(config.data, "data")
    dataset = read(store.get("data", source.identity(), source.prepare))
    split = splitter.draw(dataset, config.seed)
    for attack in attacks.values():
        if isinstance(attack, Particular):
            attack.refuse(dataset.shape)
    _refuse_without_access(config, dataset, split, attacks)
    privacy.refuse(config, source, dataset, len(split.members))
    if config.canaries:
        build(config.canaries, "canaries").check(split)
    ensembles = build_all(config.ensemble, "ensemble")
    comparison.load(dataset)
    plan = Plan(config, store, dataset, split, attacks, calibrations, comparison, ensembles)
    return _with_references(plan)


def _with_references(plan: Plan) -> Plan:
    """Choose what the reference models are trained on; refuse calibrations that need others."""
    if not plan.calibrations and not plan.ensembles:
        return plan
    seed, bank = plan.config.seed, plan.config.bank.size
    models = recipes(chosen(plan.config), plan.split, seed, bank)
    compared = dataclasses.replace(plan, references=models)
    for name, calibration in plan.calibrations.items():
        refuse_unless_enough(compared.inside, name, calibration)
    wanted = [suffices(compared.inside, ensemble) for ensemble in plan.ensembles.values()]
    return compared if plan.calibrations or any(wanted) else plan


def set_up(machine: DictConfig) -> None:
    """Threads and progress bars; neither may change a score beyond float rounding."""
    _refuse_unknown(machine)
    if machine.threads:
        torch.set_num_threads(machine.threads)
    torch.backends.cudnn.allow_tf32 = False  # else a GPU's convolutions keep three digits only
    # tqdm reads TQDM_DISABLE when it is imported, which is before any config is known.
    quiet = partialmethod(SHOW_BAR, disable=True)
    tqdm.__init__ = SHOW_BAR if machine.progress else quiet  # type: ignore


def _refuse_unknown(machine: DictConfig) -> None:
    """Refuse a device or a precision that this benchmark or this machine doesn't have."""
    for name, known in {"accelerator": ACCELERATORS, "precision": PRECISIONS}.items():
        if machine[name] not in known:
            raise UserError(f"machine.{name}={machine[name]}: allowed are {', '.join(known)}")
    if machine.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("machine.accelerator=gpu: this machine has no CUDA device; use cpu")
    if machine.batch_size < 1:
        raise UserError(f"machine.batch_size={machine.batch_size}: at least 1 is needed")


def _refuse_without_access(
    config: DictConfig, dataset: Dataset, split: Split, attacks: Mapping[str, Attack]
) -> None:
    """Build the victims once (cheap), name attacks without access, stop where none has any."""
    victim = build(config.victim, "victim", shape=dataset.shape)
    build(victim_of(config), "reference.victim", shape=dataset.shape)
    refused = {}
    for name, attack in attacks.items():
        try:
            victim.refuse_unless_offered(attack.access)
            knowledge.refuse_without(attack.access, split)
        except NoAccess as error:
            refused[name] = str(error)
            log.warning("attack=%s: %s; its rows will read n/a", name, error)
    if len(refused) == len(attacks):
        reasons = "; ".join(refused.values()) or "none is selected"
        raise UserError(f"attack={list(attacks)}: no attack can run on this victim: {reasons}")


# --- scores ---------------------------------------------------------------------------------------


def _raw(plan: Plan, name: str, victim: Model, references: list[Model]) -> Raw:
    """Raw scores of one attack under the victim and, where these compare, the reference models."""
    access = plan.attacks[name].access
    if not (victim.victim.can_grant(access) and knowledge.suffices(access, plan.split)):
        return Raw(setting(access))
    scores, seconds = _scores(plan, name, victim)
    comparable = all(model.victim.can_grant(access) for model in references)
    if not references or not comparable or knowledge.is_of_members(access):
        return Raw(setting(access), scores, None, seconds)
    found = [_scores(plan, name, reference) for reference in references]
    stacked = np.stack([scores for scores, _ in found])
    return Raw(setting(access), scores, stacked, seconds, sum(seconds for _, seconds in found))


def _scores(plan: Plan, name: str, model: Model) -> tuple[np.ndarray, float]:
    """Raw scores (2q,) of one attack under one model, and the seconds they took when made."""
    view = _view(plan, name, model)
    rows, _ = plan.queries
    config = _filed_under(plan, name, model, rows)
    attack, filed = plan.attacks[name], _filed_under(plan, name, model)
    score, learning = scoring.ready(plan.store, filed, name, attack, view)

    def make(folder: Path) -> None:
        log.info("attack %s: %d queries", name, len(rows))
        scores = scoring.score_all(score, view, _blocks(plan, rows, attack), folder / WORK)
        np.save(folder / "scores.npy", scores)

    folder = plan.store.get("scores", config, make, {"attack": name})
    return np.load(folder / "scores.npy"), float(read_meta(folder)["seconds"]) + learning


def _blocks(plan: Plan, rows: np.ndarray, attack: Attack) -> Iterator[tuple[int, Tensor]]:
    """(start, queries (<= n, *shape)) over the rows, as many at a time as are kept together."""
    together = scoring.chunk(attack)
    for start in range(0, len(rows), together):
        yield start, plan.dataset.records(rows[start : start + together])


def _view(plan: Plan, name: str, model: Model) -> Any:
    """What an attack may touch of a model; raises NoAccess where the model has no such part."""
    access, batch_size = plan.attacks[name].access, plan.config.machine.batch_size
    auxiliary = knowledge.records(access, plan.split, plan.dataset)
    return model.victim.view(access, model.released, model.codes, batch_size, **auxiliary)


def _filed_under(
    plan: Plan, name: str, model: Model, rows: np.ndarray | None = None
) -> dict[str, Any]:
    """What determines whatever an attack learns, or finds for the queries in these rows."""
    return {
        "attack": plain(plan.config.attack[name]),
        "model": model.config,
        **knowledge.digests(plan.attacks[name].access, plan.split, plan.dataset),
        **({} if rows is None else {"queries": plan.dataset.digest(rows)}),
    }


def _canaries(plan: Plan, note: dict[str, Any]) -> pd.DataFrame:
    """What attacks show on canaries in one more training run; empty where none are asked for."""
    if not plan.config.canaries:
        return pd.DataFrame()
    config, seed = plan.config, sub_seed(plan.config.seed, "canaries")
    dataset, split = build(config.canaries, "canaries").plant(plan.dataset, plan.split, seed)
    own = dataclasses.replace(plan, dataset=dataset, split=split, references=[])
    recipe = Recipe(
        config.victim, split.members, seed, config.bank.size, "victim with canaries", config.dp
    )
    model = obtain(recipe, dataset, plan.store, config.machine, note)
    raws = {name: _raw(own, name, model, []).victim for name in plan.attacks}
    scores = {name: raw for name, raw in raws.items() if raw is not None}
    spent = privacy.spent_or_none(model.privacy, len(split.members))
    return canaries.audit(scores, own.queries[1], spent, seed)


# --- result ---------------------------------------------------------------------------------------


def _result(
    plan: Plan, victim: Model, rows: pd.DataFrame, scores: pd.DataFrame, planted: pd.DataFrame
) -> JobResult:
    config = plain(plan.config)
    meta = read_meta(victim.folder)
    comparisons = judging.compare(scores)
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
        rows=rows.assign(best=judging.best(rows, comparisons)),
        scores=scores,
        comparisons=comparisons,
        sets=judging.set_curves(scores),
        samples=np.array(victim.released[:GRID]) if plan.dataset.is_image else None,
        strips=_strips(plan, victim) if plan.dataset.is_image else {},
        canaries=planted,
        checks=[
            *privacy.broken(scores, victim.privacy, planted),
            *_checks(plan, victim, rows, scores),
        ],
        quality=_quality(plan, victim),
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
    plan: Plan, victim: Model, rows: pd.DataFrame, scores: pd.DataFrame
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
    found += checks.mode_collapse(victim.released, real)
    whole = [dict(row) for _, row in rows[rows["status"] == "ok"].iterrows()]
    found += checks.split_leaks(whole)
    found += checks.weaker_beats_stronger(whole)
    for name, group in scores[scores["calibrated"] == "none"].groupby("attack", sort=False):
        member = group["member"].to_numpy(bool)
        values = group["score"].to_numpy(float)
        found += checks.tied_scores(str(name), values[member], values[~member])
        found += checks.sign_error(str(name), values[member], values[~member])
    return found


def _strips(plan: Plan, victim: Model) -> dict[str, Strip]:
    """A few members and non-members beside what each reconstruction attack finds for them."""
    rows, is_member = plan.queries
    shown = np.concatenate([np.flatnonzero(is_member)[:SHOWN], np.flatnonzero(~is_member)[:SHOWN]])
    return {
        name: _strip(plan, name, attack, victim, rows[shown], is_member[shown])
        for name, attack in plan.attacks.items()
        if isinstance(attack, Reconstructs) and victim.victim.can_grant(attack.access)
    }


def _strip(
    plan: Plan, name: str, attack: Any, victim: Model, rows: np.ndarray, is_member: np.ndarray
) -> Strip:
    """One attack's reconstructions, kept in the store like its scores."""
    queries = plan.dataset.records(rows)
    config = _filed_under(plan, name, victim, rows)

    def make(folder: Path) -> None:
        fitting = scoring.Fitting(_view(plan, name, victim))
        losses, found = fitting(lambda view: attack.reconstruct(view, queries))
        np.savez(folder / "strip.npz", losses=losses, reconstructions=found.numpy())

    stored = np.load(plan.store.get("strip", config, make) / "strip.npz")
    return Strip(queries.numpy(), stored["reconstructions"], is_member, stored["losses"])
