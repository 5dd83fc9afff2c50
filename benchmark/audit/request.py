"""What an audit's config asks for: opened once, and made into objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import NonNegativeInt, PositiveInt

from attacks.base import Attack
from attacks.calibration.difference import Calibration
from attacks.calibration.quantile import only_by_models
from attacks.mixed import OfColumns
from benchmark.audit.arguments import SET, SOURCES
from benchmark.audit.given.inputs import Reading, name_of, place_of
from benchmark.audit.given.refusals import refuse_idle_options, refuse_too_little
from benchmark.audit.limits import SET_LIMIT, check_limits
from benchmark.config.build import Chosen, build, build_all, check, choose_one, fill_in
from benchmark.config.machine import Machine, machine_of
from benchmark.measures.blind import Blind
from benchmark.scores.descriptors import Descriptor
from benchmark.scores.target import Attacker, attackers
from benchmark.store.entries import Store
from benchmark.store.keys import plain
from victims.access import AccessibleDenoiser, VariationApi
from victims.errors import UserError

DIFFUSION = (AccessibleDenoiser, VariationApi)
"""Views that only a diffusion model grants."""
WHAT = "suspects= are records that may have been used, unseen= others that certainly were not"
LEAST_REFERENCES = 4
"""Reference models at least, in pairs: LiRA needs two with each record and two without it."""
LEAST_RUNS = 16
"""Runs for single records at least: with 4 and 4 on either side nothing could be proven."""
SETTINGS: dict[str, Any] = {
    "seed": NonNegativeInt,
    "searched": PositiveInt,
    "exposed": PositiveInt,
    "fit.runs": PositiveInt,
    "fit.references": PositiveInt,
    "fit.records": PositiveInt,
    "bank.size": PositiveInt,
    "show_records": bool,
    "records.ignore": str | int | list[Any],
    "records.categorical": str | int | list[Any],
    "records.missing": str | int | list[Any],
    "records.channels": Literal[1, 3] | None,
}
"""What settings must be that no constructor takes."""


@dataclass(frozen=True)
class Threshold:
    """Where a word begins. source: who says so."""

    value: float
    source: str


@dataclass(frozen=True)
class Thresholds:
    """Where the verdict's words begin; conf/audit.yaml explains each."""

    confidence: Threshold
    false_alarms: Threshold
    small: Threshold
    few: Threshold
    set_level: Threshold
    overlap: Threshold


@dataclass(frozen=True)
class Budget:
    """How often a training function is called.

    runs: trainings, all together. references: of these, on halves of the records. records: single
    records that the other runs are about. calibrations: of scores under reference models.
    """

    runs: int
    references: int
    records: int
    calibrations: dict[str, Calibration]


@dataclass(frozen=True)
class Request:
    """What an audit asks for, as objects; nothing here has read what was handed in.

    settings: the whole config, as it stands beside results.
    given: what was handed in, path or object, by the name it was given.
    model_options: how each kind of model is called, as its constructor takes it.
    bank_size: samples that a generator is asked for.
    distance: of records; attacks compare columns of tables by it if it is one of columns.
    descriptor: what images are compared by when copies are looked for; None: their pixels.
    searched: members, and non-members, that searches of the latent space try.
    blind: what tells whether members and non-members differ by themselves; None unless asked for.
    budget: None where no training function is given.
    limits: fail_if; None where there is no limit.
    exposed: how many exposed members are listed. show_records: whether they are also shown.
    """

    settings: dict[str, Any]
    given: dict[str, Any]
    machine: Machine
    store: Store
    seed: int
    reading: Reading
    model_options: dict[str, dict[str, Any]]
    bank_size: int
    attackers: dict[str, Attacker]
    calibrations: dict[str, Calibration]
    distance: Chosen[Any]
    descriptor: Descriptor | None
    searched: int
    blind: Blind | None
    budget: Budget | None
    thresholds: Thresholds
    limits: dict[str, float | None]
    exposed: int
    show_records: bool

    @property
    def asks_about_set(self) -> bool:
        """Whether the question is about a set of suspects as a whole."""
        return bool(SET.keys() & self.given.keys())

    @property
    def attacks(self) -> dict[str, Attack]:
        """The selected attacks by name."""
        return {name: attacker.attack for name, attacker in self.attackers.items()}

    @property
    def sources(self) -> dict[str, Any]:
        """What was handed in; suspects stand for members, and unseen records for non-members."""
        return {SET.get(name, name): source for name, source in self.given.items()}

    @property
    def named_settings(self) -> dict[str, Any]:
        """The settings, with inputs by their names."""
        names = {name: name_of(self.given.get(name)) for name in SOURCES}
        return self.settings | {"given": names}

    @property
    def repeatable_settings(self) -> dict[str, Any]:
        """The settings, with inputs by their whole paths: another audit can start from them."""
        places = {name: place_of(self.given.get(name)) for name in SOURCES}
        return self.settings | {"given": places}


