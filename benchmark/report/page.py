"""All studies on one page that needs nothing but itself: no request leaves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from benchmark.measures.columns import Column, columns_of
from benchmark.measures.numbers import count_of, format_p_value, spaced_name
from benchmark.measures.result import Check
from benchmark.report.collect import SEED, Outcome, Study
from benchmark.report.edited import edited_since
from benchmark.report.findings import HOLDS, OPEN, Finding
from benchmark.report.pictures import filter_attributes, sample_grids, victim_pictures
from benchmark.report.replication import beside_published, replication_texts
from benchmark.report.sheet import Entry
from benchmark.report.tables import CAPTION, study_audits, study_cells, study_table
from benchmark.report.wording import command_line
from benchmark.show.html import page_environment
from benchmark.show.texts import canary_texts, to_yaml

FIGURES = {
    "auroc": "",
    "roc": "ROC curves, linear axes",
    "roc-log": "ROC curves, logarithmic axes",
}
"""Figure of a study -> what it is folded away under."""

FILTERS = {"data": "data", "victim": "victim", "attack": "attack", "access": "access"}
"""Column of a study's frame -> heading of the list that filters by it."""

VICTIM, JOB = ("victim", "data"), ("study", "job", "seed")
"""Columns of a study's frame that stand before and after the names of an attack's row."""


class Cut(NamedTuple):
    """A figure: its legend, and of each panel title, data, victim and picture."""

    legend: list[Entry]
    panels: list[tuple[str, str, str, Markup]]


def render_report(
    studies: Sequence[Study],
    sections: Sequence[Mapping[str, Any]],
    found: Sequence[Finding],
    published: pd.DataFrame,
) -> str:
    """The page as HTML; every text in it is escaped.

    sections: `study_section` of each study. published: numbers that papers print, the checked ones.
    """
    numbers = pd.concat([study.frame for study in studies], ignore_index=True)
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            headline=headline_of(studies, found),
            errors=list(dict.fromkeys(_error_lines(studies))),
            filters={name: _choices_of(numbers, name) for name in FILTERS},
            findings=[finding_texts(finding) for finding in found],
            studies=sections,
            caption=CAPTION,
            victims=list(victim_pictures(studies)),
            numbers=_all_numbers(_with_result(numbers)),
            jobs=list(_origins_of_jobs(studies)),
            published=published.to_dict("records"),
        )
    )


def headline_of(studies: Sequence[Study], found: Sequence[Finding]) -> list[str]:
    """What there is, in plain sentences."""
    done, jobs = sum(len(s.done) for s in studies), sum(len(s.outcomes) for s in studies)
    sentences = [f"{done} of {jobs} jobs have a result."]
    for source in dict.fromkeys(finding.claim.source for finding in found):
        verdicts = [finding.verdict for finding in found if finding.claim.source == source]
        tested = len(verdicts) - verdicts.count(OPEN)
        decided = f": {verdicts.count(HOLDS)} held, {tested - verdicts.count(HOLDS)} did not"
        sentences.append(
            f"Of {source}'s {len(verdicts)} claims {tested or 'none'} could be decided here"
            f"{decided if tested else ''}."
        )
    sentences += _reservations_of(studies)
    best = max(_all_cells(studies), key=lambda item: item[0], default=None)
    if best:
        sentences.append(f"The highest AUROC, picked after looking, is {best[0]:.3f}: {best[1]}.")
    return sentences


def _reservations_of(studies: Sequence[Study]) -> list[str]:
    """What a reader must know before the numbers: a scale that means nothing, jobs' warnings."""
    outcomes = [outcome for study in studies for outcome in study.done]
    tried = sum(outcome.job.config.scale.name == "smoke" for outcome in outcomes)
    warned = [found for outcome in outcomes if (found := _checks_at(outcome, "warning"))]
    every = ", ".join(dict.fromkeys(check.name for found in warned for check in found))
    sentences = []
    if tried:
        sentences.append(
            f"{count_of(tried, 'results')} at scale=smoke, which tries the software: the numbers "
            f"say nothing about any model."
        )
    if warned:
        sentences.append(
            f"{count_of(len(warned), 'results')} with warnings ({every}): see where they come from."
        )
    return [*sentences, *edited_since(outcomes)]


def _checks_at(outcome: Outcome, level: str) -> list[Check]:
    """What the checks of a job that is done found, of one level."""
    assert outcome.record is not None
    return [check for check in outcome.record.result.checks if check.level == level]


def _error_lines(studies: Iterable[Study]) -> Iterable[str]:
    """What makes numbers invalid, such as a broken promise of privacy."""
    for study in studies:
        for outcome in study.done:
            assert outcome.record is not None
            for check in _checks_at(outcome, "error"):
                yield f"{outcome.record.result.title}: {check.name}: {check.message}"


def _all_cells(studies: Iterable[Study]) -> Iterable[tuple[float, str]]:
    for study in studies:
        for group, rows in study_cells(study).items():
            for row, cell in rows.items():
                if cell.estimate.seeds and not cell.blind:
                    what = f"{row.text} against {group.victim} on {group.data}"
                    yield cell.estimate.mean, spaced_name(what)


def _with_result(numbers: pd.DataFrame) -> pd.DataFrame:
    """The rows of jobs that have a result."""
    return numbers[numbers["key"].notna()] if "key" in numbers else numbers.iloc[:0]


def _choices_of(numbers: pd.DataFrame, name: str) -> list[str]:
    return sorted(map(str, numbers[name].dropna().unique())) if name in numbers else []


