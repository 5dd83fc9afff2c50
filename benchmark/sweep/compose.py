"""A sweep: which jobs it has, what is going to happen, and what became of them.

The jobs run wherever Hydra's launcher puts them; what became of them is read from the store alone.
A sweep that is no single product of values lists its parts, which run one after the other:

    study:
      parts:
        - {data: randhie_binary, victim: "medgan,vae_table"}   # values that belong together
        - {sweep: taxonomy}                                    # another sweep
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from benchmark.config.build import composing
from benchmark.config.commandline import alone, one_line, refuse_mistakes
from benchmark.job.filing import Filing
from benchmark.store.entries import plain
from victims.errors import UserError


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    words: its settings and the launcher's, as on the command line. config: resolved, no `hydra`.
    choices: which file was chosen from each group of conf/.
    """

    words: tuple[str, ...]
    config: DictConfig
    choices: dict[str, str]

    @cached_property
    def filing(self) -> Filing:
        """Where its record is filed."""
        return Filing(self.config)

    @property
    def command(self) -> str:
        """The shell command that runs this job alone."""
        return shlex.join(["python", "-m", "benchmark", *self.alone, "-m"])

    @property
    def alone(self) -> list[str]:
        """The words of that command."""
        return alone(self.words, self.config)

    @property
    def given(self) -> dict[str, str]:
        """Setting -> value, as the sweep or the command line gives it; what is about the job."""
        pairs = (word.lstrip("+").split("=", 1) for word in self.words if "=" in word)
        return {name: value for name, value in pairs if not name.startswith("study.")}


@dataclass(frozen=True)
class Part:
    """A product of values within a sweep: the words of its command line, and their config.

    study: the words that run the whole study that it belongs to.
    """

    words: list[str]
    config: DictConfig
    study: list[str]

    @property
    def name(self) -> str:
        """The study's."""
        return str(self.config.sweep or "jobs")


def list_jobs(words: Sequence[str]) -> list[Job]:
    """Every job of a sweep, with the jobs of its parts, from the words of its command line."""
    return [job for part, own in parts_and_jobs(words) for job in own]


def parts_of_sweep(words: Sequence[str]) -> list[Part]:
    """What a sweep consists of, in the order it runs in; just itself where it has no parts."""
    with _composing_sweep():
        return list(_parts_below(words))


def parts_and_jobs(words: Sequence[str]) -> list[tuple[Part, list[Job]]]:
    """The parts of a sweep, each with its jobs."""
    with _composing_sweep():
        return [(part, jobs_of_config(part.config)) for part in _parts_below(words)]


def jobs_of_config(config: DictConfig) -> list[Job]:
    """The jobs of a composed multirun config (with its `hydra` node), in the order they run in.

    Raises UserError where a job's config cannot be composed or resolved.
    """
    loader = GlobalHydra.instance().config_loader()
    swept = [f"{name}={values}" for name, values in (config.hydra.sweeper.params or {}).items()]
    given = OverridesParser.create(config_loader=loader).parse_overrides(
        [*swept, *config.hydra.overrides.task]
    )
    (batch,) = BasicSweeper.split_arguments(given, None)
    composer = _Composer(config, given)
    return [composer.job(words) for words in batch]


