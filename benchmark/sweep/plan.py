"""What a sweep is going to do and how long that takes, and at its end what became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd
from hydra.utils import get_class
from omegaconf import DictConfig

from benchmark.job import record
from benchmark.measures.numbers import count, duration
from benchmark.show.terminal import grid, terminal
from benchmark.store.entries import Store, key, plain, read_meta
from benchmark.sweep.compose import place, varied
from victims.errors import UserError

if TYPE_CHECKING:
    from benchmark.sweep.compose import Job


@dataclass(frozen=True)
class Outlook:
    """What one job needs.

    state: "stored", "to do", or why it cannot run. models: those of its models, by name, that are
    stored, and missing: those that are not; each with its config. seconds: of each attack, None
    where it was never run.
    """

    state: str
    models: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, Any] = field(default_factory=dict)
    seconds: tuple[float | None, ...] = ()


class Past:
    """How long things took that the store holds."""

    def __init__(self, store: Store) -> None:
        self._models: dict[str, list[float]] = defaultdict(list)
        self._attacks: dict[str, list[float]] = defaultdict(list)
        for path in store.root.glob("victim/*/meta.json"):
            meta = read_meta(path.parent)
            self._models[_training(meta["config"])].append(meta["seconds"])
        for path in store.root.glob("scores/*/meta.json"):
            meta = read_meta(path.parent)
            queries = (meta["files"]["scores.npy"]["bytes"] - 128) / 8  # float64 after the header
            name = _attack(meta["config"]["attack"], meta["config"]["model"]["victim"])
            self._attacks[name].append(meta["seconds"] / max(1.0, queries))

    def model(self, model: dict[str, Any]) -> float | None:
        """Median seconds that such a model took, on whatever records; None = never trained."""
        return _median(self._models[_training(model)])

    def attack(self, attack: dict[str, Any], victim: dict[str, Any]) -> float | None:
        """Median seconds a query of the same attack on such a victim, None = never run."""
        return _median(self._attacks[_attack(attack, victim)])


def show(jobs: Sequence[Job], store: Store) -> bool:
    """Print what each job needs, how many models are stored, and an estimate of the time.

    Returns whether every job can run.
    """
    past, rows, total, unknown = Past(store), [], 0.0, 0
    names = varied(jobs)
    stored: set[str] = set()
    seen: set[str] = set()
    for job in jobs:
        ahead = outlook(job.config, store, past)
        stored |= ahead.models.keys()
        new = [model for name, model in ahead.missing.items() if name not in seen]
        seen |= ahead.missing.keys()
        parts = [*(past.model(model) for model in new), *ahead.seconds]
        total += sum(part or 0.0 for part in parts)
        unknown += parts.count(None)
        rows.append({"job": place(job, names)} | _row(ahead, parts))
    done = sum(row["result"] == "stored" for row in rows)
    out = terminal()
    out.print(grid("plan", pd.DataFrame(rows)))
    never = f"{unknown} trainings and attacks that were never run here"
    known = f"{duration(total)} without" if total else "unknown for"
    time = f"{known} {never}" if unknown else duration(total)
    out.print(
        f"{count(len(jobs), 'jobs')}, {done} with a result; "
        f"of the {len(stored | seen)} models of the others {len(stored)} are stored\n"
        f"time, one job after the other: {time}\n"
    )
    return all(row["result"] in ("stored", "to do") for row in rows)


def _row(ahead: Outlook, parts: Sequence[float | None]) -> dict[str, str]:
    if ahead.state != "to do":
        return {"result": ahead.state, "models stored": "", "time": ""}
    models = f"{len(ahead.models)} of {len(ahead.models) + len(ahead.missing)}"
    time = "unknown" if None in parts else duration(sum(part or 0.0 for part in parts))
    return {"result": ahead.state, "models stored": models, "time": time}


def outlook(config: DictConfig, store: Store, past: Past) -> Outlook:
    """What a job needs; nothing is made or fetched for it, not even its data is prepared."""
    try:
        filed = record.filed_under(config)
        if record.is_stored(config, store, filed):
            return Outlook("stored")
        models = _models(config, store, filed["data"])
    except UserError as error:
        return Outlook(str(error))
    stored = {name: m for name, m in models.items() if store.has("victim", m)}
    missing = {name: m for name, m in models.items() if name not in stored}
    return Outlook("to do", stored, missing, _attack_seconds(config, past, len(models)))


def _models(config: DictConfig, store: Store, data: dict[str, Any]) -> dict[str, Any]:
    """Name -> config of the models that a job needs; stand-ins while its data is not prepared."""
    # Here, because torch takes seconds, and a plan of stored jobs needs none of it.
    from benchmark.data.dataset import read
    from benchmark.job.prepare import models, parts
    from benchmark.models import references

    checked = parts(config)
    if store.has("data", data):
        made = models(config, checked, read(store.folder("data", data)))
    else:
        count = 1 + (config.reference.count if config.calibration or config.ensemble else 0)
        at = {"data": data, "split": plain(config.split), "seed": config.seed}
        at |= {"precision": config.machine.precision}
        at |= {"dp": plain(config.dp)} if config.dp else {}
        victims = [config.victim] + [references.victim_of(config)] * (count - 1)
        victims += [config.victim] if config.canaries else []
        made = [at | {"victim": plain(v), "number": i} for i, v in enumerate(victims)]
    return {key(model): model for model in made}


def _attack_seconds(config: DictConfig, past: Past, models: int) -> tuple[float | None, ...]:
    """Seconds of each attack that the victim allows, under all models."""
    victim, queries = plain(config.victim), 2 * config.split.queries * models
    offers = get_class(victim["_target_"]).can_grant  # type: ignore[attr-defined]
    allowed = [a for a in config.attack.values() if offers(get_class(a._target_).access)]  # type: ignore[attr-defined]
    rates = [past.attack(plain(attack), victim) for attack in allowed]
    return tuple(None if rate is None else rate * queries for rate in rates)


def _training(model: Mapping[str, Any]) -> str:
    """What models share whose training takes about the same time."""
    return key([model["victim"], model.get("dp"), model.get("precision", "32-true")])


def _attack(attack: Mapping[str, Any], victim: Mapping[str, Any]) -> str:
    """What attacks share that take about the same time."""
    settings = {name: value for name, value in attack.items() if name != "seed"}
    return key([settings, victim["_target_"]])


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


# --- the end --------------------------------------------------------------------------------------
