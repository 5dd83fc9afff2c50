"""Which jobs a sweep has, what the store holds of them, and all of it as one tidy frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt

from benchmark.config.build import check
from benchmark.job import record
from benchmark.job.record import Record
from benchmark.measures import copies
from benchmark.measures.metrics import Difference
from benchmark.measures.numbers import spaced_name
from benchmark.measures.result import JobResult
from benchmark.report.wording import (
    ABSENT,
    ATTACKS,
    command_line,
    names_of_paths,
    setting_of,
    without_folders,
    word_without_folders,
)
from benchmark.sweep import compose
from benchmark.sweep.compose import Job, settings_of_job, varied_settings, without_repeats

DONE = "done"
SEED = "seed"
BASIC = ("victim", "data")
"""Groups of conf/ that every table names."""


class Row(NamedTuple):
    """What names a row of a job's table."""

    attack: str
    calibrated: str

    @property
    def text(self) -> str:
        """The attack, and its calibration if it has one, for a reader."""
        how = "" if self.calibrated == "none" else f", calibrated ({self.calibrated})"
        return spaced_name(f"{self.attack}{how}")


class Group(NamedTuple):
    """What names a row of a study's table: all seeds of it are one group.

    settings: name and value of each setting that differs between jobs, in the study's order.
    """

    victim: str
    data: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def values(self) -> list[Any]:
        """In the order of `Study.labels`."""
        return [self.victim, self.data, *(value for _, value in self.settings)]

    def value_of(self, setting: str | None) -> Any:
        """The value of one setting."""
        return dict(self.settings)[str(setting)]

    def without(self, setting: str | None) -> Group:
        """The group in which this setting is left open."""
        return self._replace(settings=tuple(own for own in self.settings if own[0] != setting))

    def at(self, setting: str, value: Any) -> Group:
        """The group at a value of one more setting."""
        return self._replace(settings=(*self.settings, (setting, value)))


@dataclass(frozen=True)
class Outcome:
    """A job and what became of it: a record, or in `state` the reason why there is none."""

    job: Job
    state: str
    record: Record | None = None

    @cached_property
    def differences(self) -> dict[tuple[Row, Row], Difference]:
        """AUROC of row a minus row b on the same queries, by (a, b); a row: attack, calibrated."""
        found: dict[tuple[Row, Row], Difference] = {}
        if self.record:
            for pair in self.record.result.comparisons.to_dict("records"):
                a, b = (Row(pair[f"attack_{x}"], pair[f"calibrated_{x}"]) for x in "ab")
                value, low, high = pair["difference"], pair["low"], pair["high"]
                found[a, b] = Difference(value, low, high, pair["p_value"])
                found[b, a] = Difference(-value, -high, -low, pair["p_value"])
        return found

    @cached_property
    def scored(self) -> dict[Row, pd.DataFrame]:
        """Query, member and score of each row, in the order of the queries' numbers."""
        if not self.record:
            return {}
        groups = self.record.result.scores.groupby(["attack", "calibrated"], sort=False)
        return {Row(*map(str, row)): own.sort_values("query") for row, own in groups}

    @cached_property
    def scores(self) -> dict[Row, tuple[np.ndarray, np.ndarray]]:
        """Scores (n,) and membership (n,) bool of each row."""
        return {
            row: (own["score"].to_numpy(float), own["member"].to_numpy(bool))
            for row, own in self.scored.items()
        }

    @cached_property
    def numbers(self) -> dict[Row, dict[Any, Any]]:
        """The numbers of each row that has an AUROC, in the order of the job's table."""
        if not self.record:
            return {}
        rows = self.record.result.ok.to_dict("records")
        return {Row(str(row["attack"]), str(row["calibrated"])): row for row in rows}


