"""The columns of the table of attacks, each of them defined here and nowhere else.

To add one, add it to COLUMNS. A number that follows from the scores is computed by
`summarise_scores`. Any other value must stand in the rows under the column's name. Files hold every
column; terminal, page and report show those that name them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from benchmark.measures import metrics, rates
from benchmark.measures.numbers import format_duration, format_number, format_percent, spaced_name
from victims.accounting import ERROR

Table = Literal["terminal", "page", "report", "study"]
"""Where rows are shown. page: of a job or an audit. report: its table of all numbers. study: beside
the AUROCs of a victim."""

Row = Any
"""A row of `JobResult.rows`: column -> value."""


@dataclass(frozen=True)
class Column:
    """A column of the table of attacks.

    name: in files and in `JobResult.rows`.
    about: what it holds.
    heading: for a reader.
    tables: where it stands, in the order of COLUMNS; files hold it in any case.
    text: how a row's value is written; by default with three decimals.
    small: what stands under the text on a page, line by line. note: the same under the heading.
    beside: whether that stands beside the text where a cell has one line (terminal, report).
    kind: a name; a number; or the score that a row is judged by.
    measure: scores of members (m,) and of non-members (n,) -> the number. None: it comes from
        elsewhere.
    interval: likewise -> the ends of its 95% interval, kept as `NAME_low` and `NAME_high`.
    width: letters that it has in the terminal at least.
    """

    name: str
    about: str
    heading: str = ""
    tables: tuple[Table, ...] = ()
    text: Callable[[Row], str] | None = None
    small: Callable[[Row], list[str]] = lambda row: []
    note: str = ""
    beside: bool = False
    kind: Literal["name", "number", "score"] = "number"
    measure: Callable[[ArrayLike, ArrayLike], float] | None = None
    interval: Callable[[ArrayLike, ArrayLike], tuple[float, float]] | None = None
    width: int = 0

    @property
    def line_heading(self) -> str:
        """The heading where a cell has one line."""
        return f"{self.heading} {self.note}" if self.beside else self.heading

    def text_of(self, row: Row) -> str:
        """A row's value for a reader."""
        return self.text(row) if self.text else format_number(row[self.name])

    def line_of(self, row: Row) -> str:
        """The same where a cell has one line."""
        return " ".join([self.text_of(row), *(self.small(row) if self.beside else [])])


class Promise(NamedTuple):
    """The privacy of a row's victim for a reader.

    promised: epsilon; one under ERROR is a quick bound, at times far above the truth, and says so.
    measured: what the row's scores show it to be at least, or "".
    terms: delta, noise multiplier and clipping norm; "" without private training.
    """

    promised: str
    measured: str
    terms: str


def promise_of(row: Row) -> Promise | None:
    """The privacy of a row's victim; None where rows say nothing of it."""
    if pd.isna(row.get("epsilon", np.nan)):
        return None
    measured = "" if pd.isna(row["epsilon_lower"]) else f"≥ {row['epsilon_lower']:.2f} measured"
    if np.isinf(row["epsilon"]):
        return Promise("∞", measured, "")
    terms = f"δ = {row['delta']:.2g}, σ = {row['sigma']:.3g}, C = {row['clipping_norm']:.3g}"
    bound = " or less" if 0 < row["epsilon"] < ERROR else ""
    return Promise(f"{row['epsilon']:.3g}{bound}", measured, terms)


def _promised_epsilon(row: Row) -> str:
    promise = promise_of(row)
    return promise.promised if promise else ""


def _measured_and_terms(row: Row) -> list[str]:
    promise = promise_of(row)
    return [text for text in promise[1:] if text] if promise else []


def _in_words(name: str, row: Row) -> str:
    return spaced_name(row[name])


def _access_and_budget(row: Row) -> str:
    """What a row's attacker has, and its budget: partial black box, 600 evaluations."""
    asked = _budget_in_words(row)
    return _in_words("access", row) + (f", {asked} evaluations" if asked else "")


def _budget_in_words(row: Row) -> str:
    asked = row.get("evaluations", np.nan)
    return "" if pd.isna(asked) else f"{asked:.0f}"


def _auroc_interval(row: Row) -> list[str]:
    if pd.isna(row["auroc"]):
        return []
    return [f"[{format_number(row['auroc_low'])}, {format_number(row['auroc_high'])}]"]


