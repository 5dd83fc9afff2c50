"""The ranking as files: two tables as CSV, a critical-difference diagram an access, one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.measures.numbers import format_duration, format_number, format_percent
from benchmark.measures.pairs import LEVEL
from benchmark.report.collect import Outcome, Row, Study, studies_of
from benchmark.report.edited import edited_since
from benchmark.report.judge import without_void_results
from benchmark.report.ranking import Ranking, ranked
from benchmark.report.retrained import retrained_models
from benchmark.show import figures
from benchmark.show.html import page_environment
from benchmark.sweep.compose import name_of_setting
from victims.errors import UserError

OWN = ("attack", "calibration")
"""Settings by which an entry differs from the others: without them it is the others' sweep."""


def ranked_studies(words: Sequence[str]) -> list[Study]:
    """The ranking's own study with the same settings, and what the words add to it."""
    if not any(name_of_setting(word) == "sweep" for word in words):
        words = ["+sweep=ranking", *words]
    own = {name_of_setting(word) for word in words} & {*OWN}
    others = [word for word in words if name_of_setting(word).split(".")[0] not in own]
    return studies_of(others) + (studies_of(words) if others != [*words] else [])


def write_ranking(studies: Sequence[Study], out: Path) -> Path:
    """Write standings.csv, pairs.csv, a diagram an access and index.html; gives the page.

    Results that an error voids are left out, and the page counts them. Raises UserError where
    nothing is left to rank.
    """
    kept, reasons = zip(*(without_void_results(study, ()) for study in studies), strict=True)
    ranking = ranked(kept)
    if ranking.standings.empty:
        raise UserError(f"no result to rank; run: {studies[0].command}")
    out.mkdir(parents=True, exist_ok=True)
    for name, frame in (("standings", ranking.standings), ("pairs", ranking.pairs)):
        frame.to_csv(out / f"{name}.csv", index=False, na_rep="n/a")
    sections = [_section(access, ranking, out) for access in _accesses(ranking)]
    page = (
        page_environment()
        .get_template("ranking.html.j2")
        .render(headline=list(_headline(studies, reasons)), level=f"{LEVEL:.0%}", sections=sections)
    )
    (out / "index.html").write_text(page, encoding="utf-8")
    return out / "index.html"


def _accesses(ranking: Ranking) -> list[str]:
    return list(dict.fromkeys(ranking.standings["access"]))


def _headline(studies: Sequence[Study], reasons: Sequence[str]) -> Iterator[str]:
    jobs, done = (sum(len(getattr(s, name)) for s in studies) for name in ("outcomes", "done"))
    outcomes = [outcome for study in studies for outcome in study.done]
    yield f"{done} of {jobs} jobs have a result."
    yield f"Victims: {'; '.join(_victims(outcomes))}."
    if len({int(outcome.job.config.seed) for outcome in outcomes}) == 1:
        yield "With one seed, surely is about these trained models: others may differ."
    yield from dict.fromkeys(text for study in studies for text in _lacking(study))
    yield from dict.fromkeys(reason for reason in reasons if reason)
    yield from retrained_models(studies)
    yield from edited_since(outcomes)
    if any(outcome.job.config.scale.name == "smoke" for outcome in outcomes):
        yield "Results at scale=smoke try the software; the numbers say nothing about any attack."


def _lacking(study: Study) -> Iterator[str]:
    """A sentence on the jobs without a result for each reason; the words name an entry's own."""
    own = [word for word in study.lines[0] if name_of_setting(word) in OWN]
    of = f" with {' '.join(own)}" if own else ""
    by_state: dict[str, list[Outcome]] = {}
    for outcome in study.lacking:
        by_state.setdefault(outcome.state, []).append(outcome)
    for state, outcomes in by_state.items():
        yield f"No result{of} against {'; '.join(_victims(outcomes))}: {state}."


