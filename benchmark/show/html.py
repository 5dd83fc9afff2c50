"""What every page is made of: templates, rows of a table, figures."""

from __future__ import annotations

import base64
import io
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from benchmark.measures.numbers import duration, number, percent
from benchmark.measures.result import TPR_COLUMNS
from benchmark.show import figures
from benchmark.show.texts import (
    MARKED,
    access,
    better,
    mark,
    privacy,
    remarks,
)


def environment() -> Environment:
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


def inline(figure: Any, prefix: str) -> Markup:
    """A figure as SVG for a template; prefix makes its ids unique."""
    # matplotlib escapes the texts that it writes into an SVG.
    return Markup(figures.svg(figure, prefix))


def data_uri(picture: Image.Image) -> str:
    """A picture as a PNG data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
