"""A sweep: which jobs it has, and what became of them.

The jobs run wherever Hydra's launcher puts them; what became of them is read from the store alone.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.markup import escape

from benchmark import record
from benchmark.output import grid, terminal
from benchmark.record import Record
from benchmark.result import number
from benchmark.store import Store
from victims.access import UserError


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its overrides as on the command line, and its config."""

    overrides: tuple[str, ...]
    config: DictConfig

    @property
    def command(self) -> str:
        """The shell command that runs this job alone."""
        return shlex.join(["python", "-m", "benchmark", *self.overrides, "-m"])


class Summary(Callback):
    """Hydra's hook into a sweep: the table and the failures at its end, and the exit code."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print what became of the jobs; exit code 1 if any has no result."""
        if not summarise(jobs(config), Store(config.machine.store)):
            sys.exit(1)


def jobs(config: DictConfig) -> list[Job]:
    """The jobs of a composed multirun config (with its `hydra` node), in the order they run in.

    Raises UserError where a job's config cannot be composed or resolved.
    """
    loader = GlobalHydra.instance().config_loader()
    return [_job(loader, config, overrides) for overrides in _overrides(loader, config)]


def _overrides(loader: ConfigLoader, config: DictConfig) -> list[list[str]]:
    """Overrides of each job: the product of the sweep's parameters, as Hydra's sweeper makes it."""
    swept = [f"{name}={values}" for name, values in (config.hydra.sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=loader)
    parsed = parser.parse_overrides([*swept, *config.hydra.overrides.task])
    (batch,) = BasicSweeper.split_arguments(parsed, None)
    return batch


def _job(loader: ConfigLoader, sweep: DictConfig, overrides: Sequence[str]) -> Job:
    try:
        config = loader.load_sweep_config(sweep, list(overrides))
        OmegaConf.set_struct(config, False)
        config.pop("hydra")
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise UserError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}") from error
    return Job(tuple(overrides), config)


def summarise(all_jobs: Sequence[Job], store: Store) -> bool:
    """Print the sweep's table, then what failed and how to try again; whether all have a result."""
    found = [(job, record.find(job.config, store)) for job in all_jobs]
    varied = _varied(all_jobs)
    rows = [
        {**_place(job, varied), **_aurocs(entry)}
        for job, entry in found
        if isinstance(entry, Record)
    ]
    out = terminal()
    out.print(grid(f"{len(rows)} of {len(found)} jobs have a result", pd.DataFrame(rows)))
    for job, entry in found:
        if not isinstance(entry, Record):
            reason = entry["error"] if entry else "not finished"
            out.print(f"failed: {escape(reason)}\n  again: {escape(job.command)}", soft_wrap=True)
    return len(rows) == len(found)


def _varied(all_jobs: Sequence[Job]) -> list[str]:
    """The settings that differ between jobs."""
    values: dict[str, set[str]] = {}
    for job in all_jobs:
        for name, _, value in (override.partition("=") for override in job.overrides):
            values.setdefault(name, set()).add(value)
    return [name for name, found in values.items() if len(found) > 1]


def _place(job: Job, varied: Sequence[str]) -> dict[str, str]:
    own = dict(override.split("=", 1) for override in job.overrides)
    return {name.lstrip("+"): own.get(name, "") for name in varied}


def _aurocs(entry: Record) -> dict[str, str]:
    """AUROC by attack and calibration."""
    found = {}
    for _, row in entry.result.rows.iterrows():
        suffix = "" if row["calibrated"] == "none" else f" + {row['calibrated']}"
        found[f"{row['attack']}{suffix}".replace("_", " ")] = number(row["auroc"])
    return found
