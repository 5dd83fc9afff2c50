"""The attacks that an audit can run: a plan of them, and their scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from tqdm import tqdm

from attacks.base import Attack, Particular, Reconstructs
from attacks.calibration.difference import Calibration
from attacks.full_black_box import NearestSample
from benchmark.audit.given.case import Case, content
from benchmark.config.build import build, build_all
from benchmark.config.commandline import one_line
from benchmark.data.queries import Queries
from benchmark.measures import metrics
from benchmark.measures.checks import FAILED
from benchmark.scores.scoring import Score, evaluations, note_of, ready, score_all
from benchmark.store.entries import WORK, Store, plain, read_meta
from victims.access import FullBlackBox, PartialBlackBox, View, setting
from victims.errors import Unsuited, UserError

log = logging.getLogger(__name__)

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
    attacks = build_all(config.attack, "attack")
    if not attacks:
        raise UserError("attack=[]: no attack is selected")
    calibrations = build_all(config.calibration, "calibration")
    for name, calibration in calibrations.items():
        if calibration.inside or calibration.outside > 1:
            raise UserError(
                f"calibration={name}: it needs reference models trained for it; an audit has "
                f"reference records: choose difference or none"
            )
    return Attacks(config, store, attacks, calibrations)


def plan(asked: Attacks, case: Case) -> list[Step]:
    """What each attack will do; raises UserError where none can run."""
    steps = [_step(name, attack, asked, case) for name, attack in asked.attacks.items()]
    if all(step.places is None for step in steps):
        raise _none_of(steps)
    return steps


def _step(name: str, attack: Attack, asked: Attacks, case: Case) -> Step:
    access = setting(attack.access)
    try:
        view = case.view(attack.access)
        if isinstance(attack, Particular):
            attack.refuse(case.space.shape)
    except UserError as error:
        return Step(name, access, f"not run: {error}", None)
    released = len(getattr(view, "released", ()))
    needed = getattr(attack, "samples_needed", 0)
    if needed > released:
        return Step(name, access, f"not run: it needs {needed} samples, there are {released}", None)
    places = np.arange(len(case.queries))
    if issubclass(attack.access, PartialBlackBox):
        places = _first(case.queries.is_member, asked.config.searched)
    member = case.queries.is_member[places]
    against = f" against {released} released samples" if released else ""
    what = f"{member.sum()} members and {(~member).sum()} non-members{against}"
    if len(_wanted(asked, case, name)) > 1:
        what += f", with and without {len(case.parts['reference'])} reference records"
    return Step(name, access, what, places)


def _first(is_member: np.ndarray, count: int) -> np.ndarray:
    """Places of the first members and as many first non-members; the queries are shuffled."""
    chosen = [np.flatnonzero(is_member)[:count], np.flatnonzero(~is_member)[:count]]
    return np.sort(np.concatenate(chosen))


def attack(
    asked: Attacks, case: Case, steps: list[Step]
) -> tuple[pd.DataFrame, pd.DataFrame, list[Step]]:
    """Rows and scores as in `JobResult`, and the plan as it was carried out.

    scores have the records' ids too. One attack that cannot run does not end the others: its row
    says why, see `_rows`. Raises UserError where none ran.
    """
    rows: list[dict[str, Any]] = []
    scores: list[pd.DataFrame] = []
    done: list[Step] = []
    for step in steps:
        for row, frame in _rows(asked, case, step):
            rows.append(row)
            if frame is not None:
                scores.append(frame)
            elif row["calibrated"] == "none":
                step = replace(step, what=row["status"], places=None)
        done.append(step)
    if not scores:
        raise _none_of(done)
    return pd.DataFrame(rows), pd.concat(scores, ignore_index=True), done


def _none_of(steps: list[Step]) -> UserError:
    reasons = "; ".join(f"{step.name}: {step.what}" for step in steps)
    return UserError(f"no attack can run: {reasons}")


def _rows(
    asked: Attacks, case: Case, step: Step
) -> Iterator[tuple[dict[str, Any], pd.DataFrame | None]]:
    """Rows of one attack with their scores; without where the status says why there are none.

    "not run: ..." where what was handed in does not suffice for it: as if it had not been selected.
    "failed: ..." where it was meant to work: then no absence of a leak is claimed.
    """
    spent = evaluations(asked.attacks[step.name])
    base = {"attack": step.name, "access": step.access, "evaluations": spent, "warnings": ""}
    if step.places is None:
        yield {**base, "calibrated": "none", "status": step.what}, None
        return
    queries = case.queries.take(step.places)
    member, left = queries.is_member, _wanted(asked, case, step.name)
    try:
        for variant, (values, seconds) in _variants(asked, case, step.name, queries):
            row = {**base, "calibrated": variant, "status": "ok", "seconds": seconds}
            columns = {
                "query": queries.numbers,
                "id": queries.ids,
                "member": member,
                "score": values,
            }
            frame = pd.DataFrame({"attack": step.name, "calibrated": variant} | columns)
            left.remove(variant)
            yield row | metrics.summary(values[member], values[~member]), frame
    except Exception as error:  # of any attack, and of anyone's generator
        status = f"not run: {error}"
        if not isinstance(error, Unsuited):
            log.warning("attack %s failed", step.name, exc_info=not isinstance(error, UserError))
            status = f"{FAILED}: {one_line(error) or type(error).__name__}"
        for variant in left:
            yield {**base, "calibrated": variant, "status": status}, None


def _wanted(asked: Attacks, case: Case, name: str) -> list[str]:
    """Raw scores ("none"), and calibrations where they are possible."""
    possible = "reference" in case.parts and isinstance(asked.attacks[name], Reconstructs)
    return ["none", *(asked.calibrations if possible else ())]


def _variants(
    asked: Attacks, case: Case, name: str, queries: Queries
) -> Iterator[tuple[str, tuple[np.ndarray, float]]]:
    """Scores and seconds of all that is wanted."""
    chosen = asked.attacks[name]
    view = case.view(chosen.access)
    filed = {"attack": plain(asked.config.attack[name]), **case.fingerprint(chosen.access)}
    note = note_of(name, asked.config.attack[name])
    score, learning = ready(asked.store, filed, note, chosen, view)
    rows = SEARCHED if issubclass(chosen.access, PartialBlackBox) else CHUNK
    if isinstance(view, FullBlackBox):
        raw, seconds = _stored(asked.store, filed, name, score, view, queries, rows)
    else:  # a discriminator is quick, and no array stands for it
        start = time.monotonic()
        raw = score_all(score, view, queries.blocks(rows))
        seconds = time.monotonic() - start
    yield "none", (raw, seconds + learning)
    if calibrations := _wanted(asked, case, name)[1:]:
        other, seconds = _by_reference(asked, case, queries)
        unseen = np.zeros((1, len(other)), bool)
        for variant in calibrations:
            calibrated = asked.calibrations[variant].combine(raw, other[None], unseen)
            yield variant, (calibrated, seconds)


def _by_reference(asked: Attacks, case: Case, queries: Queries) -> tuple[np.ndarray, float]:
    """Scores of the nearest reference record, whatever reconstructs the query from the victim.

    Deviation from Chen et al. 2020, section 5: they reconstruct from a reference generator.
    """
    distance = build(asked.config.distance, "distance")
    view = case.reference()
    nearest = NearestSample(distance, min(CANDIDATES, len(view.released)))
    filed = {"distance": plain(asked.config.distance), "reference": content(view.released)}
    return _stored(asked.store, filed, "reference", nearest.score, view, queries, CHUNK)


def _stored(
    store: Store,
    filed: dict[str, Any],
    name: str,
    score: Score,
    view: View,
    queries: Queries,
    rows: int,
) -> tuple[np.ndarray, float]:
    """Scores (q,) from the store or made now, and the seconds they took when made."""

    def make(folder: Path) -> None:
        blocks = tqdm(queries.blocks(rows), desc=name, unit="chunk", leave=False)
        np.save(folder / "scores.npy", score_all(score, view, blocks, folder / WORK))

    config = {**filed, "queries": queries.digest}
    folder = store.get("audit", config, make, {"attack": name})
    return np.load(folder / "scores.npy"), float(read_meta(folder)["seconds"])
