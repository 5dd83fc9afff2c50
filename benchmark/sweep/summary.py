"""What became of the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from rich.markup import escape

from benchmark.job import record
from benchmark.job.record import Record
from benchmark.measures.columns import AUROC
from benchmark.measures.numbers import format_duration, format_number, in_brief
from benchmark.show.terminal import texts_as_table, wide_console
from benchmark.sweep.compose import settings_of_job, varied_settings

if TYPE_CHECKING:
    from benchmark.sweep.compose import Job


def print_summary(jobs: Sequence[Job]) -> bool:
    """Print the sweep's table, then what failed and how to try again; whether all have a result."""
    found = [(job, record.find_record(job.filing)) for job in jobs]
    done = [(job, entry) for job, entry in found if isinstance(entry, Record)]
    names = varied_settings(jobs)
    rows = [
        row for job, entry in done for row in _rows_of_aurocs(settings_of_job(job, names), entry)
    ]
    out = wide_console()
    out.print(texts_as_table(f"{len(done)} of {len(found)} jobs have a result", pd.DataFrame(rows)))
    for job, entry in found:
        if not isinstance(entry, Record):
            reason = f"failed: {entry['error']}" if entry else "not finished"
            out.print(f"{escape(reason)}\n  again: {escape(job.command)}", soft_wrap=True)
    return len(done) == len(found)


def _rows_of_aurocs(name: str, entry: Record) -> list[dict[str, str]]:
    """A row per attack: AUROC with its interval, and by calibration; the job's own in its first."""
    rows: dict[str, dict[str, str]] = {}
    for _, row in entry.result.rows.iterrows():
        attack = str(row["attack"]).replace("_", " ")
        found = rows.setdefault(attack, {"job": "" if rows else name, "attack": attack})
        if row["calibrated"] == "none":
            found[AUROC.line_heading] = AUROC.line_of(row)
        else:
            found[f"+ {row['calibrated']}"] = format_number(row["auroc"])
    first, *others = rows.values()
    return [first | _facts_of_victim(entry), *others]


def _facts_of_victim(entry: Record) -> dict[str, str]:
    """The first measure of the samples' quality, and what it took to make the victim."""
    result = entry.result
    found = {name: in_brief(numbers[0]) for name, numbers in list(result.measures.items())[:1]}
    if result.quality:
        found["parameters"] = f"{result.quality['parameters']:.0f}"
        found["trained in"] = format_duration(result.quality["training seconds"])
    return found
