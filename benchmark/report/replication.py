"""Published figures beside those of the sweep that runs them here: agrees, differs or not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from benchmark.measures.estimate import over_seeds, wider_side
from benchmark.measures.metrics import auroc, auroc_interval, score_interval
from benchmark.measures.numbers import format_percent, spaced_name
from benchmark.measures.rates import FPR_COLUMNS, clopper_pearson, tpr_at_fpr, tpr_interval
from benchmark.measures.top_half import SET, Accuracy, judge_sets_by_top_half, share_in_top_half
from benchmark.report.collect import Outcome, Row, Study
from benchmark.report.published import PUBLISHED, checked_rows

AGREES, DIFFERS, NOT_RUN, OTHER = "agrees", "differs", "not run", "other records"
"""The two 95% intervals overlap, or do not; there is no number of ours; ours was trained on another
number of records, which is there to explain and not to compare."""


class Measure(NamedTuple):
    """A measure in which papers print figures.

    about: for a reader. of: scores of members and of non-members -> the number. interval: a
    published number, its repetitions and its training records -> the ends of its 95% interval.
    least: as many members as non-members are needed, and so many; 0 where any will do. text: of one
    number, for a reader.
    """

    about: str
    of: Callable[[ArrayLike, ArrayLike], Accuracy]
    interval: Callable[[float, int, int], tuple[float, float]]
    least: int = 0
    text: Callable[[float], str] = format_percent


def _measure_auroc(members: ArrayLike, non_members: ArrayLike) -> Accuracy:
    return Accuracy(auroc(members, non_members), *auroc_interval(members, non_members))


def _measure_tpr(members: ArrayLike, non_members: ArrayLike) -> Accuracy:
    found = tpr_at_fpr(members, non_members, FPR).tpr
    return Accuracy(found, *tpr_interval(members, non_members, FPR))


def _interval_of_calls(calls: int, value: float, repetitions: int) -> tuple[float, float]:
    """Of a share of right calls, so many in each repetition."""
    return clopper_pearson(value * calls * repetitions, calls * repetitions)


MEASURES = {
    "top_half": Measure(
        about="members in the top half",
        of=share_in_top_half,
        interval=lambda value, times, records: _interval_of_calls(2 * SET, value, times),
        least=SET,
    ),
    "top_half_sets": Measure(
        about=f"sets of {SET}",
        of=judge_sets_by_top_half,
        interval=lambda value, times, records: _interval_of_calls(1, value, times),
        least=SET,
    ),
    "auroc": Measure(
        about="AUROC",
        of=_measure_auroc,
        interval=lambda value, times, records: score_interval(value, records, records, 0.95),
        text="{:.3f}".format,
    ),
    "tpr_at_1": Measure(
        about="TPR at 1% FPR",
        of=_measure_tpr,
        interval=lambda value, times, records: clopper_pearson(value * records, records),
    ),
}
"""Papers that print an AUROC or a TPR are taken to query all training records, and as many others.
The interval of a published TPR takes its threshold as given, so it is a little short."""

FPR = FPR_COLUMNS["tpr_at_1"]
"""Of the true positive rates that papers print."""

CELL = ["data", "victim", "attack", "measure"]
NUMBERS = ["published", "published_low", "published_high", "measured", "low", "high"]
REPLICATION = [*CELL, "records", *NUMBERS, "seeds", "verdict"]


def replication_table(study: Study, published: pd.DataFrame) -> pd.DataFrame:
    """Each published figure of a study beside what was measured: columns REPLICATION.

    published: `published.checked_rows`. A figure has a line for each number of training records
    that was run, that of the source first. Intervals are at 95%: published ones by
    `Measure.interval`, measured ones by its `of`, over seeds as of `estimate.over_seeds`. Raises
    ValueError for a measure that is not in MEASURES.
    """
    lines = [
        dict(zip(REPLICATION, line, strict=True))
        for row in published[published["sweep"] == study.name].to_dict("records")
        for line in _lines_of(study, row)
    ]
    return pd.DataFrame(lines, columns=REPLICATION)


@cache
def beside_published(study: Study) -> pd.DataFrame:
    """The same of results/published.csv; drawing sets takes seconds."""
    return replication_table(study, checked_rows(PUBLISHED))


def replication_texts(table: pd.DataFrame) -> pd.DataFrame:
    """The same for a reader: shares as percent, intervals in brackets."""
    rows = [
        {
            "victim": row["victim"],
            "data": row["data"],
            "attack": spaced_name(row["attack"]),
            "measure": MEASURES[row["measure"]].about,
            "records": str(row["records"]),
            "published": _interval_text(row, "published", "published_low", "published_high"),
            "measured": _interval_text(row, "measured", "low", "high"),
            "verdict": row["verdict"],
        }
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _lines_of(study: Study, row: dict[Any, Any]) -> Iterator[list[Any]]:
    """What stands beside one published figure."""
    measure, records = MEASURES.get(row["measure"]), int(row["records"])
    if measure is None:
        raise ValueError(f"published.csv: measure {row['measure']!r}; there are {list(MEASURES)}")
    value = float(row["value"])
    theirs = [value, *measure.interval(value, int(row["experiments"]), records)]
    found = _found_by_records(study, row, measure)
    for own in sorted({records, *found}, key=lambda n: (n != records, n)):
        ours = over_all_seeds(found.get(own, []))
        at = [*(row[name] for name in CELL), own, *theirs]
        yield [*at, *ours, len(found.get(own, [])), _verdict(theirs, ours, own == records)]


def _found_by_records(
    study: Study, row: dict[Any, Any], measure: Measure
) -> dict[int, list[Accuracy]]:
    """The measure of each seed, by how many records trained its victim."""
    found: dict[int, list[Accuracy]] = {}
    for group, seeds in study.groups.items():
        if (group.data, group.victim) == (row["data"], row["victim"]):
            for outcome in seeds.values():
                if (scores := _scores_of(outcome, row["attack"], measure.least)) is not None:
                    members = int(outcome.job.config.split.members)
                    found.setdefault(members, []).append(measure.of(*scores))
    return found


def _scores_of(outcome: Outcome, attack: str, least: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores of members and of non-members; None where there are none, or not what a measure needs.

    least: see `Measure`.
    """
    values, member = outcome.scores.get(Row(attack, "none"), (np.zeros(0), np.zeros(0, bool)))
    known = ~np.isnan(values)
    members, others = values[known & member], values[known & ~member]
    suffices = least <= len(members) == len(others) if least else len(members) and len(others)
    return (members, others) if suffices else None


def over_all_seeds(found: list[Accuracy]) -> Accuracy:
    """The mean over seeds with its interval, within [0, 1]; NaN without any."""
    if len(found) == 1:
        return found[0]
    mean = over_seeds([own.value for own in found], [wider_side(*own) for own in found])
    return Accuracy(*mean.within_unit()[:3]) if found else NO_NUMBER


NO_NUMBER = Accuracy(np.nan, np.nan, np.nan)


def _verdict(theirs: list[float], ours: Accuracy, comparable: bool) -> str:
    if np.isnan(ours.value):
        return NOT_RUN
    if not comparable:
        return OTHER
    return AGREES if theirs[1] <= ours.high and ours.low <= theirs[2] else DIFFERS


def _interval_text(row: dict[Any, Any], value: str, low: str, high: str) -> str:
    if np.isnan(row[value]):
        return "–"
    text = MEASURES[row["measure"]].text
    return f"{text(row[value])} [{text(row[low])}, {text(row[high])}]"
