"""What a job is going to do, put together and checked before anything expensive starts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attacks.base import Attack, Levelled, Particular
from attacks.calibration.difference import models_suffice
from attacks.distances import Compares
from benchmark.data.dataset import Dataset, read_dataset
from benchmark.data.queries import Queries
from benchmark.data.split import Split
from benchmark.job.request import Request
from benchmark.models import privacy
from benchmark.models.recipe import Recipe, Workshop
from benchmark.models.references import (
    membership_matrix,
    recipes_of_references,
    refuse_unless_enough,
)
from benchmark.scores import knowledge
from benchmark.scores.rows import Table
from benchmark.store.entries import Store
from benchmark.store.seeds import sub_seed
from victims.errors import NoAccess, Unsuited, UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One training of a victim, and who is asked about afterwards."""

    dataset: Dataset
    split: Split
    queries: Queries
    recipe: Recipe

    @property
    def is_attacked(self) -> bool:
        """Whether the selected attacks are tried; canaries that are gradients have their own."""
        return self.recipe.canaries is None


@dataclass(frozen=True)
class Prepared:
    """A job that can start: what it asks for, its data, and the models that it needs.

    trial: of the victim. canaries: one more, into which coins put canaries; None without them.
    references: recipes of the reference models; empty where nothing needs them.
    """

    request: Request
    store: Store
    trial: Trial
    canaries: Trial | None = None
    references: list[Recipe] = field(default_factory=list)

    @property
    def inside(self) -> np.ndarray:
        """Which reference model was trained on which query: (models, 2q) bool."""
        return membership_matrix(self.references, self.trial.queries.rows)

    @property
    def scores_references(self) -> bool:
        """Whether scores under reference models are used; attacks that learn there need none."""
        return bool(self.request.calibrations or self.request.ensembles or self.inside.any())

    @property
    def table(self) -> Table:
        """How raw scores become the rows of the table."""
        asked, request = self.trial.queries, self.request
        by_models = self.inside, request.calibrations, request.ensembles
        return Table(asked, *by_models, request.quantiles, self.strangers)

    @property
    def strangers(self) -> Queries:
        """The attacker's own records, which the victim has not seen, as queries."""
        rows = self.trial.split.reference
        return Queries(self.trial.dataset, rows, np.zeros(len(rows), bool), numbers=rows)

    @property
    def models(self) -> list[tuple[Recipe, Dataset]]:
        """The recipe of each model that the job needs, and its data; the victim's first."""
        trials = [self.trial, *([self.canaries] if self.canaries else [])]
        of_references = [(recipe, self.trial.dataset) for recipe in self.references]
        return [*((trial.recipe, trial.dataset) for trial in trials), *of_references]

    def workshop(self, trial: Trial) -> Workshop:
        """Where the models of a trial are made."""
        data, machine = self.trial, self.request.machine
        note: dict[str, Any] = {
            "data": data.dataset.facts,
            "duplicates_dropped": data.split.duplicates,
            "machine": {"accelerator": machine.accelerator, "precision": machine.precision},
        }
        return Workshop(dataset=trial.dataset, store=self.store, machine=machine, note=note)


def prepare(request: Request) -> Prepared:
    """Read the data, draw who is trained on, and refuse what cannot work; nothing is trained."""
    job = read_and_draw(request)
    for name, reason in _without_access(request, job.trial.split).items():
        log.warning("attack=%s: %s; its rows will read n/a", name, reason)
    _refuse_networks(job)
    if request.victim.dp is not None:
        privacy.refuse_encoding(request.victim.dp.made, request.source, job.trial.dataset.facts)
    request.quality.load_measure(job.trial.dataset)
    if request.descriptor is not None:
        request.descriptor.load()
    load_distances(job)
    return job


def read_and_draw(request: Request) -> Prepared:
    """Read the data from the store, where they are made once, and draw who is trained on."""
    store, source = Store(request.machine.store), request.source
    store.check()
    dataset = read_dataset(store.get("data", source.identity(), source.prepare))
    return draw_records(request, store, dataset)


def load_distances(job: Prepared) -> None:
    """Load the networks by which attacks compare records."""
    for attack in able_attacks(job.request, job.trial.split).values():
        if isinstance(attack, Compares):
            attack.distance.load()


