"""One list of columns: what stands in it is computed, filed and shown, and nothing else is."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmark.measures import columns
from benchmark.measures.columns import COLUMNS, Column, columns_of, promise_of, summarise_scores
from benchmark.measures.result import JobResult
from benchmark.show.output import write_folder
from benchmark.show.terminal import print_table

NEW = Column(
    "median_gap",
    "median of the members' scores minus that of the others",
    "median gap",
    ("terminal", "page", "report"),
    text=lambda row: f"gap {row['median_gap']:.5f}",
    measure=lambda x, y: float(np.median(x) - np.median(y)),
)
"""A column that is not there yet."""


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, NEW))


def test_a_new_column_is_computed_filed_and_shown_by_its_definition(
    result: JobResult, one_more: None, tmp_path: Path
) -> None:
    rows = [
        row.to_dict() | summarise_scores(scores[member], scores[~member])
        for row, scores, member in result.scored()
    ]
    more = replace(result, rows=pd.DataFrame(rows))
    page = write_folder(more, tmp_path)
    filed = pd.read_csv(tmp_path / "table.csv")
    console = Console(file=io.StringIO(), width=160)
    print_table(more, console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "median gap" in printed
    assert ">Median<br>gap</th>" in page.read_text()
    for row, (_, scores, member) in zip(rows, result.scored(), strict=True):
        gap = float(np.median(scores[member]) - np.median(scores[~member]))
        assert row["median_gap"] == gap
        assert gap in filed["median_gap"].to_list()
        assert f"gap {gap:.5f}" in printed
        assert f'data-label="Median gap">gap {gap:.5f}</td>' in page.read_text()


def test_names_and_places_are_clear() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    assert all(column.about for column in COLUMNS)
    assert all(column.heading for column in COLUMNS if column.tables)
    for table in ("terminal", "page", "report"):
        kinds = [column.kind for column in columns_of(table)]
        assert kinds.count("score") == 1
        assert kinds == sorted(kinds, key=["name", "score", "number"].index)


def test_privacy_is_written_with_its_terms() -> None:
    terms = {"delta": 0.004, "sigma": 1.25, "clipping_norm": 1.0, "epsilon_lower": 0.5}
    (column,) = (column for column in columns_of("page") if column.name == "epsilon")
    row = pd.Series({"epsilon": 9.954} | terms)
    assert column.text_of(row) == "9.95"
    assert column.small(row) == ["≥ 0.50 measured", "δ = 0.004, σ = 1.25, C = 1"]
    assert column.text_of(pd.Series({"epsilon": 0.00021} | terms)) == "0.00021 or less"
    without = pd.Series({"epsilon": np.inf} | terms)
    assert (column.text_of(without), column.small(without)) == ("∞", ["≥ 0.50 measured"])
    nothing = pd.Series({"attack": "white_box"})
    assert promise_of(nothing) is None
    assert (column.text_of(nothing), column.small(nothing)) == ("", [])
