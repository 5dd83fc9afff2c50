"""The attacks that an audit can run: a plan of them, and their scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from attacks.base import Attack, Levelled, Particular, Reconstructs
from attacks.distances import L2, Distance
from attacks.full_black_box import NearestSample
from attacks.mixed import ByKind
from benchmark.audit.given.case import Case
from benchmark.audit.request import Request
from benchmark.config.commandline import one_line
from benchmark.measures.checks import FAILED
from benchmark.scores.rows import Raw, Table, with_budgets
from benchmark.scores.target import Attacker, scores_of
from victims.access import PartialBlackBox, setting_of
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


class Attacked(NamedTuple):
    """The plan as it was carried out, and rows and scores as in `JobResult`."""

    steps: list[Step]
    rows: pd.DataFrame
    scores: pd.DataFrame


def plan_steps(request: Request, case: Case) -> list[Step]:
    """What each attack will do; raises UserError where none can run, or the distance is no choice
    for these records."""
    _refuse_distance(request.distance.made, case)
    steps = [_plan_step(name, own.attack, request, case) for name, own in request.attackers.items()]
    if all(step.places is None for step in steps):
        raise _none_of(steps)
    return steps


def distance_in_words(request: Request, case: Case) -> str:
    """How columns of a table are compared, or images if not by the default; else ""."""
    made, is_table = request.distance.made, case.parts["schema"] is not None
    is_default = isinstance(made, ByKind)
    if "released" not in case.parts or (is_default and not is_table):
        return ""
    if not is_table:
        return f"reconstructions are compared by {made.in_words}"
    plain = isinstance(made, L2) and not is_default
    scaled = ", numbers over their standard deviation among the released records" if plain else ""
    return f"columns are compared by {made.in_words}{scaled}"


def _refuse_distance(distance: Distance, case: Case) -> None:
    distance.refuse(case.space.shape)
    schema, as_stored = case.parts["schema"], isinstance(distance, L2)
    if schema is not None and schema.categories and as_stored and not isinstance(distance, ByKind):
        raise UserError(
            "distance: l2 and euclidean would count a category twice; choose distance=by_kind (the "
            "meaning of l2 in earlier audits), standardised or gower"
        )


def _plan_step(name: str, attack: Attack, request: Request, case: Case) -> Step:
    access = setting_of(attack.access)
    try:
        view = case.view(attack.access)
        if isinstance(attack, Particular):
            attack.refuse(case.space.shape)
        if isinstance(attack, Levelled):
            attack.refuse_levels(view.timesteps)
    except UserError as error:
        return Step(name, access, f"not run: {error}", None)
    released = len(getattr(view, "released", ()))
    needed = getattr(attack, "samples_needed", 0)
    if needed > released:
        few = f"{FAILED}: it needs {needed} samples, there are {released}; give more"
        return Step(name, access, few, None)
    places = np.arange(len(case.queries))
    if issubclass(attack.access, PartialBlackBox):
        places = _first_places(case.queries.is_member, request.searched)
    member = case.queries.is_member[places]
    against = f" against {released} released samples" if released else ""
    what = f"{member.sum()} members and {(~member).sum()} non-members{against}"
    if _can_calibrate(request, case, name):
        what += f", with and without {len(case.parts['reference'])} reference records"
    return Step(name, access, what, places)


def _first_places(is_member: np.ndarray, count: int) -> np.ndarray:
    """Places of the first members and as many first non-members; the queries are shuffled."""
    chosen = [np.flatnonzero(is_member)[:count], np.flatnonzero(~is_member)[:count]]
    return np.sort(np.concatenate(chosen))


def run_attacks(request: Request, case: Case, steps: list[Step]) -> Attacked:
    """Carry out the plan.

    Scores have the records' ids too. One attack that cannot run does not end the others: its row
    says why. "not run: ..." where what was handed in does not suffice for it: as if it had not been
    selected. "failed: ..." where it was meant to work: then no absence of a leak is claimed.
    Raises UserError where none ran.
    """
    raws = {step.name: _raw_scores(request, case, step) for step in steps}
    unseen = np.zeros((1, len(case.queries)), bool)
    rows, scores = Table(case.queries, unseen, request.calibrations, {}).build(raws)
    refused = {name: raw.refused for name, raw in raws.items() if raw.refused}
    done = [
        replace(step, what=refused[step.name], places=None) if step.name in refused else step
        for step in steps
    ]
    return Attacked(done, with_budgets(rows, request.attacks), scores)


def _none_of(steps: list[Step]) -> UserError:
    reasons = "; ".join(f"{step.name}: {step.what}" for step in steps)
    return UserError(f"no attack can run: {reasons}")


def _raw_scores(request: Request, case: Case, step: Step) -> Raw:
    """Raw scores of one attack and, where it can be calibrated, of the nearest reference record."""
    if step.places is None:
        return Raw(step.access, refused=step.what, compared=False)
    attacker, queries = request.attackers[step.name], case.queries.take(step.places)
    raw = Raw(step.access, places=step.places, compared=_can_calibrate(request, case, step.name))
    together = SEARCHED if issubclass(attacker.access, PartialBlackBox) else CHUNK
    try:
        scores, seconds = scores_of(attacker, case, queries, request.store, together)
    except Exception as error:  # of any attack, and of anyone's generator
        return raw._replace(refused=reason_of(step.name, error))
    raw = raw._replace(victim=scores, seconds=seconds)
    if not raw.compared:
        return raw
    try:
        nearest = _nearest_reference(request, case)
        other, seconds = scores_of(nearest, case.strangers, queries, request.store, CHUNK)
    except Exception as error:
        return raw._replace(alone=reason_of(step.name, error))
    return raw._replace(references=other[None], reference_seconds=seconds)


def reason_of(name: str, error: Exception) -> str:
    """What a row says of an error."""
    if isinstance(error, Unsuited):
        return f"not run: {error}"
    log.warning("attack %s failed", name, exc_info=not isinstance(error, UserError))
    return f"{FAILED}: {one_line(error) or type(error).__name__}"


def _can_calibrate(request: Request, case: Case, name: str) -> bool:
    """Whether an attack's scores can be set beside those of the reference records."""
    reconstructs = isinstance(request.attackers[name].attack, Reconstructs)
    return bool(request.calibrations) and "reference" in case.parts and reconstructs


def _nearest_reference(request: Request, case: Case) -> Attacker:
    """The nearest reference record's distance, whatever reconstructs the query from the victim.

    Deviation from Chen et al. 2020, section 5: they reconstruct from a reference generator.
    """
    nearest: Any = NearestSample(
        request.distance.made, min(CANDIDATES, len(case.parts["reference"]))
    )
    filed = {"distance": request.distance.settings}
    return Attacker("reference", nearest, filed, {"attack": "reference", "code": ""})
