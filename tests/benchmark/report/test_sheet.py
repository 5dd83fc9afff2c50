"""Panels that are cut out of a sheet."""

from __future__ import annotations

import re
from functools import partial

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmark.report import plots, sheet
from benchmark.report.collect import Group
from benchmark.report.sheet import Panel
from benchmark.report.wording import ABSENT
from benchmark.show import figures


def draw(color: str, axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], "o--", color=color, label=f"<{color}>")
    axes.fill_between([0, 1], [0, 0], [1, 1], alpha=0.1)


def test_a_panel_stands_alone(tmp_path) -> None:
    panels = [Panel(f"title {i}", "data", "victim", partial(draw, "#0072B2")) for i in range(5)]
    figure = sheet.draw_sheet(panels)
    text = figures.save_figure(figure, tmp_path / "figure")
    assert (tmp_path / "figure.svg").read_text() == text
    assert all(panel.title in text for panel in panels)
    cut = sheet.cut_into_panels(figure, text, "study")
    assert len(cut) == 5
    for i, picture in enumerate(cut):
        assert "title" not in picture
        ids = set(re.findall(r'\bid="([^"]+)"', picture))
        assert all(own.startswith(f"study-{i}-") for own in ids)
        assert (
            set(re.findall(r'(?:url\(|href=")#([^")]+)', picture)) == ids
        )  # none is missing, none idle
        assert "0.0</text>" in picture
        assert "font-family" not in picture
    boxes = [re.findall(r'viewBox="([^"]+)"', picture)[0].split() for picture in cut]
    assert len({tuple(box[2:]) for box in boxes}) == 1
    assert len({tuple(box[:2]) for box in boxes}) == 5
    assert boxes[0][0] == boxes[3][0]  # three a row


def test_long_titles_stay_above_their_panels() -> None:
    words = "vae table, randhie binary, members 2048, steps 6000, distance l2, queries 1024"
    titles = [words, "dcgan, mnist5k", words, words, words]
    figure = sheet.draw_sheet(
        [Panel(t, "data", "victim", partial(draw, "#0072B2")) for t in titles]
    )
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [axes.title.get_window_extent(renderer) for axes in figure.axes]
    boxes += [axes.bbox for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_the_legend_as_text() -> None:
    panels = [Panel("", "data", "victim", partial(draw, color)) for color in ("#0072B2", "#D55E00")]
    entries = sheet.legend_entries(sheet.draw_sheet(panels))
    assert [(e.label, e.color, e.marker) for e in entries] == [
        ("<#0072B2>", "#0072B2", True),
        ("<#D55E00>", "#D55E00", True),
    ]
    assert all(e.dashes for e in entries)


def test_a_setting_that_a_victim_lacks_names_no_row_and_no_panel() -> None:
    lacks, has = (Group("a", "table", (("victim.kind", kind),)) for kind in (ABSENT, "count"))
    assert plots._row_label(lacks, "white_box") == "white box"
    assert plots._row_label(has, "white_box") == "count, white box"
    assert plots.title_of(lacks) == "a, table"
    assert plots.title_of(has) == "a, table, kind count"


def test_a_setting_that_a_whole_panel_shares_stands_in_its_title() -> None:
    """Each row of a figure began with 128, 128."""
    settings = [
        (("victim.kind", ABSENT), ("split.members", 128), ("dp", dp)) for dp in ("on", "off")
    ]
    groups = {Group("a", "table", own): {} for own in settings}
    panel, left = plots._shared_in_title(Group("a", "table", ()), groups)
    assert plots.title_of(panel) == "a, table, members 128"
    assert [group.settings for group in left] == [(("dp", "on"),), (("dp", "off"),)]
    alone, rows = plots._shared_in_title(
        Group("a", "table", ()), {Group("a", "table", settings[0]): {}}
    )
    assert plots.title_of(alone) == "a, table, members 128, dp on"
    assert [group.settings for group in rows] == [()]
