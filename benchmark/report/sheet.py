"""Panels on one sheet for a file, and cut out of it one by one for a screen.

A sheet is drawn once: drawing is most of a report's time.
"""

from __future__ import annotations

import copy
import re
import textwrap
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.show.figures import INK, STYLE

COLUMNS, WIDTH = 3, 2.6
ABOVE, BELOW, RIGHT = 0.3, 0.5, 0.15
"""Inches around axes: a title of one line; tick labels and the axis' name; half a tick label."""

LETTERS, LINE = 42, 0.16
"""Letters in a line of a title, which is as wide as its panel; inches of one line more."""

TITLE = "title"
"""Names a panel's title in the SVG: on a screen it stands above the picture."""

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", LINK)


@dataclass(frozen=True)
class Panel:
    """What is drawn into one pair of axes, of which data and victim.

    height: of the axes, left: room for the labels beside them, in inches.
    """

    title: str
    data: str
    victim: str
    draw: Callable[[Axes], None]
    height: float = 2.3
    left: float = 0.55


class Entry(NamedTuple):
    """A line of a legend. dashes: as in SVG, "" for a solid line; marker: whether it has one."""

    label: str
    color: str
    dashes: str
    marker: bool


def draw_sheet(panels: Sequence[Panel]) -> Figure:
    """All panels with their titles, row by row, and one legend below.

    By hand: matplotlib's own layout takes as long again as drawing.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height, left = (max(getattr(panel, side) for panel in panels) for side in ("height", "left"))
    titles = [textwrap.fill(panel.title, LETTERS) for panel in panels]
    above = ABOVE + LINE * max(title.count("\n") for title in titles)
    with mpl.rc_context(STYLE):
        figure = Figure()
        for i, panel in enumerate(panels):
            axes = figure.add_axes((0, 0, 1, 1), label=str(i))
            panel.draw(axes)
            _dress_axes(axes, titles[i])
        foot = _draw_legend(figure, 2 * columns)
        size = (left + WIDTH + RIGHT) * columns, (above + height + BELOW) * rows + foot
        figure.set_size_inches(*size)
        for i, axes in enumerate(figure.axes):
            x = (left + WIDTH + RIGHT) * (i % columns) + left
            y = (above + height + BELOW) * (rows - 1 - i // columns) + BELOW + foot
            axes.set_position((x / size[0], y / size[1], WIDTH / size[0], height / size[1]))
    return figure


def _dress_axes(axes: Axes, title: str) -> None:
    axes.set_title(title, y=1.0, fontsize=9, parse_math=False, gid=TITLE)  # y: else it is sought
    axes.patch.set_visible(False)  # the sheet is white, and a page may be dark
    for spine in axes.spines.values():
        spine.set_edgecolor(INK)


def _legend_handles(figure: Figure) -> dict[str, Any]:
    """Label -> line of the legend that all axes share; attacks first, then what dashes mean."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    return dict(sorted(found.items(), key=lambda item: item[1].get_color() == INK))


def _draw_legend(figure: Figure, columns: int) -> float:
    """One legend for all axes; gives its height in inches."""
    entries = _legend_handles(figure)
    if entries:
        legend = figure.legend(
            list(entries.values()),
            list(entries),
            loc="lower center",
            ncols=columns,
            fontsize=8,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return 0.17 * -(-len(entries) // columns) + 0.05


# --- for a screen ---------------------------------------------------------------------------------


def legend_entries(figure: Figure) -> list[Entry]:
    """The sheet's legend, for a page that writes it as text."""
    found = []
    for label, line in _legend_handles(figure).items():
        assert isinstance(line, Line2D)
        color = "currentColor" if line.get_color() == INK else str(line.get_color())
        dashes = {"--": "5 3", "-.": "5 3 1 3", ":": "1 3"}.get(str(line.get_linestyle()), "")
        found.append(Entry(label, color, dashes, line.get_marker() not in ("None", "", None)))
    return found


def cut_into_panels(figure: Figure, text: str, prefix: str) -> list[Markup]:
    """Each panel of the sheet as SVG of its own, without title; prefix makes its ids unique.

    text: the sheet as matplotlib wrote it, which escapes every text in it.
    """
    tree = ElementTree.fromstring(text)
    named = {own.get("id"): own for own in tree.iter() if own.get("id")}
    return [
        _cut_panel(axes, named[f"axes_{i + 1}"], named, f"{prefix}-{i}")
        for i, axes in enumerate(figure.axes)
    ]


def _cut_panel(axes: Axes, group: Any, named: dict[Any, Any], prefix: str) -> Markup:
    """A picture of one group of the sheet, with what it refers to elsewhere."""
    own = copy.deepcopy(group)
    own.remove(next(part for part in own if part.get("id") == TITLE))
    inside = {part.get("id") for part in own.iter()}
    box = " ".join(f"{72 * length:.1f}" for length in _panel_box(axes))
    style = {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    picture = ElementTree.Element(f"{{{SVG}}}svg", {"viewBox": box, **style})
    elsewhere = ElementTree.SubElement(picture, f"{{{SVG}}}defs")
    used = dict.fromkeys(_referenced_names(own))
    elsewhere.extend(copy.deepcopy(named[name]) for name in used if name not in inside)
    picture.append(own)
    _slim_down(picture, used)
    text = ElementTree.tostring(picture, encoding="unicode").replace(INK, "currentColor")
    return Markup(re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text))


def _slim_down(picture: Any, used: Collection[str]) -> None:
    """Drop blanks, unused names, digits that no eye tells, and fonts: a page has its own."""
    for part in picture.iter():
        if part.get("id") not in used:
            part.attrib.pop("id", None)
        if style := part.get("style"):
            part.set("style", re.sub(r"font-family:[^;]*;? ?", "", style))
        if line := part.get("d"):
            part.set("d", _shorter_line(line))
        if not (part.text or "").strip():
            part.text = None
        part.tail = None


def _shorter_line(path: str) -> str:
    """A path in tenths of a point, in which pairs of numbers after the first go on straight.

    >>> _shorter_line("M 51.43 20  L 60.08 20.96  ")
    'M51.4 20 60.1 21'
    """
    rounded = re.sub(r"-?\d+\.\d+", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), path)
    blank = " ".join(rounded.split())
    straight = re.sub(r" L (?=-?\d)", " ", blank) if set("CQZz").isdisjoint(blank) else blank
    return re.sub(r"([A-Za-z]) ", r"\1", straight)


def _panel_box(axes: Axes) -> tuple[float, float, float, float]:
    """x, y (from above), width and height in inches of a panel on its sheet, without its title."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = figure.get_size_inches()
    at = axes.get_position()
    columns = min(COLUMNS, len(figure.axes))
    top = (1 - at.y1) * height - ABOVE / 3
    left = at.x1 * width + RIGHT - width / columns
    return left, top, width / columns, at.height * height + ABOVE / 3 + BELOW


def _referenced_names(tree: Any) -> list[str]:
    """What is referred to inside."""
    values = (value for part in tree.iter() for value in part.attrib.values())
    return [name for value in values for name in re.findall(r"(?:^|url\()#([^)]+)", value)]
