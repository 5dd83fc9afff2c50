"""Figures of a job: ROC curves, score histograms, and images tiled or side by side.

Figures are drawn without pyplot, so nothing depends on a display or on global state.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_curve

from benchmark.measures.result import JobResult
from benchmark.show.texts import row_name

MEMBER, NON_MEMBER = "#0072B2", "#D55E00"
# Okabe & Ito's colour-blind-safe palette without its black and its yellow (unreadable on white).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#1b1f24"
LEGEND_LINE = 0.17
"""Height of a legend's line in inches: a figure grows with its legend, not its axes shrink."""
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "xtick.color", "ytick.color", "axes.labelcolor"), INK),
}


def draw_roc(result: JobResult, log: bool) -> Figure:
    """ROC curves of all attacks, best first; log: both axes logarithmic, to show low rates.

    A calibrated attack has its attack's colour and a dashed line. On log axes the rate zero is
    drawn at half of the smallest rate that the number of queries can resolve.
    """
    with mpl.rc_context(STYLE):
        scored = list(result.scored())
        figure, axes = _new_figure(4.4, 3.8 + LEGEND_LINE * (len(scored) + 2))
        attacks = list(dict.fromkeys(row["attack"] for row, _, _ in scored))
        floors = [0.5 / max(1, count) for _, _, m in scored for count in (m.sum(), (~m).sum())]
        floor = min(floors, default=1e-3)
        for row, scores, member in scored:
            false, true, _ = roc_curve(member, scores)
            if log:
                false, true = np.maximum(false, floor), np.maximum(true, floor)
            axes.plot(
                false,
                true,
                color=PALETTE[attacks.index(row["attack"]) % len(PALETTE)],
                linestyle="-" if row["calibrated"] == "none" else "--",
                drawstyle="steps-post" if log else "default",
                linewidth=1.6,
                label=f"{row['auroc']:.3f}  {row_name(row)}",
            )
        _dress_roc(axes, floor if log else None)
    return figure


def draw_set_accuracy(result: JobResult) -> Figure:
    """Accuracy on sets of records against their size: each attack's best row, with its interval."""
    with mpl.rc_context(STYLE):
        figure, axes = _new_figure(5.6, 3.6)
        shown: dict[str, str] = {}
        for row, _, _ in result.scored():
            shown.setdefault(row["attack"], row["calibrated"])
        for i, (attack, calibrated) in enumerate(shown.items()):
            ours = (result.sets["attack"] == attack) & (result.sets["calibrated"] == calibrated)
            curve, colour = result.sets[ours], PALETTE[i % len(PALETTE)]
            axes.fill_between(
                curve["size"], curve["low"], curve["high"], color=colour, alpha=0.12, linewidth=0
            )
            label = row_name(pd.Series({"attack": attack, "calibrated": calibrated}))
            axes.plot(curve["size"], curve["accuracy"], color=colour, linewidth=1.6, label=label)
        axes.axhline(0.5, color="#888888", linestyle=":", linewidth=1.2, label="chance")
        axes.set(xscale="log", xlim=(1, result.sets["size"].max()), ylim=(0, 1.02))
        axes.set(xlabel="records in the set", ylabel="accuracy")
        axes.xaxis.set_major_formatter("{x:g}")
        _colour_spines(axes)
        for text in figure.legend(loc="outside right upper").get_texts():
            text.set_parse_math(False)
    return figure


def draw_histogram(scores: np.ndarray, member: np.ndarray) -> Figure:
    """Share of members and of non-members per score bin; outliers are counted in the last bins."""
    with mpl.rc_context(STYLE):
        # One for each row of a table, so with fixed edges: finding them takes as long again.
        figure = Figure(figsize=(3.6, 2.3))
        axes = figure.add_axes((0.14, 0.19, 0.83, 0.68))
        finite = np.isfinite(scores)
        scores, member = scores[finite], member[finite]
        low, high = np.percentile(scores, [0.5, 99.5]) if len(scores) else (0.0, 1.0)
        if not high - low > 1e-9 * max(abs(low), abs(high)):
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, 31)
        groups = (("members", member, MEMBER), ("non-members", ~member, NON_MEMBER))
        for label, mask, colour in groups:
            counts, _ = np.histogram(np.clip(scores[mask], low, high), edges)
            share = 100 * counts / max(1, mask.sum())
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(share, edges, color=colour, linewidth=1.4, label=label)
        axes.set(xlabel="score (higher = more likely a member)", ylabel="% of group")
        axes.locator_params(axis="x", nbins=5)
        _colour_spines(axes)
        figure.legend(loc="upper center", ncols=2)
    return figure


def _new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _colour_spines(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_edgecolor(INK)


def _dress_roc(axes: Axes, floor: float | None) -> None:
    """Chance diagonal, limits, legend; floor: smallest rate on log axes, None for linear ones."""
    start = floor or 0.0
    chance = np.geomspace(start, 1, 2) if floor else np.array([0.0, 1.0])
    axes.plot(chance, chance, color="#888888", linestyle=":", linewidth=1.2, label="chance")
    if floor:
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.set(xlim=(start, 1), ylim=(start, 1.01 if floor is None else 1.1), box_aspect=1)
    _colour_spines(axes)
    legend = axes.figure.legend(loc="outside lower center", title="AUROC  attack")  # type: ignore[union-attr]
    for text in legend.get_texts():
        text.set_parse_math(False)


def inline_svg(figure: Figure, prefix: str) -> str:
    """The figure as inline SVG that takes the page's text colour; prefix makes its ids unique."""
    text = _svg_text(figure, prefix, transparent=True)
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg ([^>]*?)(?:width|height)="[\d.]+pt"', r"<svg \1", text)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)


def save_figure(figure: Figure, path: Path) -> str:
    """Write path.pdf and path.svg, give the SVG; the same figure gives the same files."""
    text = _svg_text(figure, path.name)
    path.with_suffix(".svg").write_text(text, encoding="utf-8")
    with mpl.rc_context(STYLE):
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    return text


def _svg_text(figure: Figure, salt: str, transparent: bool = False) -> str:
    """The figure as SVG; coordinates with two decimals: a hundredth of a point, half the size."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE | {"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=transparent, metadata={"Date": None})
    return re.sub(
        r' (?:d|x|y|transform)="[^"]*',
        lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]),
        buffer.getvalue(),
    )


def as_image(figure: Figure) -> Image.Image:
    """The figure as a picture on white."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    return Image.open(buffer)
