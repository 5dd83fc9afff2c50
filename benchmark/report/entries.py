"""What attacks reached against trained models: the entries of a ranking.

An *entry* is an attack with its calibration. A *victim* is a kind of model on a data set with its
settings; its seeds are other models of the same kind. One that was trained twice under one seed may
have become two models: an entry keeps what it reached on each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
from omegaconf import OmegaConf

from benchmark.measures.result import NO_ACCESS
from benchmark.report.collect import Outcome, Row, Study
from benchmark.report.evidence import data_set_of
from victims.errors import UserError

OF_A_VICTIM = ("data", "victim", "dp", "split", "scale")
"""Parts of a config that make another victim; the seed makes another one of the same kind."""


class Result(NamedTuple):
    """What one entry reached against one trained model: its row of numbers, and its scores.

    training: when the model was trained. others: what the entry reached on other trainings of it.
    settings: of the job, without those of other entries. data: the name of the data set.
    """

    row: dict[Any, Any]
    scores: pd.DataFrame
    data: str
    training: str = ""
    others: tuple[Result, ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})

    @property
    def all(self) -> tuple[Result, ...]:
        """This one, then those on other trainings."""
        return self, *self.others


Entries = dict[Row, dict[str, dict[int, Result]]]
"""Entry -> victim -> seed -> result."""


def by_access(studies: Iterable[Study]) -> dict[str, Entries]:
    """Entries by the access that they need; those that never look at the victim are no attacks."""
    found: dict[str, Entries] = {}
    for outcome in (outcome for study in studies for outcome in study.done):
        victim, seed = victim_of(outcome), int(outcome.job.config.seed)
        for entry, row in outcome.numbers.items():
            if row["access"] != NO_ACCESS:
                victims = found.setdefault(str(row["access"]), {}).setdefault(entry, {})
                own, when = settings_of_entry(entry, outcome), training_of(outcome)
                scores, data = outcome.scored[entry], data_set_of(outcome)
                made = Result(row, scores, data, when, settings=own)
                seeds = victims.setdefault(victim, {})
                seeds[seed] = _with_other(entry, seeds[seed], made) if seed in seeds else made
    return found


def training_of(outcome: Outcome) -> str:
    """When the attacked model was trained: another time, it may have become another model."""
    return str(outcome.record.result.provenance.get("created", "")) if outcome.record else ""


def settings_of_entry(entry: Row, outcome: Outcome) -> dict[str, Any]:
    """The settings of a job by their full names, but for other attacks and other calibrations."""
    settings = outcome.job.filing.settings
    own = {"attack": entry.attack, "calibration": entry.calibrated}
    kept = {
        group: {name: part for name, part in settings[group].items() if name == chosen}
        for group, chosen in own.items()
    }
    return _by_full_name(settings | kept)


def _by_full_name(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        full = f"{above}{name}"
        found |= _by_full_name(value, f"{full}.") if isinstance(value, dict) else {full: value}
    return found


def _with_other(entry: Row, first: Result, other: Result) -> Result:
    """An entry's result with another one on the same victim: it may be of another training."""
    if not first.scores["score"].equals(other.scores["score"]):
        _refuse_other_settings(entry, first.settings, other.settings)
    known = {own.training for own in first.all}
    return first if other.training in known else first._replace(others=(*first.others, other))


def _refuse_other_settings(entry: Row, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            setting, values = name.removesuffix("._target_"), (one.get(name), other.get(name))
            raise UserError(
                f"{setting}: {entry.text} has results with {' and with '.join(map(str, values))}; "
                f"rank one value at a time, or give the attack another name"
            )


def victim_of(outcome: Outcome) -> str:
    """A name for whatever makes a victim but its seed, the same for every attack on it."""
    config = outcome.job.config
    parts = {name: OmegaConf.to_container(config[name]) for name in OF_A_VICTIM if name in config}
    return json.dumps(parts, sort_keys=True, default=str)
