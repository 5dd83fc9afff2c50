"""What a sweep is going to do and how long that takes, and at its end what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.job import record
from benchmark.job.filing import Filing
from benchmark.measures.numbers import count_of, format_duration
from benchmark.show.terminal import texts_as_table, wide_console
from benchmark.store.entries import Store, key, read_meta
from benchmark.sweep.compose import settings_of_job, varied_settings
from victims.errors import UserError

if TYPE_CHECKING:
    from benchmark.job.request import Request
    from benchmark.models.recipe import Blueprint
    from benchmark.sweep.compose import Job


@dataclass(frozen=True)
class Outlook:
    """What one job needs.

    state: "stored", "to do", or why it cannot run. models: those of its models, by key, that are
    stored, and missing: those that are not. seconds: of each attack, None where it was never run.
    """

    state: str
    models: dict[str, Blueprint] = field(default_factory=dict)
    missing: dict[str, Blueprint] = field(default_factory=dict)
    seconds: tuple[float | None, ...] = ()


class Past:
    """How long things took that the store holds."""

    def __init__(self, store: Store) -> None:
        self._models: dict[str, list[float]] = defaultdict(list)
        self._attacks: dict[str, list[float]] = defaultdict(list)
        for path in store.root.glob("victim/*/meta.json"):
            meta = read_meta(path.parent)
            self._models[_key_of_training(meta["config"])].append(meta["seconds"])
        for path in store.root.glob("scores/*/meta.json"):
            meta = read_meta(path.parent)
            name = _key_of_attack(meta["config"]["attack"], meta["config"]["model"]["victim"])
            if queries := meta["note"].get("queries"):
                self._attacks[name].append(meta["seconds"] / queries)

    def model(self, blueprint: Blueprint) -> float | None:
        """Median seconds that such a model took, on whatever records; None = never trained."""
        return _median_or_none(self._models[_key_of_training(blueprint.key_part())])

    def attack(self, attack: dict[str, Any], victim: dict[str, Any]) -> float | None:
        """Median seconds a query of the same attack on such a victim, None = never run."""
        return _median_or_none(self._attacks[_key_of_attack(attack, victim)])


def show_plan(jobs: Sequence[Job], store: Store) -> bool:
    """Print what each job needs, how many models are stored, and an estimate of the time.

    Returns whether every job can run.
    """
    past, rows, total, unknown = Past(store), [], 0.0, 0
    names = varied_settings(jobs)
    stored: set[str] = set()
    seen: set[str] = set()
    for job in jobs:
        ahead = outlook(job, past)
        stored |= ahead.models.keys()
        new = [model for name, model in ahead.missing.items() if name not in seen]
        seen |= ahead.missing.keys()
        parts = [*(past.model(model) for model in new), *ahead.seconds]
        total += sum(part or 0.0 for part in parts)
        unknown += parts.count(None)
        rows.append({"job": settings_of_job(job, names)} | _row_of_job(ahead, parts))
    done = sum(row["result"] == "stored" for row in rows)
    out = wide_console()
    out.print(texts_as_table("plan", pd.DataFrame(rows)))
    never = f"{unknown} trainings and attacks that were never run here"
    known = f"{format_duration(total)} without" if total else "unknown for"
    time = f"{known} {never}" if unknown else format_duration(total)
    out.print(
        f"{count_of(len(jobs), 'jobs')}, {done} with a result; "
        f"of the {len(stored | seen)} models of the others {len(stored)} are stored\n"
        f"time, one job after the other: {time}\n"
    )
    return all(row["result"] in ("stored", "to do") for row in rows)


def _row_of_job(ahead: Outlook, parts: Sequence[float | None]) -> dict[str, str]:
    if ahead.state != "to do":
        return {"result": ahead.state, "models stored": "", "time": ""}
    models = f"{len(ahead.models)} of {len(ahead.models) + len(ahead.missing)}"
    time = "unknown" if None in parts else format_duration(sum(part or 0.0 for part in parts))
    return {"result": ahead.state, "models stored": models, "time": time}


def outlook(job: Job, past: Past) -> Outlook:
    """What a job needs; nothing is made or fetched for it, not even its data is prepared."""
    # Here, because torch takes seconds, and a plan of stored jobs needs none of it.
    from benchmark.job.request import open_request

    try:
        if record.is_stored(job.filing):
            return Outlook("stored")
        request = open_request(job.config)
        models = _models_of_job(request, job.filing)
    except UserError as error:
        return Outlook(str(error))
    has = job.filing.store.has
    stored = {key(own): blueprint for own, blueprint in models if has("victim", own)}
    missing = {key(own): blueprint for own, blueprint in models if key(own) not in stored}
    return Outlook("to do", stored, missing, _attack_seconds(request, past, len(models)))


def _models_of_job(request: Request, filing: Filing) -> list[tuple[dict[str, Any], Blueprint]]:
    """What each model of a job is filed under, and how it is made; stand-ins before its data is."""
    from benchmark.data.dataset import read_dataset
    from benchmark.job.prepare import draw_records

    store, filed = filing.store, filing.result
    if store.has("data", filed["data"]):
        job = draw_records(request, store, read_dataset(store.folder("data", filed["data"])))
        return [(recipe.filed_under(data), recipe.blueprint) for recipe, data in job.models]
    count = request.references.count if request.compares else 0
    blueprints = [request.victim] + [request.imitation] * count
    blueprints += [request.victim] if request.canaries else []
    known = {name: filed[name] for name in ("data", "split", "seed")}
    return [({**known, **b.key_part(), "number": i}, b) for i, b in enumerate(blueprints)]


def _attack_seconds(request: Request, past: Past, models: int) -> tuple[float | None, ...]:
    """Seconds of each attack that the victim allows, under all models; with strangers' if asked."""
    from benchmark.scores.knowledge import why_no_strangers

    victim, split = request.victim.victim, request.splitter
    found: list[float | None] = []
    for attacker in request.attackers.values():
        if victim.kind.can_grant(attacker.access):
            asked = request.quantiles and not why_no_strangers(attacker.access)
            queries = 2 * split.queries * models + (split.reference if asked else 0)
            rate = past.attack(attacker.filed["attack"], victim.settings)
            found.append(None if rate is None else rate * queries)
    return tuple(found)


def _key_of_training(model: Mapping[str, Any]) -> str:
    """What models share whose training takes about the same time."""
    return key({name: model.get(name) for name in ("victim", "dp", "precision")})


def _key_of_attack(attack: Mapping[str, Any], victim: Mapping[str, Any]) -> str:
    """What attacks share that take about the same time."""
    settings = {name: value for name, value in attack.items() if name != "seed"}
    return key([settings, victim["_target_"]])


def _median_or_none(values: Sequence[float]) -> float | None:
    return median(values) if values else None


# --- the end --------------------------------------------------------------------------------------
