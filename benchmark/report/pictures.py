"""What victims generate, and what attacks reconstruct: pictures for the page."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmark.data import tiles
from benchmark.measures.numbers import format_number
from benchmark.measures.result import JobResult, Strip
from benchmark.report.collect import Group, Outcome, Study
from benchmark.report.plots import panel_of, title_of
from benchmark.report.tables import mean_victim_numbers, study_cells
from benchmark.show import html

SHOWN = 3
"""Pairs shown of members, and as many of non-members, per victim and reconstruction attack."""

ALONE = 36
"""Samples shown of each victim by itself."""

GRID = 25
"""Samples shown of each victim where several stand side by side."""


def filter_attributes(study: Study, outcome: Outcome) -> dict[str, str]:
    """What a job's part of the page is filtered by."""
    at = study.coordinates(outcome.job)
    return {name: str(at[name]) for name in ("data", "victim")}


def sample_grids(study: Study) -> list[dict[str, Any]]:
    """Samples side by side along the study's x, a row per victim; none where x changes no victim.

    A row: title, data, victim, and a cell for each x: x, the samples of the first seed that has
    some (or why there are none), the highest AUROC and the sample quality.
    """
    if study.x not in study.settings:
        return []
    rows: dict[Group, list[Group]] = {}
    for group in study.every_group:
        rows.setdefault(panel_of(study, group), []).append(group)
    found = []
    for victim, groups in rows.items():
        own = [_grid_cell(study, group) for group in groups]
        models = {key for cell in own for key in cell["models"]}
        if any(cell["samples"] for cell in own) and len(models) > 1:
            named = {"title": title_of(victim), "data": victim.data, "victim": victim.victim}
            found.append(named | {"cells": own})
    return found


def _grid_cell(study: Study, group: Group) -> dict[str, Any]:
    seeds = study.every_group[group]
    results = {seed: own.record.result for seed, own in seeds.items() if own.record}
    pictures = {seed: r.samples for seed, r in results.items() if r.samples is not None}
    seed = next(iter(pictures), None)
    return {
        "x": str(group.value_of(study.x)),
        "seed": seed,
        "samples": None if seed is None else _tiled(pictures[seed], GRID),
        "state": "; ".join(dict.fromkeys(own.state for own in seeds.values() if not own.record)),
        "facts": _facts_below(study, group) if results else [],
        "models": {result.provenance.get("victim key") for result in results.values()},
    }


def _tiled(samples: np.ndarray, count: int) -> str:
    """The first samples on a square sheet."""
    return html.data_uri(tiles.tile_images(samples[:count], int(np.sqrt(count))))


def _facts_below(study: Study, group: Group) -> list[str]:
    """The highest AUROC of all rows, and the first measure of sample quality."""
    every = study_cells(study)[group].items()
    known = [(row, cell) for row, cell in every if cell.estimate.seeds and not cell.blind]
    lines = []
    if known:
        row, best = max(known, key=lambda item: item[1].estimate.mean)
        how = "" if row.calibrated == "none" else f" + {row.calibrated}"
        lines.append(f"highest AUROC {best.text}: {row.attack}{how}".replace("_", " "))
    measured = list(mean_victim_numbers(study)[group].items())[:1]
    return lines + [f"{name} {own.text}" for name, own in measured]


def victim_pictures(studies: Iterable[Study]) -> Iterable[dict[str, Any]]:
    """One victim of each kind with images: samples, and what attacks reconstruct."""
    seen = set()
    for study in studies:
        for outcome in study.done:
            at = filter_attributes(study, outcome)
            assert outcome.record is not None
            result = outcome.record.result
            if result.samples is not None and tuple(at.values()) not in seen:
                seen.add(tuple(at.values()))
                yield at | {
                    "title": result.title,
                    "samples": _tiled(result.samples, ALONE),
                    "strips": _strips_by_attack(result),
                }


def _strips_by_attack(result: JobResult) -> dict[str, list[tuple[str, list[tuple[str, str]]]]]:
    """By attack: the name of a group, and its pairs with their distances."""
    return {
        attack: [
            ("members", _pair_pictures(strip, strip.member)),
            ("non-members", _pair_pictures(strip, ~np.asarray(strip.member, bool))),
        ]
        for attack, strip in result.strips.items()
        if strip.queries.ndim == 4
    }


def _pair_pictures(strip: Strip, mask: np.ndarray) -> list[tuple[str, str]]:
    own = zip(strip.queries[mask], strip.reconstructions[mask], strip.losses[mask], strict=True)
    return [
        (html.data_uri(tiles.pair_images(query, found)), format_number(float(loss)))
        for query, found, loss in itertools.islice(own, SHOWN)
    ]
