"""One self-contained HTML page for a job: no request leaves it, and nothing runs in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from benchmark.data import tiles
from benchmark.measures import pairs
from benchmark.measures.columns import AUROC
from benchmark.measures.numbers import format_number, in_brief, p_value
from benchmark.measures.result import JobResult, Strip
from benchmark.show import figures, html
from benchmark.show.html import (
    attack_table,
    closest_pictures,
    inline_figure,
    page_environment,
)
from benchmark.show.texts import (
    beats_guessing,
    canary_sentence,
    canary_texts,
    copies_in_words,
    cost_of_victim,
    detection_sentences,
    row_name,
    to_yaml,
)

COMPARED = 12
"""Rows of the table, the best ones, that are compared in pairs; the CSV has all."""

PAIRS = 8
"""Pairs shown of members, and as many of non-members, per reconstruction attack."""


def render_job(result: JobResult) -> str:
    """The page as HTML; every text in it is escaped."""
    template = page_environment().get_template("job.html.j2")
    return template.render(
        title=result.title,
        headline=job_headline(result),
        table=attack_table(result.rows),
        checks=result.checks,
        curves=_roc_figures(result),
        matrix=_difference_matrix(result),
        sets=_set_figure(result),
        detected=detection_sentences(result.detection),
        histograms=_score_histograms(result),
        audit=_one_run_audit(result.canaries),
        copies=copies_in_words(result.copies),
        closest=closest_pictures(result.closest),
        row_pairs=[],
        samples=_sample_grid(result.samples),
        quality={name: [in_brief(x) for x in row] for name, row in result.measures.items()},
        made=cost_of_victim(result) if result.quality else "",
        strips={a: _strip_groups(s) for a, s in result.strips.items() if s.queries.ndim == 4},
        details={
            "Configuration": to_yaml(result.config),
            "Provenance": to_yaml(result.provenance),
        },
    )


def job_headline(result: JobResult) -> list[str]:
    """The finding in plain sentences."""
    ok = result.ok
    if ok.empty:
        return ["No attack gave a result."]
    best = ok.iloc[int(ok["auroc"].argmax())]
    wins = 100 * best["auroc"]
    won = sum(beats_guessing(row) for _, row in ok.iterrows())
    return [
        f"The strongest attack is {row_name(best)}: AUROC {AUROC.line_of(best)}.",
        f"Shown one member and one non-member, it ranks the member higher in {wins:.1f}% of such "
        "pairs; guessing does in 50%.",
        f"{won} of {len(ok)} attacks in the table are better than guessing: their whole 95% "
        "interval lies above 0.5.",
    ]


def _roc_figures(result: JobResult) -> dict[str, Markup]:
    if result.ok.empty:
        return {}
    return {
        "Linear axes": inline_figure(figures.draw_roc(result, log=False), "roc"),
        "Logarithmic axes": inline_figure(figures.draw_roc(result, log=True), "roc-log"),
    }


def _one_run_audit(canaries: pd.DataFrame) -> dict[str, Any]:
    """The sentence and the table of the one-run audit; empty without one."""
    if canaries.empty:
        return {}
    return {"sentence": canary_sentence(canaries), "table": canary_texts(canaries)}


def _set_figure(result: JobResult) -> Markup | None:
    if result.sets.empty:
        return None
    return inline_figure(figures.draw_set_accuracy(result), "sets")


def _difference_matrix(result: JobResult) -> list[tuple[str, list[dict[str, Any]]]]:
    """The best rows of the table, each against those below it: texts of the differences."""
    differences = pairs.both_ways(result.comparisons)
    rows = [row for row, _, _ in result.scored()][: COMPARED if differences else 0]
    keys = [(row["attack"], row["calibrated"]) for row in rows]
    cells = [
        [
            _difference_texts(*differences[a, b]) if i < j and (a, b) in differences else {}
            for j, b in enumerate(keys)
        ]
        for i, a in enumerate(keys)
    ]
    return [(row_name(row), own) for row, own in zip(rows, cells, strict=True)]


def _difference_texts(difference: float, p: float) -> dict[str, Any]:
    return {"difference": f"{difference:+.3f}", "p": p_value(p), "differs": p < pairs.LEVEL}


def _score_histograms(result: JobResult) -> list[tuple[str, Markup]]:
    return [
        (row_name(row), inline_figure(figures.draw_histogram(scores, member), f"hist-{i}"))
        for i, (row, scores, member) in enumerate(result.scored())
    ]


def _sample_grid(samples: np.ndarray | None) -> str | None:
    if samples is None or samples.ndim != 4 or len(samples) == 0:
        return None
    return html.data_uri(tiles.tile_images(samples, tiles.columns_for(samples)))


def _strip_groups(strip: Strip) -> list[dict[str, Any]]:
    """Members, then non-members: how many there are, their median loss, and the pairs to show."""
    groups, member = [], np.asarray(strip.member, bool)
    for title, mask in (("Members", member), ("Non-members", ~member)):
        losses = np.asarray(strip.losses, float)[mask]
        shown = zip(strip.queries[mask], strip.reconstructions[mask], losses, strict=True)
        groups.append(
            {
                "title": title,
                "count": len(losses),
                "median": format_number(float(np.median(losses)) if len(losses) else np.nan),
                "pairs": [
                    (html.data_uri(tiles.pair_images(query, found)), format_number(loss))
                    for (query, found, loss), _ in zip(shown, range(PAIRS), strict=False)
                ],
            }
        )
    return groups
