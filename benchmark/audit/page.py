"""The page of an audit: one HTML file that needs no network, for somebody who must decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark.audit import words
from benchmark.audit.advice import next_steps
from benchmark.audit.beside import AVERAGE_AND_WORST
from benchmark.audit.worst import Told
from benchmark.data import tiles
from benchmark.measures.numbers import format_number, format_percent
from benchmark.measures.result import JobResult
from benchmark.show import figures, html
from benchmark.show.html import (
    attack_table,
    closest_pictures,
    inline_figure,
    page_environment,
)
from benchmark.show.texts import copies_in_words, remarks_on, to_yaml

if TYPE_CHECKING:
    from benchmark.audit.facts import Exposed, RowPair
    from benchmark.audit.found import Found

CURVES = 4
"""ROC curves on the page."""


def render_audit(audit: Found) -> str:
    """The page as HTML; every text in it is escaped."""
    verdict, result = audit.verdict, audit.result
    template = page_environment().get_template("audit.html.j2")
    limits = [limit for limit, value in verdict.limits.items() if value is not None]
    return template.render(
        title=result.title,
        word=verdict.word,
        headline=audit.headline,
        gate=[
            (f"{limit}={verdict.limits[limit]:g}", verdict.exceeded.get(limit)) for limit in limits
        ],
        checks=result.checks,
        copies=copies_in_words(result.copies),
        closest=closest_pictures(result.closest),
        row_pairs=[_row_pair(pair) for pair in audit.closest],
        beside=audit.beside,
        meaning=words.write_meaning(verdict, audit.facts),
        next_steps=next_steps(verdict, audit.facts),
        table=attack_table(result.rows[result.rows["status"] == "ok"]),
        not_run=_not_run(result),
        curve=inline_figure(figures.draw_roc(_strongest_rows(result), log=True), "roc-log"),
        assumed=words.list_assumptions(audit.steps, audit.worst, audit.facts),
        not_tried=words.not_tried(audit.steps, audit.unselected, audit.worst),
        told=[_texts_of_statement(told) for told in audit.worst.list_told(verdict.level)],
        kinds_of_case=AVERAGE_AND_WORST,
        strongest=verdict.strongest.name,
        statements=verdict.statements,
        level=f"{verdict.level:.2%}",
        confidence=f"{verdict.thresholds.confidence.value:.0%}",
        thresholds=[{"name": name, **entry} for name, entry in asdict(verdict.thresholds).items()],
        details={
            "Counts": to_yaml(asdict(audit.facts)),
            "Configuration": to_yaml(result.config),
            "Provenance": to_yaml(result.provenance),
        },
        **_texts_of_exposed(audit.exposed),
    )


def render_set(
    result: JobResult, word: str, headline: list[str], exceeded: Mapping[str, str]
) -> str:
    """The page of an audit that asks whether a set was used."""
    template = page_environment().get_template("audit_set.html.j2")
    return template.render(
        title=result.title,
        word=word,
        headline=headline,
        exceeded=exceeded,
        checks=result.checks,
        table=attack_table(result.rows),
        details={
            "Configuration": to_yaml(result.config),
            "Provenance": to_yaml(result.provenance),
        },
    )


def _texts_of_statement(told: Told) -> dict[str, str]:
    """One statement about a single record as texts."""
    return {
        "id": told.id,
        "why": told.why,
        "by": told.by,
        "auroc": format_number(told.auroc),
        "interval": f"[{format_number(told.low)}, {format_number(told.high)}]",
        "proven": "recognised" if told.proven else "as guessing",
    }


def _not_run(result: JobResult) -> dict[str, list[str]]:
    """Why attacks have no numbers -> their names, each once."""
    found: dict[str, list[str]] = {}
    for _, row in result.rows[result.rows["status"] != "ok"].iterrows():
        names = found.setdefault("; ".join(remarks_on(row)), [])
        if row["attack"] not in names:
            names.append(str(row["attack"]))
    return found


def _strongest_rows(result: JobResult) -> JobResult:
    """The rows whose curves are drawn: more would hide each other."""
    return replace(result, rows=_furthest_rows(result.ok))


def _furthest_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows furthest from guessing, on either side."""
    return rows.loc[(rows["auroc"] - 0.5).abs().nlargest(CURVES).index]


def _texts_of_exposed(records: list[Exposed]) -> dict[str, Any]:
    """Texts of the most exposed records, and their pictures or cells where they may be shown."""
    pictures = any(isinstance(record.record, np.ndarray) for record in records)
    tables = [record for record in records if isinstance(record.record, dict)]
    cells: list[tuple[str, list[str]]] = []
    for record in tables:
        cells.append((record.id, _texts_of_cells(record.record)))
        if record.match is not None:
            cells.append(("closest released", _texts_of_cells(record.match)))
    return {
        "exposed": [_texts_of_record(record) for record in records],
        "pictures": pictures,
        "shown": pictures or bool(tables),
        "columns": list(tables[0].record) if tables else [],
        "cells": cells,
    }


def _row_pair(pair: RowPair) -> dict[str, Any]:
    """Texts of two rows, column by column, and whether they differ."""
    ours, theirs = _texts_of_cells(pair.record), _texts_of_cells(pair.sample)
    return {
        "title": "member" if pair.member else "non-member",
        "distance": format_number(pair.distance),
        "columns": list(pair.record),
        "cells": [(a, b, a != b) for a, b in zip(ours, theirs, strict=True)],
    }


def _texts_of_record(record: Exposed) -> dict[str, Any]:
    picture = None
    if isinstance(record.record, np.ndarray):
        sheet = record.record[None]
        if record.match is not None:
            sheet = np.stack([record.record, record.match])
        picture = html.data_uri(tiles.tile_images(sheet, columns=2, gap=1))
    return {
        "id": record.id,
        "score": f"{record.score + 0.0:.4g}",
        "above": "none" if record.above == 0 else format_percent(record.above),
        "closest": "n/a" if record.closest < 0 else str(record.closest),
        "distance": format_number(record.distance),
        "picture": picture,
    }


def _texts_of_cells(cells: dict[str, Any]) -> list[str]:
    return [f"{cell:.5g}" if isinstance(cell, float) else str(cell) for cell in cells.values()]
