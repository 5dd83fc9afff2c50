"""One self-contained HTML page for a job: no request leaves it, and nothing runs in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from benchmark.data import tiles
from benchmark.measures import pairs
from benchmark.measures.columns import AUROC
from benchmark.measures.numbers import brief, number, p_value
from benchmark.measures.result import JobResult, Strip
from benchmark.show import figures, html
from benchmark.show.html import attack_table, environment, inline
from benchmark.show.texts import (
    better,
    copied,
    detected,
    made,
    name,
    planted,
    to_yaml,
)

COMPARED = 12
"""Rows of the table, the best ones, that are compared in pairs; the CSV has all."""

PAIRS = 8
"""Pairs shown of members, and as many of non-members, per reconstruction attack."""


def render(result: JobResult) -> str:
    """The page as HTML; every text in it is escaped."""
    template = environment().get_template("job.html.j2")
    return template.render(
        title=result.title,
        headline=headline(result),
        table=attack_table(result.rows),
        checks=result.checks,
        curves=_curves(result),
        matrix=_matrix(result),
        sets=None if result.sets.empty else inline(figures.set_accuracy(result), "sets"),
        detected=detected(result.detection),
        histograms=_histograms(result),
        canaries=None if result.canaries.empty else planted(result.canaries),
        copies=None if result.copies.empty else copied(result.copies),
        samples=_samples(result.samples),
        quality={name: [brief(x) for x in row] for name, row in result.measures.items()},
        made=made(result) if result.quality else "",
        strips={a: _groups(s) for a, s in result.strips.items() if s.queries.ndim == 4},
        details={
            "Configuration": to_yaml(result.config),
            "Provenance": to_yaml(result.provenance),
        },
    )


def headline(result: JobResult) -> list[str]:
    """The finding in plain sentences."""
    ok = result.ok
    if ok.empty:
        return ["No attack gave a result."]
    best = ok.iloc[int(ok["auroc"].argmax())]
    wins = 100 * best["auroc"]
    won = sum(better(row) for _, row in ok.iterrows())
    return [
        f"The strongest attack is {name(best)}: AUROC {AUROC.line(best)}.",
        f"Shown one member and one non-member, it ranks the member higher in {wins:.1f}% of such "
        "pairs; guessing does in 50%.",
        f"{won} of {len(ok)} attacks in the table are better than guessing: their whole 95% "
        "interval lies above 0.5.",
    ]


def _curves(result: JobResult) -> dict[str, Markup]:
    if result.ok.empty:
        return {}
    return {
        "Linear axes": inline(figures.roc(result, log=False), "roc"),
        "Logarithmic axes": inline(figures.roc(result, log=True), "roc-log"),
    }


def _matrix(result: JobResult) -> list[tuple[str, list[dict[str, Any]]]]:
    """The best rows of the table, each against those below it: texts of the differences."""
    differences = pairs.both_ways(result.comparisons)
    rows = [row for row, _, _ in result.scored()][: COMPARED if differences else 0]
    keys = [(row["attack"], row["calibrated"]) for row in rows]
    cells = [
        [
            _difference(*differences[a, b]) if i < j and (a, b) in differences else {}
            for j, b in enumerate(keys)
        ]
        for i, a in enumerate(keys)
    ]
    return [(name(row), own) for row, own in zip(rows, cells, strict=True)]


def _difference(difference: float, p: float) -> dict[str, Any]:
    return {"difference": f"{difference:+.3f}", "p": p_value(p), "differs": p < pairs.LEVEL}


def _histograms(result: JobResult) -> list[tuple[str, Markup]]:
    return [
        (name(row), inline(figures.histogram(scores, member), f"hist-{i}"))
        for i, (row, scores, member) in enumerate(result.scored())
    ]


def _samples(samples: np.ndarray | None) -> str | None:
    if samples is None or samples.ndim != 4 or len(samples) == 0:
        return None
    return html.data_uri(tiles.tile(samples, tiles.columns_for(samples)))


def _groups(strip: Strip) -> list[dict[str, Any]]:
    """Members, then non-members: how many there are, their median loss, and the pairs to show."""
    groups, member = [], np.asarray(strip.member, bool)
    for title, mask in (("Members", member), ("Non-members", ~member)):
        losses = np.asarray(strip.losses, float)[mask]
        shown = zip(strip.queries[mask], strip.reconstructions[mask], losses, strict=True)
        groups.append(
            {
                "title": title,
                "count": len(losses),
                "median": number(float(np.median(losses)) if len(losses) else np.nan),
                "pairs": [
                    (html.data_uri(tiles.pair(query, found)), number(loss))
                    for (query, found, loss), _ in zip(shown, range(PAIRS), strict=False)
                ],
            }
        )
    return groups
