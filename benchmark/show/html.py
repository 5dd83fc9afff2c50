"""What every page is made of: templates, rows of a table, figures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from benchmark.data import tiles
from benchmark.measures.columns import Column, columns_of
from benchmark.measures.numbers import format_number
from benchmark.measures.result import Strip
from benchmark.show import figures
from benchmark.show.texts import MARKED, beats_guessing, remarks_on, star_of


def page_environment() -> Environment:
    """Templates of this package; whatever they are given is escaped."""
    # Always on: by default jinja2 would not escape, and a name can come from anyone's config.
    loader = PackageLoader("benchmark.show", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["marked"] = MARKED
    environment.filters["first_large"] = first_large
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    return environment


def attack_table(rows: pd.DataFrame) -> dict[str, Any]:
    """What attacks.html.j2 shows: columns and rows; a column of which no row has a text is not."""
    every = [row for _, row in rows.iterrows()]
    columns = [
        column
        for column in columns_of("page")
        if not every or any(column.text_of(row) for row in every)
    ]
    return {"columns": columns, "rows": [_row_texts(row, columns) for row in every]}


def _row_texts(row: pd.Series, columns: Sequence[Column]) -> dict[str, Any]:
    """One row as texts, and the numbers that its interval mark needs."""
    return {
        "cells": [(column, column.text_of(row), column.small(row)) for column in columns],
        "best": star_of(row),
        "bar": None if pd.isna(row["auroc"]) else _interval_bar(row),
        "remarks": remarks_on(row),
        "ok": row["status"] == "ok",
        "better": beats_guessing(row),
    }


def _interval_bar(row: pd.Series) -> dict[str, float]:
    """Interval on a scale of 0 to 100; a missing bound collapses to the AUROC."""
    low, high = (row["auroc"] if pd.isna(row[c]) else row[c] for c in ("auroc_low", "auroc_high"))
    return {"low": 100 * low, "at": 100 * row["auroc"], "high": 100 * high}


def first_large(heading: str) -> str:
    """With a capital letter, but for Greek ones: they are symbols."""
    return heading[:1].upper() + heading[1:] if heading.isascii() else heading


def closest_pictures(strip: Strip | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """Pictures of records beside the samples next to them, and how far these are, by kind."""
    if strip is None:
        return []
    found = []
    for title, kind in (("Members", True), ("Held-out records", False)):
        own = np.flatnonzero(strip.member == kind)
        shown = [tiles.pair_images(strip.queries[i], strip.reconstructions[i]) for i in own]
        distances = [format_number(strip.losses[i]) for i in own]
        found.append((title, [(data_uri(p), d) for p, d in zip(shown, distances, strict=True)]))
    return found


def inline_figure(figure: Any, prefix: str) -> Markup:
    """A figure as SVG for a template; prefix makes its ids unique."""
    # matplotlib escapes the texts that it writes into an SVG.
    return Markup(figures.inline_svg(figure, prefix))


def data_uri(picture: Image.Image) -> str:
    """A picture as a data URI, every pixel as it is: WebP without loss is smaller than PNG.

    Quality is effort here: 100 takes 30 times as long as 90 and saves one byte in a hundred.
    """
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", lossless=True, quality=90, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