def draw_records(request: Request, store: Store, dataset: Dataset) -> Prepared:
    """Which records each model is trained on, and who is asked about; nothing is built for it.

    Raises UserError where the data do not allow what is asked for.
    """
    split = request.splitter.draw_split(dataset, request.seed)
    trial = _trial_on_members(
        request, dataset, split, title="victim", seed=sub_seed(request.seed, "victim")
    )
    attacks = able_attacks(request, split).values()
    _refuse_shape([*attacks, *request.quantiles.values()], dataset.shape)
    for quantile in request.quantiles.values():
        quantile.refuse_few(len(split.reference))
    if request.descriptor is not None:
        request.descriptor.refuse(dataset.shape)
    return Prepared(
        request=request,
        store=store,
        trial=trial,
        canaries=_trial_with_canaries(request, dataset, split),
        references=_recipes_of_references(request, trial),
    )


def able_attacks(request: Request, split: Split) -> dict[str, Attack]:
    """The attacks by name that have the access they need; raises UserError where none has."""
    refused = _without_access(request, split)
    if len(refused) == len(request.attackers):
        reasons = "; ".join(dict.fromkeys(refused.values())) or "none is selected"
        selected = list(request.attackers)
        raise UserError(f"attack={selected}: no attack can run on this victim: {reasons}")
    return {name: own for name, own in request.attacks.items() if name not in refused}


def _without_access(request: Request, split: Split) -> dict[str, str]:
    """Attack -> why it has not the access it needs."""
    refused = {}
    for name, attacker in request.attackers.items():
        try:
            request.victim.victim.kind.refuse_unless_offered(attacker.access)
            knowledge.refuse_without(attacker.access, split)
        except NoAccess as error:
            refused[name] = str(error)
    return refused


def _trial_on_members(
    request: Request, dataset: Dataset, split: Split, *, title: str, seed: int
) -> Trial:
    """A training on the members of a split, with its queries shuffled by the job's seed."""
    rows, is_member = split.draw_queries(request.seed)
    queries = Queries(dataset, rows, is_member, numbers=rows)
    return Trial(dataset, split, queries, Recipe(request.victim, split.members, seed, title))


def _trial_with_canaries(request: Request, dataset: Dataset, split: Split) -> Trial | None:
    if request.canaries is None:
        return None
    request.canaries.check(split)
    seed = sub_seed(request.seed, "canaries")
    dataset, split = request.canaries.plant(dataset, split, seed)
    trial = _trial_on_members(request, dataset, split, title="victim with canaries", seed=seed)
    if not request.canaries.are_gradients:
        return trial
    return replace(trial, recipe=replace(trial.recipe, canaries=trial.queries.rows))


def _recipes_of_references(request: Request, trial: Trial) -> list[Recipe]:
    """Recipes of the reference models; refuses calibrations and attacks that need others."""
    if not request.compares:
        return []
    models = recipes_of_references(request.references, request.imitation, trial.split, request.seed)
    inside = membership_matrix(models, trial.queries.rows)
    for name, calibration in request.calibrations.items():
        refuse_unless_enough(inside, name, calibration)
    for name in request.learning:
        _refuse_undivided(name, models, trial.split)
    suits = any(models_suffice(inside, ensemble) for ensemble in request.ensembles.values())
    return models if request.calibrations or suits or request.learning else []


# --- what cannot work -----------------------------------------------------------------------------


def _refuse_shape(choices: Iterable[object], shape: tuple[int, ...]) -> None:
    """Refuse records that an attack or a calibration does not work on."""
    for choice in choices:
        if isinstance(choice, Particular):
            choice.refuse(shape)


def _refuse_undivided(name: str, models: Iterable[Recipe], split: Split) -> None:
    """Refuse reference models that left out none of the records that an attack learns on."""
    for recipe in models:
        try:
            knowledge.divided_records(recipe.rows, split)
        except Unsuited as error:
            raise UserError(f"attack.{name}: {error}; or leave the attack out") from error


def _refuse_networks(job: Prepared) -> None:
    """Build each network once, which is cheap; refuse what it, or its privacy, does not suit."""
    request, trial = job.request, job.trial
    network = request.victim.build_network(trial.dataset)
    if (levels := getattr(network, "timesteps", None)) is not None:  # diffusion models
        _refuse_levels(able_attacks(request, trial.split), levels)
    for one in (trial, job.canaries):
        if one is not None:
            privacy.refuse_privacy(one.recipe, network)
    if job.references and request.imitation != request.victim:
        try:
            network = request.imitation.build_network(trial.dataset)
        except UserError as error:
            raise UserError(f"reference models: {error}") from error
    for recipe in job.references:
        privacy.refuse_privacy(recipe, network)


def _refuse_levels(attacks: Mapping[str, Attack], levels: int) -> None:
    """Refuse attacks that ask for a noise level outside the victim's schedule."""
    for name, attack in attacks.items():
        if isinstance(attack, Levelled):
            try:
                attack.refuse_levels(levels)
            except Unsuited as error:
                raise UserError(f"attack.{name}: {error}") from error
