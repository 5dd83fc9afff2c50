"""What a job's config asks for: opened once, and made into objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig
from pydantic import NonNegativeInt, PositiveInt

from attacks.base import Attack
from attacks.calibration.difference import Calibration
from attacks.calibration.ensemble import Ensemble
from attacks.calibration.quantile import Quantile
from benchmark.config.build import (
    Chosen,
    build,
    build_all,
    check,
    choose_one,
    factory_of,
)
from benchmark.config.machine import Machine, machine_of
from benchmark.data.dataset import Source
from benchmark.data.split import RandomSplit
from benchmark.job.canaries import OneRun
from benchmark.job.filing import renewed_attacks
from benchmark.measures.blind import Blind
from benchmark.models.recipe import Blueprint
from benchmark.models.references import References
from benchmark.quality.samples import SampleQuality
from benchmark.scores import knowledge
from benchmark.scores.descriptors import Descriptor
from benchmark.scores.target import Attacker, attackers
from benchmark.store.keys import plain
from victims.access import View
from victims.errors import UserError


@dataclass(frozen=True)
class Request:
    """What a job's config asks for, as objects; nothing here has needed the job's data.

    settings: the whole config, as it stands beside results.
    victim, imitation: how the victim and the reference models are made. The attacker knows how the
    victim was trained, and imitates it unless the config says otherwise.
    references: what the reference models are trained on.
    quantiles: calibrations by records of the attacker's own, without reference models.
    descriptor: what images are compared by when copies are looked for; None: their pixels.
    canaries, blind: None where they are not wanted.
    """

    settings: dict[str, Any]
    machine: Machine
    seed: int
    source: Source
    splitter: RandomSplit
    victim: Blueprint
    imitation: Blueprint
    references: References
    attackers: dict[str, Attacker]
    calibrations: dict[str, Calibration]
    quantiles: dict[str, Quantile]
    ensembles: dict[str, Ensemble]
    quality: SampleQuality
    descriptor: Descriptor | None
    canaries: OneRun | None
    blind: Chosen[Blind] | None

    @property
    def attacks(self) -> dict[str, Attack]:
        """The selected attacks by name."""
        return {name: attacker.attack for name, attacker in self.attackers.items()}

    @property
    def compares(self) -> bool:
        """Whether reference models may be needed."""
        return bool(self.calibrations or self.ensembles or self.learning)

    @property
    def learning(self) -> list[str]:
        """The attacks that the victim admits and that learn on reference models."""
        admits = self.victim.victim.kind.can_grant
        kinds = {name: attacker.access for name, attacker in self.attackers.items()}
        return [name for name, own in kinds.items() if knowledge.has_shadows(own) and admits(own)]


def open_request(config: DictConfig) -> Request:
    """Build what needs no data; refuse values that cannot work, whatever the data are.

    Nothing else opens the config of a job, and nothing that this makes is made again.
    """
    machine = machine_of(config.machine)
    renewed = renewed_attacks(config)
    check("seed", config.seed, NonNegativeInt)
    victim = _blueprint_of_victim(config, machine)
    calibrations = build_all(config.calibration, "calibration")
    quantiles = {n: own for n, own in calibrations.items() if isinstance(own, Quantile)}
    return Request(
        settings=plain(config),
        machine=machine,
        seed=config.seed,
        source=build(config.data, "data"),
        splitter=build(config.split, "split"),
        victim=victim,
        imitation=_blueprint_of_references(config, victim),
        references=build(_without_settings(config.reference, "victim", "dp"), "reference"),
        attackers=_build_attackers(config, sorted(renewed)),
        calibrations={n: own for n, own in calibrations.items() if n not in quantiles},
        quantiles=quantiles,
        ensembles=build_all(config.ensemble, "ensemble"),
        quality=_build_quality(config.quality),
        descriptor=build(config.copies, "copies") if config.copies else None,
        canaries=build(config.canaries, "canaries") if config.canaries else None,
        blind=choose_one(config.blind, "blind") if config.blind else None,
    )


def _blueprint_of_victim(config: DictConfig, machine: Machine) -> Blueprint:
    check("bank.size", config.bank.size, PositiveInt)
    return Blueprint(
        victim=factory_of(config.victim, "victim"),
        bank=config.bank.size,
        dp=choose_one(config.dp, "dp") if config.dp else None,
        precision=machine.precision,
    )


def _blueprint_of_references(config: DictConfig, victim: Blueprint) -> Blueprint:
    """The victim's, but for what the config sets for reference models."""
    own, private = config.reference.victim, config.reference.dp
    factory = factory_of(own, "reference.victim") if own else victim.victim
    if not private or (victim.dp and plain(private) == victim.dp.settings):
        dp = victim.dp if private else None
    else:
        dp = choose_one(private, "reference.dp")
    return Blueprint(victim=factory, bank=victim.bank, dp=dp, precision=victim.precision)


def _build_attackers(config: DictConfig, renewed: list[str]) -> dict[str, Attacker]:
    attacks = build_all(config.attack, "attack")
    for name, attack in attacks.items():
        _refuse_unusable(name, attack)
        needed = getattr(attack, "samples_needed", 0)
        if needed > config.bank.size:
            raise UserError(
                f"attack.{name} needs {needed} released samples, but bank.size={config.bank.size}; "
                f"raise bank.size or lower the attack's candidates or starts"
            )
    return attackers(attacks, config.attack, renewed)


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


def _build_quality(config: DictConfig) -> SampleQuality:
    check("quality.size", config.size, NonNegativeInt)
    chosen = {kind: config[kind] for kind in ("images", "tables") if config[kind]}
    measures = {kind: choose_one(own, f"quality.{kind}") for kind, own in chosen.items()}
    return SampleQuality(config.size, measures)


def _without_settings(config: DictConfig, *names: str) -> DictConfig:
    """A part of a config but for some of its settings, which are somebody else's."""
    kept: Mapping[str, Any] = plain(config)
    return DictConfig({name: value for name, value in kept.items() if name not in names})