@dataclass(frozen=True, eq=False)
class Study:
    """All jobs of one sweep, and what the store holds of them.

    lines: words of the command lines that make it. x: the setting that curves are drawn against, or
    None; axis: its name for a reader; absent: how a job without it is written (no privacy: ∞).
    """

    name: str
    title: str
    x: str | None
    lines: tuple[tuple[str, ...], ...]
    outcomes: tuple[Outcome, ...]
    axis: str = ""
    absent: str = ABSENT

    @property
    def command(self) -> str:
        """The shell command that makes this study."""
        return " && ".join(map(command_line, self.lines))

    @property
    def done(self) -> list[Outcome]:
        """The jobs that have a result."""
        return [outcome for outcome in self.outcomes if outcome.record]

    @property
    def lacking(self) -> list[Outcome]:
        """The jobs that have none."""
        return [outcome for outcome in self.outcomes if not outcome.record]

    @cached_property
    def settings(self) -> list[str]:
        """Settings that differ between jobs, without the seed: with BASIC they name a table row."""
        varied = varied_settings([outcome.job for outcome in self.outcomes])
        names = [name for name in varied if name not in (SEED, "sweep", *BASIC)]
        names = [ATTACKS if name == "attack" else name for name in names]
        return [name for name in names if self.x not in names or not self._follows(name)]

    def _follows(self, name: str) -> bool:
        """Whether a setting beside x (dp beside dp.epsilon) tells no more than who has an x."""
        group = str(self.x).rsplit(".", 1)[0]
        if name == self.x or not f"{name}.".startswith(f"{group}."):
            return False
        seen: dict[Any, set[Any]] = {}
        for job in (outcome.job for outcome in self.outcomes):
            has_x = setting_of(job, str(self.x)) != ABSENT
            at = *(job.choices.get(basic) for basic in BASIC), has_x
            own = setting_of(job, name) if name in job.given else None  # what it has by x alone
            seen.setdefault(at, set()).add(own)
        return all(len(values) == 1 for values in seen.values())

    @property
    def labels(self) -> list[str]:
        """Columns of `frame` that name a row of the study's table; see `Group`."""
        return [*BASIC, *self.settings]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per job, attack and calibration; a job without a result has one row, its state.

        Columns: study, job, data, victim, seed, the varied settings, those of `JobResult.rows`,
        `victim_numbers` by name, key, commit, created, command.
        """
        names = varied_settings([outcome.job for outcome in self.outcomes])
        frames = [self._frame_of(own, settings_of_job(own.job, names)) for own in self.outcomes]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    @cached_property
    def every_group(self) -> dict[Group, dict[int, Outcome]]:
        """The jobs by group, those of a victim together, and by seed."""
        found: dict[Group, dict[int, Outcome]] = {}
        for outcome in self.outcomes:
            at = self.coordinates(outcome.job)
            settings = tuple((name, at[name]) for name in self.settings)
            group = Group(at["victim"], at["data"], settings)
            found.setdefault(group, {})[int(outcome.job.config.seed)] = outcome
        victims = list(dict.fromkeys((group.victim, group.data) for group in found))
        together = sorted(found, key=lambda group: victims.index((group.victim, group.data)))
        return {group: found[group] for group in together}

    @cached_property
    def groups(self) -> dict[Group, dict[int, Outcome]]:
        """The jobs that have a result, likewise."""
        done = {
            at: {seed: outcome for seed, outcome in own.items() if outcome.record}
            for at, own in self.every_group.items()
        }
        return {at: own for at, own in done.items() if own}

    @property
    def seeds(self) -> int:
        """How many seeds were asked for."""
        return len({int(outcome.job.config.seed) for outcome in self.outcomes})

    def coordinates(self, job: Job) -> dict[str, Any]:
        """Where a job stands in the study: data, victim, seed and the settings that differ."""
        named = {name: job.choices.get(name, "") for name in BASIC}
        values = {name: setting_of(job, name) for name in self.settings}
        own = {name: self._paths[name].get(value, value) for name, value in values.items()}
        if own.get(self.x or "") == ABSENT:
            own[str(self.x)] = self.absent
        return named | {SEED: job.config.seed} | own

    @cached_property
    def _paths(self) -> dict[str, dict[Any, str]]:
        """How the values of each setting are written that are paths."""
        jobs = [outcome.job for outcome in self.outcomes]
        return {
            name: names_of_paths(setting_of(job, name) for job in jobs) for name in self.settings
        }

    def _frame_of(self, outcome: Outcome, title: str) -> pd.DataFrame:
        title = "  ".join(map(word_without_folders, title.split("  ")))
        at = {"study": self.name, "job": title, **self.coordinates(outcome.job)}
        if outcome.record is None:
            own = {"status": outcome.state, "command": command_line(outcome.job.alone)}
            return pd.DataFrame([at | own])
        result, meta = outcome.record.result, outcome.record.meta
        git = meta["git"] or {}
        origin = {
            "key": outcome.record.folder.name,
            "commit": (git.get("commit") or "") + (" (changed)" if git.get("dirty") else ""),
            "created": meta["created"],
            "command": command_line(outcome.job.alone),
        }
        rows = result.rows.assign(**at, **victim_numbers(result), **origin)
        return rows[[*at, *(name for name in rows.columns if name not in at)]]


def victim_numbers(result: JobResult) -> dict[str, float]:
    """Numbers about the victim itself by name: sample quality, training time, size, copies."""
    names = (*result.measures, "training seconds", "seconds per step", "parameters")
    found = {name: result.quality[name] for name in names if name in result.quality}
    return found | copies.differences_by_name(result.copies)


def studies_of(words: Sequence[str]) -> list[Study]:
    """The studies of a sweep's command line, in the order in which they run.

    Raises UserError for a seed that is no whole number: repetitions are told apart by it.
    """
    found: dict[str, tuple[list[Job], list[list[str]]]] = {}
    for part, own in compose.parts_and_jobs(words):
        for job in own:
            check("seed", job.config.seed, NonNegativeInt)
        jobs, lines = found.setdefault(part.name, ([], []))
        jobs += own
        if part.study not in lines:
            lines.append(part.study)
    return [_study_of(name, without_repeats(jobs), lines) for name, (jobs, lines) in found.items()]


def _study_of(name: str, jobs: Sequence[Job], lines: Sequence[Sequence[str]]) -> Study:
    about = jobs[0].config.get("study") or {}
    return Study(
        name=name,
        title=about.get("title") or name.replace("_", " ").capitalize(),
        x=about.get("x"),
        lines=tuple(map(tuple, lines)),
        outcomes=tuple(map(outcome_of, jobs)),
        axis=about.get("axis") or str(about.get("x") or "").replace("_", " "),
        absent=about.get("absent") or ABSENT,
    )


def outcome_of(job: Job) -> Outcome:
    """What the store holds of a job."""
    found = record.find_record(job.filing)
    if isinstance(found, Record):
        return Outcome(job, DONE, found)
    if found:
        return Outcome(job, f"failed: {without_folders(found['error'])}")
    started = record.is_started(job.filing)
    return Outcome(job, "interrupted, or still running" if started else "not started")
