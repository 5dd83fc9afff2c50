"""One self-contained HTML page for a job: no request leaves it, and nothing runs in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmark import figures, judging
from benchmark.result import (
    MARKED,
    TPR_COLUMNS,
    JobResult,
    Strip,
    access,
    better,
    brief,
    duration,
    interval,
    made,
    mark,
    name,
    number,
    p_value,
    percent,
    planted,
    privacy,
    remarks,
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
        rows=[row_texts(row) for _, row in result.rows.iterrows()],
        tpr_headings=list(TPR_COLUMNS.values()),
        checks=result.checks,
        curves=_curves(result),
        matrix=_matrix(result),
        sets=None if result.sets.empty else inline(figures.set_accuracy(result), "sets"),
        histograms=_histograms(result),
        canaries=None if result.canaries.empty else planted(result.canaries),
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
        f"The strongest attack is {name(best)}: AUROC {interval(best)}.",
        f"Shown one member and one non-member, it ranks the member higher in {wins:.1f}% of such "
        "pairs; guessing does in 50%.",
        f"{won} of {len(ok)} attacks in the table are better than guessing: their whole 95% "
        "interval lies above 0.5.",
    ]


def environment() -> Environment:
    """Templates of this package; whatever they are given is escaped."""
    # Always on: by default jinja2 would not escape, and a name can come from anyone's config.
    loader = PackageLoader("benchmark", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["marked"] = MARKED
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    return environment


def row_texts(row: pd.Series) -> dict[str, Any]:
    """One table row as texts, and the numbers that its interval mark needs."""
    return {
        "attack": row["attack"],
        "access": access(row),
        "calibrated": row["calibrated"],
        "auroc": number(row["auroc"]),
        "best": mark(row),
        "interval": f"[{number(row['auroc_low'])}, {number(row['auroc_high'])}]",
        "mark": None if pd.isna(row["auroc"]) else _mark(row),
        "tpr": [(percent(row[c]), _range(row, c)) for c in TPR_COLUMNS],
        "average_precision": number(row["average_precision"]),
        "balanced_accuracy": number(row["balanced_accuracy"]),
        "advantage": number(row["advantage"]),
        "seconds": duration(row["seconds"]),
        "privacy": privacy(row),
        "remarks": remarks(row),
        "ok": row["status"] == "ok",
        "better": better(row),
    }


def _mark(row: pd.Series) -> dict[str, float]:
    """Interval on a scale of 0 to 100; a missing bound collapses to the AUROC."""
    low, high = (row["auroc"] if pd.isna(row[c]) else row[c] for c in ("auroc_low", "auroc_high"))
    return {"low": 100 * low, "at": 100 * row["auroc"], "high": 100 * high}


def _range(row: pd.Series, column: str) -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return "" if pd.isna(low) or pd.isna(high) else f"{100 * low:.1f}–{100 * high:.1f}"


def _curves(result: JobResult) -> dict[str, Markup]:
    if result.ok.empty:
        return {}
    return {
        "Linear axes": inline(figures.roc(result, log=False), "roc"),
        "Logarithmic axes": inline(figures.roc(result, log=True), "roc-log"),
    }


def _matrix(result: JobResult) -> list[tuple[str, list[dict[str, Any]]]]:
    """The best rows of the table, each against those below it: texts of the differences."""
    pairs = judging.both_ways(result.comparisons)
    rows = [row for row, _, _ in result.scored()][: COMPARED if pairs else 0]
    keys = [(row["attack"], row["calibrated"]) for row in rows]
    cells = [
        [_difference(*pairs[a, b]) if i < j and (a, b) in pairs else {} for j, b in enumerate(keys)]
        for i, a in enumerate(keys)
    ]
    return [(name(row), own) for row, own in zip(rows, cells, strict=True)]


def _difference(difference: float, p: float) -> dict[str, Any]:
    return {"difference": f"{difference:+.3f}", "p": p_value(p), "differs": p < judging.LEVEL}


def _histograms(result: JobResult) -> list[tuple[str, Markup]]:
    return [
        (name(row), inline(figures.histogram(scores, member), f"hist-{i}"))
        for i, (row, scores, member) in enumerate(result.scored())
    ]


def inline(figure: Any, prefix: str) -> Markup:
    """A figure as SVG for a template; prefix makes its ids unique."""
    # matplotlib escapes the texts that it writes into an SVG.
    return Markup(figures.svg(figure, prefix))


def _samples(samples: np.ndarray | None) -> str | None:
    if samples is None or samples.ndim != 4 or len(samples) == 0:
        return None
    return figures.data_uri(figures.tile(samples, figures.columns_for(samples)))


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
                    (figures.data_uri(figures.pair(query, found)), number(loss))
                    for (query, found, loss), _ in zip(shown, range(PAIRS), strict=False)
                ],
            }
        )
    return groups
