"""A job's output: the table in the terminal, and its folder with CSV, parquet, config and page."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.measures.columns import columns_of, promise_of
from benchmark.measures.numbers import in_brief
from benchmark.measures.result import REAL, UNTRAINED, JobResult
from benchmark.show.texts import (
    MARKED,
    beats_guessing,
    canary_sentence,
    canary_texts,
    compared_by,
    copied,
    cost_of_victim,
    detection_sentences,
    remarks_on,
    star_of,
)


def wide_console() -> Console:
    """The terminal, or a pipe that is taken for a wide one."""
    # Rich guesses 80 columns for a pipe, which would break every number.
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def texts_as_table(title: str, frame: pd.DataFrame) -> Table:
    """A frame of texts as a table for the terminal."""
    table = _plain_table(title)
    for heading in frame.columns:
        table.add_column(escape(str(heading)), overflow="fold", vertical="bottom")
    for row in frame.itertuples(index=False):
        table.add_row(*(escape("" if pd.isna(cell) else str(cell)) for cell in row))
    return table


def print_table(result: JobResult, console: Console | None = None) -> None:
    """Print the table, the remarks that its last column numbers, the victim's quality, the checks.

    A row in bold is better than guessing (lower end of its AUROC interval above 0.5).
    """
    console = console or wide_console()
    notes: list[str] = []
    table = _empty_table(result.title)
    for _, row in result.rows.iterrows():
        style = "bold" if beats_guessing(row) else "dim" if row["status"] != "ok" else ""
        table.add_row(*map(escape, _row_cells(row, notes)), style=style)
    console.print(table)
    if any(star_of(row) for _, row in result.rows.iterrows()):
        console.print(escape(f"  {MARKED}"))
    if (promise := promise_of(result.rows.iloc[0])) and promise.terms:
        console.print(f"  differential privacy: ε = {promise.promised}, {promise.terms}")
    if not result.canaries.empty:
        console.print(texts_as_table("one-run audit of ε", canary_texts(result.canaries)))
        console.print(f"  {escape(canary_sentence(result.canaries))}")
    if not result.copies.empty:
        console.print(texts_as_table("copies of records among the samples", copied(result.copies)))
        console.print(f"  {escape(compared_by(result.copies))}")
    for i, note in enumerate(notes, 1):
        console.print(f"  \\[{i}] {escape(note)}")
    for line in [*_victim_lines(result), *detection_sentences(result.detection)]:
        console.print(f"  {escape(line)}")
    for check in result.checks:
        console.print(escape(f"  {check.level}: {check.name}: {check.message}"))


def _plain_table(title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD)
    table.padding, table.show_edge, table.pad_edge = (0, 1, 0, 0), False, False
    return table


def _victim_lines(result: JobResult) -> list[str]:
    """What the victim's samples are like, and what it took to make it."""
    measures = [
        f"{name} {in_brief(ours)} ({UNTRAINED} {in_brief(untrained)}, {REAL} {in_brief(real)})"
        for name, (ours, untrained, real) in result.measures.items()
    ]
    lines = [f"samples: {'; '.join(measures)}"] if measures else []
    return [*lines, f"victim: {cost_of_victim(result)}"] if result.quality else lines


def _empty_table(title: str) -> Table:
    table = _plain_table(title)
    for column in columns_of("terminal"):
        if column.kind == "name":
            # The access gives way first: its words are the only ones that may be broken.
            places: Any = {"overflow": "fold", "vertical": "top", "min_width": column.width}
        else:
            places = {"no_wrap": True, "justify": "left" if column.kind == "score" else "right"}
        table.add_column(escape(column.line_heading.replace("@", "\n@")), **places)
    table.add_column("warn-\nings", no_wrap=True)
    return table


def _row_cells(row: pd.Series, notes: list[str]) -> list[str]:
    """One row as text; a remark is numbered once, however many rows carry it."""
    marks = []
    for remark in remarks_on(row):
        if remark not in notes:
            notes.append(remark)
        marks.append(str(notes.index(remark) + 1))
    lines = [
        column.line_of(row) + (star_of(row) if column.kind == "score" else "")
        for column in columns_of("terminal")
    ]
    return [*lines, " ".join(marks)]
