"""The attacks that an audit can run: a plan of them, and their scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from attacks.base import Attack, Reconstructs
from attacks.calibration import Calibration
from attacks.full_black_box import NearestSample
from benchmark import metrics
from benchmark.audit.case import Case, Queries
from benchmark.config import build, build_all
from benchmark.job import scored
from benchmark.store import WORK, Store, plain, read_meta
from victims.access import FullBlackBox, NoAccess, PartialBlackBox, UserError, setting

CANDIDATES = 5
"""Nearest reference records by L2 that the distance ranks again, as for the released samples."""
CHUNK = 4096
"""Queries scored together; each pass reads all released samples once."""
SEARCHED = 256
"""The same for a search in the latent space: what a killed one has to repeat at most."""


@dataclass(frozen=True)
class Step:
    """One attack of the plan: what it does, or why it cannot run.

    places: which queries it scores, (m,); None where it does not run.
    """

    name: str
    access: str
    what: str
    places: np.ndarray | None


@dataclass(frozen=True)
class Attacks:
    """What is asked of a case."""

    config: DictConfig
    store: Store
    attacks: dict[str, Attack]
    calibrations: dict[str, Calibration]


def choose(config: DictConfig, store: Store) -> Attacks:
    """Build the attacks and calibrations that were selected; raises UserError."""
    if config.searched < 1:
        raise UserError(f"searched={config.searched}: at least 1 is needed")
    attacks = build_all(config.attack, "attack")
    if not attacks:
        raise UserError("attack=[]: no attack is selected")
    return Attacks(config, store, attacks, build_all(config.calibration, "calibration"))


def plan(asked: Attacks, case: Case) -> list[Step]:
    """What each attack will do; raises UserError where none can run."""
    steps = [_step(name, attack, asked, case) for name, attack in asked.attacks.items()]
    if all(step.places is None for step in steps):
        reasons = "; ".join(f"{step.name}: {step.what}" for step in steps)
        raise UserError(f"no attack can run: {reasons}")
    return steps


def _step(name: str, attack: Attack, asked: Attacks, case: Case) -> Step:
    access = setting(attack.access)
    try:
        view = case.view(attack.access)
    except NoAccess as error:
        return Step(name, access, f"not run: {error}", None)
    released = len(getattr(view, "released", ()))
    needed = getattr(attack, "samples_needed", 0)
    if needed > released:
        return Step(name, access, f"not run: it needs {needed} samples, there are {released}", None)
    places = np.arange(len(case.queries.rows))
    if issubclass(attack.access, PartialBlackBox):
        places = _first(case.queries.is_member, asked.config.searched)
    member = case.queries.is_member[places]
    against = f" against {released} released samples" if released else ""
    what = f"{member.sum()} members and {(~member).sum()} non-members{against}"
    if asked.calibrations and "reference" in case.data and isinstance(attack, Reconstructs):
        what += f", with and without {len(case.data['reference'].values)} reference records"
    return Step(name, access, what, places)


def _first(is_member: np.ndarray, count: int) -> np.ndarray:
    """Places of the first members and as many first non-members; the queries are shuffled."""
    chosen = [np.flatnonzero(is_member)[:count], np.flatnonzero(~is_member)[:count]]
    return np.sort(np.concatenate(chosen))


def attack(asked: Attacks, case: Case, steps: list[Step]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and scores as in `benchmark.result.JobResult`; scores have the records' ids too."""
    rows: list[dict[str, Any]] = []
    scores: list[pd.DataFrame] = []
    for step in steps:
        base = {"attack": step.name, "access": step.access, "warnings": ""}
        if step.places is None:
            rows.append({**base, "calibrated": "none", "status": step.what})
            continue
        queries = case.queries.take(step.places)
        member = queries.is_member
        for variant, (values, seconds) in _variants(asked, case, step.name, queries):
            row = {**base, "calibrated": variant, "status": "ok", "seconds": seconds}
            rows.append(row | metrics.summary(values[member], values[~member]))
            columns = {"query": step.places, "id": queries.ids, "member": member, "score": values}
            scores.append(pd.DataFrame({"attack": step.name, "calibrated": variant} | columns))
    return pd.DataFrame(rows), pd.concat(scores, ignore_index=True)


def _variants(
    asked: Attacks, case: Case, name: str, queries: Queries
) -> Iterator[tuple[str, tuple[np.ndarray, float]]]:
    """Scores and seconds, raw ("none") and by calibration where that is possible."""
    chosen = asked.attacks[name]
    view = case.view(chosen.access)
    searches = issubclass(chosen.access, PartialBlackBox)
    job = Job(name, lambda q: chosen.score(view, q), SEARCHED if searches else CHUNK)
    if isinstance(view, FullBlackBox):
        config = {"attack": plain(asked.config.attack[name]), "model": case.digest(chosen.access)}
        raw, seconds = _stored(asked.store, config, job, queries)
    else:  # a discriminator is quick, and no content stands for it
        raw, seconds = _timed(job, queries, None)
    yield "none", (raw, seconds)
    if "reference" not in case.data or not isinstance(chosen, Reconstructs):
        return
    reference = case.data["reference"]
    nearest = NearestSample(
        build(asked.config.distance, "distance"), min(CANDIDATES, len(reference.values))
    )
    job = Job(f"{name}, reference", lambda q: nearest.score(case.reference(), q), CHUNK)
    config = {
        "distance": plain(asked.config.distance),
        "model": sha256(reference.digests.tobytes()).hexdigest(),
    }
    other, seconds = _stored(asked.store, config, job, queries)
    for variant, calibration in asked.calibrations.items():
        yield variant, (calibration.combine(raw, other[None]), seconds)


@dataclass(frozen=True)
class Job:
    """Scoring of queries, `rows` at a time."""

    title: str
    score: Callable[[Tensor], np.ndarray]
    rows: int


def _stored(
    store: Store, config: dict[str, Any], job: Job, queries: Queries
) -> tuple[np.ndarray, float]:
    """Scores (q,) from the store or made now, and the seconds they took when made."""

    def make(folder: Path) -> None:
        np.save(folder / "scores.npy", _timed(job, queries, folder / WORK)[0])

    digest = sha256(np.ascontiguousarray(queries.digests()).tobytes()).hexdigest()
    folder = store.get("audit", config | {"queries": digest}, make, {"job": job.title})
    return np.load(folder / "scores.npy"), float(read_meta(folder)["seconds"])


def _timed(job: Job, queries: Queries, scratch: Path | None) -> tuple[np.ndarray, float]:
    """Scores a chunk at a time, kept in `scratch` so that a killed audit goes on from there."""
    start, chunks = time.monotonic(), []
    places = np.arange(len(queries.rows))
    steps = range(0, len(places), job.rows)
    for first in tqdm(steps, desc=job.title, unit="chunk", leave=False):
        some = queries.records(places[first : first + job.rows])
        path = scratch and scratch / f"{first}.npy"
        chunks.append(scored(path, job.score, some))
    return np.concatenate(chunks), time.monotonic() - start
