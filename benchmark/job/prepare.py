"""What a job is going to do, put together and checked before anything expensive starts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import get_class
from omegaconf import DictConfig
from pydantic import NonNegativeInt, PositiveInt

from attacks.base import Attack, Levelled, Particular
from attacks.calibration.difference import Calibration
from attacks.calibration.ensemble import Ensemble
from attacks.distances import Compares
from benchmark.config.build import build, build_all, check, check_values, choices
from benchmark.config.machine import _refuse_mistyped
from benchmark.data.dataset import Dataset, read
from benchmark.data.queries import Queries
from benchmark.data.split import Split
from benchmark.models import privacy
from benchmark.models.recipe import Recipe, network
from benchmark.models.references import (
    References,
    chosen,
    membership,
    recipes,
    refuse_unless_enough,
    suffices,
    victim_of,
)
from benchmark.quality.samples import Comparison
from benchmark.scores import knowledge
from benchmark.scores.rows import Table
from benchmark.scores.target import Attacker, attackers
from benchmark.store.entries import Store
from benchmark.store.seeds import sub_seed
from victims.access import View
from victims.errors import NoAccess, Unsuited, UserError

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a job is going to do, checked before anything expensive starts."""

    config: DictConfig
    store: Store
    dataset: Dataset
    split: Split
    queries: Queries
    attacks: dict[str, Attacker]
    calibrations: dict[str, Calibration]
    comparison: Comparison
    ensembles: dict[str, Ensemble]
    references: list[Recipe] = dataclasses.field(default_factory=list)
    """Recipes of the reference models; empty where nothing needs them."""

    @property
    def inside(self) -> np.ndarray:
        """Which reference model was trained on which query: (models, 2q) bool."""
        return membership(self.references, self.queries.rows)

    @property
    def table(self) -> Table:
        """How raw scores become the rows of the table."""
        return Table(self.queries, self.inside, self.calibrations, self.ensembles)


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a config names that can be built without its data."""

    splitter: Any
    source: Any
    attacks: dict[str, Attack]
    calibrations: dict[str, Calibration]
    ensembles: dict[str, Ensemble]
    comparison: Comparison
    references: References | None
    """What reference models are trained on; None where nothing needs them."""


def parts(config: DictConfig) -> Parts:
    """Build what needs no data; refuse values that cannot work, whatever the data are."""
    _refuse_mistyped(config.machine)
    known = {*config.attack, *choices("attack")}
    if unknown := sorted({*config.machine.renew} - known):
        raise UserError(
            f"machine.renew={unknown}: there is no such attack; known are "
            f"{', '.join(sorted(known))}"
        )
    check("seed", config.seed, NonNegativeInt)
    check("bank.size", config.bank.size, PositiveInt)
    check_values(config.victim, "victim")
    splitter = build(config.split, "split")
    if config.blind:
        build(config.blind, "blind")
    attacks = build_all(config.attack, "attack")
    for name, attack in attacks.items():
        _refuse_unusable(name, attack)
        needed = getattr(attack, "samples_needed", 0)
        if needed > config.bank.size:
            raise UserError(
                f"attack.{name} needs {needed} released samples, but bank.size={config.bank.size}; "
                f"raise bank.size or lower the attack's candidates or starts"
            )
    if config.dp:
        build(config.dp, "dp")
    learns = _learns_on_references(config, attacks)
    return Parts(
        splitter,
        build(config.data, "data"),
        attacks,
        build_all(config.calibration, "calibration"),
        build_all(config.ensemble, "ensemble"),
        Comparison(config.quality),
        chosen(config) if config.calibration or config.ensemble or learns else None,
    )


def _learns_on_references(config: DictConfig, attacks: Mapping[str, Attack]) -> list[str]:
    """The attacks that this victim admits and that learn on reference models."""
    grants = get_class(config.victim._target_).can_grant  # type: ignore[attr-defined]
    kinds = {name: attack.access for name, attack in attacks.items()}
    return [name for name, own in kinds.items() if knowledge.has_shadows(own) and grants(own)]


def _refuse_shape(attacks: Iterable[Attack], shape: tuple[int, ...]) -> None:
    """Refuse records that an attack does not work on."""
    for attack in attacks:
        if isinstance(attack, Particular):
            attack.refuse(shape)


def _refuse_unusable(name: str, attack: Any) -> None:
    """Refuse a class that is no attack."""
    access, kind = getattr(attack, "access", None), type(attack).__name__
    if not (isinstance(access, type) and issubclass(access, View)):
        raise UserError(
            f"attack.{name}: {kind}.access must be the view that its score takes, one of the "
            f"classes in victims.access (access = FullBlackBox), not {access!r}"
        )
    if not callable(getattr(attack, "score", None)):
        raise UserError(f"attack.{name}: {kind} has no method score(view, queries) -> (n,)")


def prepare(config: DictConfig) -> Plan:
    """Build everything that is cheap, and refuse what cannot work."""
    store = Store(Path(config.machine.store))
    store.check()
    made = parts(config)
    dataset = read(store.get("data", made.source.identity(), made.source.prepare))
    split = made.splitter.draw(dataset, config.seed)
    able = _refuse_without_access(config, dataset, split, made.attacks)
    _refuse_shape(able, dataset.shape)
    privacy.refuse_encoding(config, made.source, dataset.facts)
    privacy.refuse(victim_recipe(config, split), dataset)
    if config.canaries:
        build(config.canaries, "canaries").check(split)
        privacy.refuse(planted(config, dataset, split)[1], dataset)
    made.comparison.load(dataset)
    for attack in able:
        if isinstance(attack, Compares):
            attack.distance.load()
    combiners = made.calibrations, made.comparison, made.ensembles
    queries = asked(dataset, split, config.seed)
    selected = attackers(made.attacks, config.attack, config.machine.renew)
    plan = Plan(config, store, dataset, split, queries, selected, *combiners)
    return _with_references(plan, made.references)


def _with_references(plan: Plan, references: References | None) -> Plan:
    """Choose what the reference models are trained on; refuse calibrations that need others."""
    if references is None:
        return plan
    seed, bank = plan.config.seed, plan.config.bank.size
    models = recipes(references, plan.split, seed, bank, plan.config.machine.precision)
    for recipe in models:
        privacy.refuse(recipe, plan.dataset)
    compared = dataclasses.replace(plan, references=models)
    for name, calibration in plan.calibrations.items():
        refuse_unless_enough(compared.inside, name, calibration)
    wanted = [suffices(compared.inside, ensemble) for ensemble in plan.ensembles.values()]
    attacks = {name: attacker.attack for name, attacker in plan.attacks.items()}
    learns = _learns_on_references(plan.config, attacks)
    for name in learns:
        _refuse_undivided(name, models, plan.split)
    return compared if plan.calibrations or any(wanted) or learns else plan


def _refuse_undivided(name: str, models: Iterable[Recipe], split: Split) -> None:
    """Refuse reference models that left out none of the records that an attack learns on."""
    for recipe in models:
        try:
            knowledge.divided(recipe.rows, split)
        except Unsuited as error:
            raise UserError(f"attack.{name}: {error}; or leave the attack out") from error


def _refuse_levels(attacks: Iterable[Attack], levels: int) -> None:
    """Refuse attacks that ask for a noise level outside the victim's schedule."""
    for attack in attacks:
        if isinstance(attack, Levelled):
            attack.refuse_levels(levels)