def _victims(outcomes: Sequence[Outcome]) -> list[str]:
    """The victims of these jobs; those with the same data and seeds together."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for outcome in outcomes:
        chosen = outcome.job.choices
        own = seeds.setdefault((chosen["victim"], chosen["data"]), set())
        own.add(int(outcome.job.config.seed))
    alike: dict[str, list[str]] = {}
    for (victim, data), own in seeds.items():
        numbers = ", ".join(map(str, sorted(own)))
        word = "seed" if len(own) == 1 else "seeds"
        alike.setdefault(f"on {data}, {word} {numbers}", []).append(victim)
    return [f"{', '.join(victims)} {how}" for how, victims in alike.items()]


def _section(access: str, ranking: Ranking, out: Path) -> dict[str, Any]:
    """What the page shows of an access, and its diagram as a file."""
    own = ranking.standings[ranking.standings["access"] == access]
    pairs = ranking.pairs[ranking.pairs["access"] == access]
    figure = diagram(own, pairs)
    drawn = figures.save_figure(figure, out / access) if figure else None
    return {
        "title": access.replace("_", " "),
        "victims": int(own["victims"].max()),
        "figure": Markup(drawn) if drawn else None,
        "rows": [_texts(row) for row in own.to_dict("records")],
    }


def _texts(row: dict[Any, Any]) -> dict[str, Any]:
    """A row of the standings for a reader."""
    return {
        "name": Row(row["attack"], row["calibrated"]).text,
        "victims": row["victims"],
        "seeds": row["seeds"],
        "auroc": _with_interval(row, "auroc", format_number),
        "tpr": _with_interval(row, "tpr_at_1", format_percent),
        "rank": format_number(row["mean_rank"], 1),
        "evaluations": format_number(row["evaluations"], 0),
        "seconds": format_duration(row["seconds"]),
        "better": row["better_than"],
        "worse": row["worse_than"],
    }


def _with_interval(row: dict[Any, Any], column: str, text: Any) -> str:
    if pd.isna(row[column]):
        return "n/a"
    if pd.isna(row[f"{column}_low"]):
        return str(text(row[column]))
    return f"{text(row[column])} [{text(row[f'{column}_low'])}, {text(row[f'{column}_high'])}]"


def diagram(standings: pd.DataFrame, pairs: pd.DataFrame) -> Figure | None:
    """Mean ranks on a line, 1 = best; a bar's dots are entries of which none is surely better.

    A bar without a dot passes by: an entry between two others may differ from both. None where
    fewer than two entries have a rank. Which entries differ is said by the paired test of
    `ranking`, not by the ranks (deviation from Demšar, JMLR 2006).
    """
    import scikit_posthocs  # loads seaborn: seconds, for this alone

    known = standings.dropna(subset=["mean_rank"])
    names = [Row(*row).text for row in zip(known["attack"], known["calibrated"], strict=True)]
    if len(names) < 2:
        return None
    p_values = pd.DataFrame(1.0, index=names, columns=names)
    for pair in pairs.to_dict("records"):
        a, b = (Row(pair[f"attack_{x}"], pair[f"calibrated_{x}"]).text for x in "ab")
        if a in p_values.index and b in p_values.index:
            p_values.loc[a, b] = p_values.loc[b, a] = pair["p_holm"]
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(9, 1.2 + 0.14 * len(names)), layout="constrained")
        axes = figure.subplots()
        scikit_posthocs.critical_difference_diagram(
            dict(zip(names, known["mean_rank"], strict=True)),
            p_values,
            alpha=LEVEL,
            ax=axes,
            label_fmt_left="{label}  {rank:.1f}",
            label_fmt_right="{rank:.1f}  {label}",
            label_props={"fontsize": 8},
            color_palette=[figures.INK] * len(names),
            crossbar_props={
                "color": figures.MEMBER,
                "linewidth": 2,
                "marker": "o",
                "markersize": 6,
            },
            marker_props={"s": 14},
            elbow_props={"linewidth": 0.8},
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for line in axes.lines:  # the package draws a bar's points in the order of a set of texts
            x, y = map(np.asarray, line.get_data())
            if (y == y[0]).all():
                line.set_xdata(np.sort(x))
    return figure