AUROC = Column(
    "auroc",
    "chance that a member scores above a non-member",
    "AUROC",
    ("terminal", "page", "report"),
    small=_auroc_interval,
    note="[95% interval]",
    beside=True,
    kind="score",
    measure=metrics.auroc,
    interval=metrics.auroc_interval,
)


def _rate_column(name: str, fpr: float) -> Column:
    """The true positive rate at a false positive rate."""

    def ends(row: Row) -> list[str]:
        low, high = 100 * row[f"{name}_low"], 100 * row[f"{name}_high"]
        return [] if pd.isna(low) or pd.isna(high) else [f"{low:.1f}–{high:.1f}"]

    return Column(
        name,
        f"share of members found while at most {100 * fpr:g}% of non-members are accused",
        f"TPR@{100 * fpr:g}%",
        ("terminal", "page", "report"),
        text=lambda row: format_percent(row[name]),
        small=ends,
        measure=lambda x, y: rates.tpr_at_fpr(x, y, fpr).tpr,
        interval=partial(rates.tpr_interval, fpr=fpr),
    )


COLUMNS = (
    Column(
        "attack",
        "its name in the config",
        "attack",
        ("terminal", "page", "report"),
        text=partial(_in_words, "attack"),
        small=lambda row: [_access_and_budget(row)],
        note="access",
        kind="name",
        width=13,
    ),
    Column(
        "access",
        "what the attacker may touch",
        "access",
        ("terminal",),
        text=_access_and_budget,
        kind="name",
        width=8,
    ),
    Column(
        "calibrated",
        "name of the calibration, or none",
        "calibrated",
        ("terminal", "page", "report"),
        text=partial(_in_words, "calibrated"),
        kind="name",
        width=11,
    ),
    AUROC,
    *(_rate_column(name, fpr) for name, fpr in rates.FPR_COLUMNS.items()),
    Column(
        "average_precision",
        "area under the precision-recall curve",
        "average precision",
        ("page",),
        measure=metrics.average_precision,
    ),
    Column(
        "balanced_accuracy",
        "at the best threshold",
        "balanced accuracy",
        ("page",),
        measure=metrics.best_balanced_accuracy,
    ),
    Column(
        "advantage",
        "largest true minus false positive rate",
        "advantage",
        ("page",),
        measure=metrics.advantage,
    ),
    Column("n_members", "how many of the queries are members"),
    Column("n_non_members", "how many are none"),
    Column(
        "epsilon",
        "what private training promises; infinite without it",
        "ε",
        ("page", "study"),
        text=_promised_epsilon,
        small=_measured_and_terms,
        note="promised",
    ),
    Column("delta", "of that promise", "δ", ("study",)),
    Column("sigma", "noise multiplier of private training", "σ", ("study",)),
    Column("clipping_norm", "of gradients in private training", "C", ("study",)),
    Column("epsilon_lower", "what the row's scores show epsilon to be at least"),
    Column(
        "evaluations",
        "how often the attack may ask a network for each query; NaN without a budget",
        "evaluations",
        ("report",),
        text=_budget_in_words,
    ),
    Column(
        "seconds",
        "that the attack took; of a calibrated row, on the reference models or on strangers",
        "time",
        ("terminal", "page", "report"),
        text=lambda row: format_duration(row["seconds"]),
    ),
    Column("auroc_reference", "on reference models, see `scores.rows.on_references`"),
    Column("tpr_at_1_reference", "likewise"),
    Column("warnings", "what a reader must know"),
    Column("status", '"ok", or why there is no number: "no access", ...'),
    Column("best", "whether it is the best AUROC or not significantly worse"),
)
"""In the order in which a reader sees them."""


def columns_of(table: Table) -> list[Column]:
    """The columns that stand in a table."""
    return [column for column in COLUMNS if table in column.tables]


def summarise_scores(members: ArrayLike, non_members: ArrayLike) -> dict[str, float]:
    """Every number that follows from scores, by its column; NaN where it cannot be resolved.

    members (m,), non_members (n,): scores, larger = more likely a member.
    """
    x, y = rates.scores_of(members, non_members)
    found: dict[str, float] = {}
    # Rates come last: files have always had this order.
    for column in sorted(COLUMNS, key=lambda column: column.name in rates.FPR_COLUMNS):
        if column.measure:
            found[column.name] = column.measure(x, y)
        if column.interval:
            low, high = column.interval(x, y)
            found |= {f"{column.name}_low": low, f"{column.name}_high": high}
    return found | {"n_members": len(x), "n_non_members": len(y)}
