"""A result's folder: CSV, parquet, config and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.measures.result import JobResult
from benchmark.show.texts import (
    to_yaml,
)
from benchmark.store.folders import CONFIG
from victims.errors import UserError


def write_folder(
    result: JobResult,
    folder: Path | str,
    page: Path | str | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write a job's files into its folder and return the page.

    table.csv and .parquet, scores.parquet, comparisons.csv, sets.csv, set_detection.csv,
    copies.csv, quality.json, config.yaml, index.html.
    page: file of the page as it was rendered before, or its HTML; None renders a job's now.
    config: what config.yaml holds, if not the result's.
    A number that cannot be resolved reads n/a in the CSV, null in quality.json; in parquet it is
    missing.
    Raises UserError when the folder cannot be written to.
    """
    folder = Path(folder)
    written = folder / "index.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(to_yaml(config or result.config), encoding="utf-8")
        result.rows.to_csv(folder / "table.csv", index=False, na_rep="n/a")
        result.rows.to_parquet(folder / "table.parquet", index=False)
        result.scores.to_parquet(folder / "scores.parquet", index=False)
        for name, frame in {
            "comparisons": result.comparisons,
            "sets": result.sets,
            "set_detection": result.detection,
            "copies": result.copies,
        }.items():
            if not frame.empty:  # an audit has few of them
                frame.to_csv(folder / f"{name}.csv", index=False, na_rep="n/a")
        if result.quality:
            numbers = {k: None if pd.isna(v) else v for k, v in result.quality.items()}
            (folder / "quality.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")
        written.write_bytes(
            page.read_bytes() if isinstance(page, Path) else _page_bytes(result, page)
        )
    except OSError as error:
        raise UserError(
            f"output folder {folder}: {error.strerror or error}; "
            f"choose another one that is writable and has space"
        ) from error
    return written


def _page_bytes(result: JobResult, page: str | None) -> bytes:
    from benchmark.show.page import render_job  # matplotlib takes a second to import

    return (render_job(result) if page is None else page).encode()