class _Composer:
    """Composes the jobs of a sweep; jobs that choose the same files differ in values only.

    Hydra composes the files first and sets the values then; it takes most of the time for the
    files, which is spent once here.
    """

    def __init__(self, sweep: DictConfig, given: Sequence[Override]) -> None:
        self.sweep, self.loader = sweep, GlobalHydra.instance().config_loader()
        self.values = {
            override.get_key_element()
            for override in given
            if override.type is OverrideType.CHANGE
            and not self.loader.get_group_options(override.key_or_group)
        }
        self.parser = OverridesParser.create()
        self.files: dict[tuple[str, ...], tuple[DictConfig, dict[str, str]]] = {}

    def job(self, words: Sequence[str]) -> Job:
        hydra = self.sweep.hydra.overrides.hydra
        own = [word for word in hydra if not word.startswith("hydra.mode=")]
        values = [word for word in words if word.split("=", 1)[0] in self.values]
        try:
            config, choices = self._of_files(tuple(word for word in words if word not in values))
            for override in self.parser.parse_overrides(values):
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            resolved = DictConfig(plain(config))  # once: it takes long
        except (HydraException, OmegaConfBaseException, UserError) as error:
            raise UserError(f"{' '.join(words)}: {one_line(error)}") from error
        return Job((*own, *words), resolved, choices)

    def _of_files(self, words: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
        if words not in self.files:
            config = self.loader.load_sweep_config(self.sweep, list(words))
            choices = {str(k): str(v) for k, v in config.hydra.runtime.choices.items()}
            with open_dict(config):
                config.pop("hydra")
            self.files[words] = config, choices
        config, choices = self.files[words]
        return copy.deepcopy(config), choices


class Files(CachingConfigRepository):
    """Reads each file of conf/ once; Hydra alone reads all of them for every config it composes.

    Gives copies: Hydra writes overrides into what it is given, and the next config would have them.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Files:
        return self

    def load_config(self, config_path: str) -> ConfigResult | None:
        """The content of a file, or None without one."""
        return copy.deepcopy(super().load_config(config_path))


@contextmanager
def _composing_sweep() -> Iterator[None]:
    with composing():
        loader = GlobalHydra.instance().config_loader()
        loader.repository = Files(loader.repository)  # type: ignore[attr-defined]
        yield


def _compose_config(words: Sequence[str]) -> DictConfig:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    refuse_mistakes(words)
    try:
        return hydra.compose_config("config", list(words), RunMode.MULTIRUN)
    except HydraException as error:
        raise UserError(one_line(error)) from error


def _parts_below(words: Sequence[str]) -> Iterator[Part]:
    config = _compose_config(words)
    found = OmegaConf.select(config, "study.parts") or []
    if not found:
        yield Part(list(words), config, list(words))
    for part, line in _parts_with_lines(words, found):
        if "sweep" in part:
            yield from _parts_below(line)
        else:
            yield Part(line, _compose_config(line), list(words))


def _parts_with_lines(
    words: Sequence[str], parts: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """Each part with its command line; a line that two of them share once.

    A part runs those choices given by hand that it names or that no part names. A part of which
    nothing is left is left out. Raises UserError where that is every part.
    """
    seen: list[list[str]] = []
    for part in parts:
        left = [_left_of(word, part, parts) for word in words]
        if "" not in left and (line := _with_settings(left, part)) not in seen:
            seen.append(line)
            yield part, line
    if parts and not seen:
        asked = " ".join(words)
        raise UserError(f"{asked}: no part of the sweep has all of this; study.parts=[] drops them")


def _left_of(word: str, part: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> str:
    """A word of the command line without the choices that only other parts name; maybe empty."""
    name, _, values = word.partition("=")
    named = [set(str(other[name]).split(",")) for other in parts if name in other]
    groups = GlobalHydra.instance().config_loader()
    if name not in part or "[" in word or not groups.get_group_options(name):
        return word
    others = set().union(*named) - set(str(part[name]).split(","))
    kept = [value for value in values.split(",") if value.strip() not in others]
    return f"{name}={','.join(kept)}" if kept else ""


def _with_settings(words: Sequence[str], part: Mapping[str, Any]) -> list[str]:
    """A command line with a part's settings; a setting that was given by hand stays."""
    name = part.get("sweep")
    if name:
        words = [f"+sweep={name}" if name_of_setting(word) == "sweep" else word for word in words]
    given = {name_of_setting(word) for word in words}
    own = [f"{k}={v}" for k, v in part.items() if k != "sweep" and k.lstrip("+") not in given]
    return [*own, *words]


def name_of_setting(word: str) -> str:
    """Which setting a word of a command line sets."""
    return word.split("=", 1)[0].lstrip("+")


def settings_of_job(job: Job, names: Sequence[str]) -> str:
    """The job's own settings, of those that differ between jobs (`varied_settings`)."""
    own = job.given
    return "  ".join(f"{name}={own[name]}" for name in names if name in own) or "the only one"


def varied_settings(jobs: Iterable[Job]) -> list[str]:
    """The settings that differ between jobs, in the order in which they are given.

    Lists of attacks only where nothing else tells two jobs apart: each table names its attacks.
    """
    values: dict[str, set[str]] = {}
    given = [job.given for job in jobs]
    for settings in given:
        for name in settings:
            values.setdefault(name, {other.get(name, "") for other in given})
    names = [name for name, found in values.items() if len(found) > 1]
    others = [name for name in names if name != "attack"]
    told_apart = {tuple(settings.get(name, "") for name in others) for settings in given}
    return others if len(told_apart) == len(given) else names


def without_repeats(jobs: Iterable[Job]) -> list[Job]:
    """Jobs without those that are the same as an earlier one: parts of a sweep may overlap."""
    found: dict[str, Job] = {}
    for job in jobs:
        found.setdefault(job.filing.name, job)
    return list(found.values())