def open_request(config: DictConfig, given: Mapping[str, Any]) -> Request:
    """Build what needs no records; refuse values that cannot work, whatever the records are.

    Nothing else opens an audit's config. given: name -> path or object, see SOURCES, or None.
    """
    if unknown := set(given) - set(SOURCES):
        raise UserError(f"{sorted(unknown)[0]}: allowed are {', '.join(SOURCES)}")
    limits = check_limits(plain(config.fail_if))
    _refuse_other_question(given, limits)
    there = {name: source for name, source in given.items() if source is not None}
    for setting, wanted in SETTINGS.items():
        check(setting, OmegaConf.select(config, setting), wanted)
    request = Request(
        settings=plain(config),
        given=there,
        machine=_open_machine(config),
        store=Store(Path(config.machine.store)),
        seed=config.seed,
        reading=_open_reading(config),
        model_options={n: plain(config[n]) for n in ("generator", "discriminator", "diffusion")},
        bank_size=config.bank.size,
        attackers=_build_attackers(config, of_diffusion="diffusion" in there),
        calibrations=_build_calibrations(config),
        distance=choose_one(config.distance, "distance"),
        descriptor=build(config.copies, "copies") if config.copies else None,
        searched=config.searched,
        blind=build(config.blind, "blind") if config.blind else None,
        budget=_build_budget(config) if "fit" in there else None,
        thresholds=_open_thresholds(plain(config.thresholds)),
        limits=limits,
        exposed=config.exposed,
        show_records=config.show_records,
    )
    refuse_too_little(request.sources)
    refuse_idle_options(request.model_options, request.sources)
    if request.descriptor is not None and request.asks_about_set:
        raise UserError("copies= has no effect beside suspects=: leave it out")
    return request


def _open_machine(config: DictConfig) -> Machine:
    machine = machine_of(config.machine)
    if machine.renew:
        raise UserError(
            f"machine.renew={machine.renew}: an audit renews nothing; delete {machine.store}"
        )
    return machine


def _open_reading(config: DictConfig) -> Reading:
    records = plain(config.records)
    for name in ("ignore", "categorical", "missing"):  # one may be given without brackets
        one = not isinstance(records[name], list)
        records[name] = [str(part) for part in ([records[name]] if one else records[name])]
    return Reading(**records)


def _build_attackers(config: DictConfig, *, of_diffusion: bool) -> dict[str, Attacker]:
    """The selected attacks, by the audit's distance of columns if it is one; UserError if none.

    Those on diffusion models only where one is given, or nothing else was selected.
    """
    selected = OmegaConf.create(plain(config.attack))
    if isinstance(build(config.distance, "distance"), OfColumns):
        fill_in(selected, "distance", config.distance, "attack")
    attacks = build_all(selected, "attack")
    if not of_diffusion:
        others = {n: own for n, own in attacks.items() if not issubclass(own.access, DIFFUSION)}
        attacks = others or attacks
    if not attacks:
        raise UserError("attack=[]: no attack is selected")
    return attackers(attacks, selected)


def _build_calibrations(config: DictConfig) -> dict[str, Calibration]:
    calibrations = only_by_models("calibration", build_all(config.calibration, "calibration"))
    for name, calibration in calibrations.items():
        if calibration.inside or calibration.outside > 1:
            raise UserError(
                f"calibration={name}: it needs reference models trained for it; an audit has "
                f"reference records: choose difference or none"
            )
    return calibrations


def _build_budget(config: DictConfig) -> Budget:
    """How often the training function is called; raises UserError where that cannot suffice."""
    count, runs = config.fit.references, config.fit.runs
    if count < LEAST_REFERENCES or count % 2 or count > runs:
        raise UserError(
            f"fit.references={count} is no even number from {LEAST_REFERENCES} to fit.runs={runs}"
        )
    if 0 < runs - count < LEAST_RUNS:
        raise UserError(
            f"fit.runs={runs}: fit.references={count} leaves {runs - count} for the worst records, "
            f"at least {LEAST_RUNS} (or none) are needed"
        )
    made = only_by_models("fit.calibration", build_all(config.fit.calibration, "fit.calibration"))
    return Budget(runs, count, config.fit.records, made)


def _open_thresholds(thresholds: Mapping[str, Any]) -> Thresholds:
    known = [field.name for field in fields(Thresholds)]
    if unknown := sorted(thresholds.keys() - {*known}):
        raise UserError(f"thresholds.{unknown[0]}: allowed are {', '.join(known)}")
    for title in known:
        threshold: Any = thresholds.get(title)
        value = threshold.get("value") if isinstance(threshold, Mapping) else None
        if not isinstance(value, int | float) or not 0 < value < 1:
            raise UserError(
                f"thresholds.{title}: {threshold}; needed are a value in (0, 1) and its source"
            )
        if not str(threshold.get("source") or "").strip():
            raise UserError(f"thresholds.{title}.source: a threshold needs a source")
    values = {t: Threshold(own["value"], own["source"]) for t, own in thresholds.items()}
    return Thresholds(**values)


def _refuse_other_question(given: Mapping[str, Any], limits: Mapping[str, float | None]) -> None:
    """Raise UserError where inputs or limits of the two questions are mixed."""
    if not SET.keys() & given.keys():
        if limits.get(SET_LIMIT) is not None:
            raise UserError(f"fail_if.{SET_LIMIT}: leave it out, it is a limit of suspects= alone")
        return
    for name in SET:
        if given.get(name) is None:
            raise UserError(f"{name}= is missing: {WHAT}")
    if odd := [name for name in SET.values() if given.get(name) is not None]:
        raise UserError(f"{odd[0]}= and suspects= are two questions, ask one: {WHAT}")
    if given.get("fit") is not None:
        raise UserError("fit= has no effect beside suspects=: leave it out, or ask about members=")
    asked = {name for name, limit in limits.items() if limit is not None}
    if others := sorted(asked - {SET_LIMIT}):
        raise UserError(f"fail_if.{others[0]}: of suspects= there is only fail_if.{SET_LIMIT}")