def _access_by_attack(numbers: pd.DataFrame) -> dict[str, str]:
    """Attack -> access."""
    if "attack" not in numbers:
        return {}
    known = numbers.dropna(subset=["attack"]).drop_duplicates("attack")
    return dict(zip(known["attack"], known["access"], strict=True))


def finding_texts(finding: Finding) -> dict[str, Any]:
    """A finding for a reader."""
    shown = finding.weakest[1] if finding.parts else None
    return {
        "says": finding.claim.says,
        "verdict": finding.verdict,
        "scope": finding.scope if finding.verdict != OPEN else "",
        "kind": finding.verdict.replace(" ", "-"),
        "test": finding.test,
        "unit": finding.unit,
        "estimate": _estimate_text(shown) if shown else "",
        "p": format_p_value(finding.p_holm),
        "reason": finding.reason,
        "parts": {name: _estimate_text(part) for name, part in finding.parts.items()},
        "repetitions": _repetitions_text(finding, shown.seeds) if shown else "",
        "command": finding.command,
        "beside": finding_texts(finding.beside) if finding.beside else None,
    }


def _repetitions_text(finding: Finding, seeds: int) -> str:
    """How often: 3 seeds; where the verdict does not say of how many victims, that too."""
    own = count_of(seeds, finding.claim.of)
    return f"{own}, {finding.scope}" if finding.scope and finding.verdict == OPEN else own


def _estimate_text(estimate: Any) -> str:
    if np.isnan(estimate.low):
        return f"{estimate.mean:+.3f} (no interval)"
    return f"{estimate.mean:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def study_section(study: Study, drawn: Mapping[str, Cut]) -> dict[str, Any]:
    """What the page shows of a study; drawn: its figures by name."""
    made, accesses = study_table(study), _access_by_attack(study.frame)
    return {
        "name": study.name,
        "title": study.title,
        "command": study.command,
        "done": len(study.done),
        "jobs": len(study.outcomes),
        "lacking": [
            (command_line(o.job.alone), o.state, filter_attributes(study, o)) for o in study.lacking
        ],
        "labels": made.labels,
        "access": accesses,
        "attacks": [(attack, accesses[attack]) for attack in made.attacks],
        "numbers": made.numbers,
        "audits": audit_texts(study),
        "replication": replication_texts(beside_published(study)),
        "budgets": made.budgets,
        "rows": [
            {
                "names": names,
                "victim": names[0],
                "data": names[1],
                "cells": list(zip(made.attacks, made.cells_in_order(own_cells), strict=True)),
                "own": list(own.values()),
            }
            for names, own_cells, own in made.rows
        ],
        "figures": [(heading, drawn[name]) for name, heading in FIGURES.items() if name in drawn],
        "axis": study.axis,
        "several": study.seeds > 1,
        "grids": sample_grids(study),
    }


def audit_texts(study: Study) -> pd.DataFrame:
    """What canaries showed, as texts: what differs between jobs, then the bounds."""
    found = study_audits(study)
    if found.empty:
        return found
    names = [*study.labels, *([SEED] if study.seeds > 1 else [])]
    bounds = canary_texts(found.drop(columns=names).rename(columns={"count": "canaries"}))
    own = found[names].astype(str)
    return pd.concat([own, bounds.rename(columns={"canaries": "coins"})], axis=1)


def _all_numbers(rows: pd.DataFrame) -> dict[str, Any]:
    """The table of all numbers: victim and data, names of the row, where it stands, its numbers."""
    columns = columns_of("report")
    names = [column for column in columns if column.kind == "name"]
    numbers = [column for column in columns if column.kind != "name"]
    return {
        "names": [*VICTIM, *(column.heading for column in names), *JOB],
        "numbers": [column.heading for column in numbers],
        "rows": [_numbers_row(row, names, numbers) for _, row in rows.iterrows()],
    }


def _numbers_row(
    row: pd.Series, names: Sequence[Column], numbers: Sequence[Column]
) -> dict[str, Any]:
    """Names as texts; numbers as texts and as values that a browser sorts by, "" for NaN."""
    values = [row.get(column.name, np.nan) for column in numbers]
    texts = [
        str(row["status"])
        if column.kind == "score" and row["status"] != "ok"
        else column.line_of(row)
        for column in numbers
    ]
    return {
        **{name: str(row[name]) for name in (*FILTERS, "key")},
        "names": [
            *(spaced_name(row[name]) for name in VICTIM),
            *(column.line_of(row) for column in names),
            *(spaced_name(row["study"]), str(row["job"]), str(row["seed"])),
        ],
        "numbers": [
            (text, "" if pd.isna(value) else value)
            for text, value in zip(texts, values, strict=True)
        ],
    }


def _origins_of_jobs(studies: Iterable[Study]) -> Iterable[dict[str, Any]]:
    """Where the numbers of each job come from."""
    seen = set()
    for study in studies:
        for outcome in study.done:
            assert outcome.record is not None
            key, meta = outcome.record.folder.name, outcome.record.meta
            if key not in seen:
                seen.add(key)
                facts = {"command": command_line(outcome.job.alone), "key": key}
                facts |= {name: meta[name] for name in ("created", "seconds", "git", "versions")}
                checks = [f"{c.level}: {c.message}" for c in outcome.record.result.checks]
                yield filter_attributes(study, outcome) | {
                    "key": key,
                    "title": outcome.record.result.title,
                    "facts": to_yaml(facts),
                    "checks": checks,
                }
