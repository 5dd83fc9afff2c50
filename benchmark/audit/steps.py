"""The attacks that an audit can run: a plan of them, and their scores."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from attacks.base import Attack, Levelled, Particular, Reconstructs
from attacks.calibration.difference import Calibration
from attacks.full_black_box import NearestSample
from benchmark.audit.given.case import Case
from benchmark.config.build import Chosen, build, build_all, choose_one
from benchmark.config.commandline import one_line
from benchmark.measures.blind import Blind
from benchmark.measures.checks import FAILED
from benchmark.scores.rows import Raw, Table, with_budgets
from benchmark.scores.target import Attacker, attackers, scores_of
from benchmark.store.entries import Store
from victims.access import AccessibleDenoiser, PartialBlackBox, VariationApi, setting_of
from victims.errors import Unsuited, UserError

log = logging.getLogger(__name__)

DIFFUSION = (AccessibleDenoiser, VariationApi)
"""Views that only a diffusion model grants."""
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
    """What is asked of a case.

    distance: to the reference records. searched: members, and non-members, that searches try.
    blind: what tells whether members and non-members differ by themselves, if that is asked.
    """

    store: Store
    attacks: dict[str, Attacker]
    calibrations: dict[str, Calibration]
    distance: Chosen[Any]
    searched: int
    blind: Blind | None


def choose_attacks(config: DictConfig, store: Store, given: Collection[str]) -> Attacks:
    """Build the attacks, calibrations and baseline that were selected; raises UserError.

    given: names of what was handed in. Attacks on diffusion models are asked for where one is
    given, or nothing else was selected: they would fill every other audit with rows that say no.
    """
    attacks = build_all(config.attack, "attack")
    others = {name: own for name, own in attacks.items() if not issubclass(own.access, DIFFUSION)}
    if "diffusion" not in given:
        attacks = others or attacks
    if not attacks:
        raise UserError("attack=[]: no attack is selected")
    calibrations = build_all(config.calibration, "calibration")
    for name, calibration in calibrations.items():
        if calibration.inside or calibration.outside > 1:
            raise UserError(
                f"calibration={name}: it needs reference models trained for it; an audit has "
                f"reference records: choose difference or none"
            )
    return Attacks(
        store=store,
        attacks=attackers(attacks, config.attack, config.machine.renew),
        calibrations=calibrations,
        distance=choose_one(config.distance, "distance"),
        searched=config.searched,
        blind=build(config.blind, "blind") if config.blind else None,
    )


def plan_steps(asked: Attacks, case: Case) -> list[Step]:
    """What each attack will do; raises UserError where none can run."""
    steps = [_plan_step(name, own.attack, asked, case) for name, own in asked.attacks.items()]
    if all(step.places is None for step in steps):
        raise _none_of(steps)
    return steps


def _plan_step(name: str, attack: Attack, asked: Attacks, case: Case) -> Step:
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
        return Step(name, access, f"not run: it needs {needed} samples, there are {released}", None)
    places = np.arange(len(case.queries))
    if issubclass(attack.access, PartialBlackBox):
        places = _first_places(case.queries.is_member, asked.searched)
    member = case.queries.is_member[places]
    against = f" against {released} released samples" if released else ""
    what = f"{member.sum()} members and {(~member).sum()} non-members{against}"
    if _can_calibrate(asked, case, name):
        what += f", with and without {len(case.parts['reference'])} reference records"
    return Step(name, access, what, places)


def _first_places(is_member: np.ndarray, count: int) -> np.ndarray:
    """Places of the first members and as many first non-members; the queries are shuffled."""
    chosen = [np.flatnonzero(is_member)[:count], np.flatnonzero(~is_member)[:count]]
    return np.sort(np.concatenate(chosen))


def run_attacks(
    asked: Attacks, case: Case, steps: list[Step]
) -> tuple[pd.DataFrame, pd.DataFrame, list[Step]]:
    """Rows and scores as in `JobResult`, and the plan as it was carried out.

    scores have the records' ids too. One attack that cannot run does not end the others: its row
    says why. "not run: ..." where what was handed in does not suffice for it: as if it had not been
    selected. "failed: ..." where it was meant to work: then no absence of a leak is claimed.
    Raises UserError where none ran.
    """
    raws = {step.name: _raw_scores(asked, case, step) for step in steps}
    unseen = np.zeros((1, len(case.queries)), bool)
    rows, scores = Table(case.queries, unseen, asked.calibrations, {}).build(raws)
    refused = {name: raw.refused for name, raw in raws.items() if raw.refused}
    done = [
        replace(step, what=refused[step.name], places=None) if step.name in refused else step
        for step in steps
    ]
    attacks = {name: attacker.attack for name, attacker in asked.attacks.items()}
    return with_budgets(rows, attacks), scores, done


def _none_of(steps: list[Step]) -> UserError:
    reasons = "; ".join(f"{step.name}: {step.what}" for step in steps)
    return UserError(f"no attack can run: {reasons}")


def _raw_scores(asked: Attacks, case: Case, step: Step) -> Raw:
    """Raw scores of one attack and, where it can be calibrated, of the nearest reference record."""
    if step.places is None:
        return Raw(step.access, refused=step.what, compared=False)
    attacker, queries = asked.attacks[step.name], case.queries.take(step.places)
    raw = Raw(step.access, places=step.places, compared=_can_calibrate(asked, case, step.name))
    together = SEARCHED if issubclass(attacker.access, PartialBlackBox) else CHUNK
    try:
        scores, seconds = scores_of(attacker, case, queries, asked.store, together)
    except Exception as error:  # of any attack, and of anyone's generator
        return raw._replace(refused=reason_of(step.name, error))
    raw = raw._replace(victim=scores, seconds=seconds)
    if not raw.compared:
        return raw
    try:
        nearest = _nearest_reference(asked, case)
        other, seconds = scores_of(nearest, case.strangers, queries, asked.store, CHUNK)
    except Exception as error:
        return raw._replace(alone=reason_of(step.name, error))
    return raw._replace(references=other[None], reference_seconds=seconds)


def reason_of(name: str, error: Exception) -> str:
    """What a row says of an error."""
    if isinstance(error, Unsuited):
        return f"not run: {error}"
    log.warning("attack %s failed", name, exc_info=not isinstance(error, UserError))
    return f"{FAILED}: {one_line(error) or type(error).__name__}"


def _can_calibrate(asked: Attacks, case: Case, name: str) -> bool:
    """Whether an attack's scores can be set beside those of the reference records."""
    reconstructs = isinstance(asked.attacks[name].attack, Reconstructs)
    return bool(asked.calibrations) and "reference" in case.parts and reconstructs


def _nearest_reference(asked: Attacks, case: Case) -> Attacker:
    """The nearest reference record's distance, whatever reconstructs the query from the victim.

    Deviation from Chen et al. 2020, section 5: they reconstruct from a reference generator.
    """
    nearest: Any = NearestSample(asked.distance.made, min(CANDIDATES, len(case.parts["reference"])))
    filed = {"distance": asked.distance.settings}
    return Attacker("reference", nearest, filed, {"attack": "reference", "code": ""})