def _refuse_without_access(
    config: DictConfig, dataset: Dataset, split: Split, attacks: Mapping[str, Attack]
) -> list[Attack]:
    """Build the victims once (cheap), name attacks without access, stop where none has any.

    Returns the attacks that have the access they need.
    """
    victim = network(config.victim, dataset)
    network(victim_of(config), dataset, "reference.victim")
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
    able = [attack for name, attack in attacks.items() if name not in refused]
    if (levels := getattr(victim, "timesteps", None)) is not None:  # diffusion models
        _refuse_levels(able, levels)
    return able


def models(config: DictConfig, made: Parts, dataset: Dataset) -> list[dict[str, Any]]:
    """What each model of a job is filed under, the victim first; nothing is built or trained.

    Raises UserError where the job's parts do not suit its data.
    """
    offers = get_class(config.victim._target_).can_grant  # type: ignore[attr-defined]
    able = (attack for attack in made.attacks.values() if offers(attack.access))
    _refuse_shape(able, dataset.shape)
    split = made.splitter.draw(dataset, config.seed)
    found = [victim_recipe(config, split)]
    if made.references is not None:
        own = config.seed, config.bank.size, config.machine.precision
        found += recipes(made.references, split, *own)
        inside = membership(found[1:], split.queries(config.seed)[0])
        for name, calibration in made.calibrations.items():
            refuse_unless_enough(inside, name, calibration)
    configs = [recipe.config(dataset) for recipe in found]
    if config.canaries:
        joined, recipe, _ = planted(config, dataset, split)
        configs.append(recipe.config(joined))
    return configs


def asked(dataset: Dataset, split: Split, seed: int) -> Queries:
    """The queries of a split, shuffled by a job's seed."""
    rows, is_member = split.queries(seed)
    return Queries(dataset, rows, is_member, numbers=rows)


def planted(config: DictConfig, dataset: Dataset, split: Split) -> tuple[Dataset, Recipe, Split]:
    """The data with canaries, how the victim of the second run is made, and its split."""
    seed = sub_seed(config.seed, "canaries")
    dataset, split = build(config.canaries, "canaries").plant(dataset, split, seed)
    return dataset, _recipe(config, split, seed, "victim with canaries"), split


def victim_recipe(config: DictConfig, split: Split) -> Recipe:
    """How the victim of a job is made."""
    return _recipe(config, split, sub_seed(config.seed, "victim"), "victim")


def _recipe(config: DictConfig, split: Split, seed: int, title: str) -> Recipe:
    made = config.victim, split.members, seed, config.bank.size, title
    return Recipe(*made, config.dp, config.machine.precision)
