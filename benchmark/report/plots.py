"""What is drawn of a study, in panels, one a victim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import starmap
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmark.measures import metrics
from benchmark.measures.numbers import spaced_name
from benchmark.report.collect import Group, Outcome, Row, Study
from benchmark.report.sheet import Panel
from benchmark.report.tables import Cell, study_cells
from benchmark.report.wording import ABSENT, spaced_value
from benchmark.show.figures import INK, PALETTE

GUESS: Any = {"color": "#888888", "linestyle": ":", "linewidth": 1.2}
OPEN: Any = {"markerfacecolor": "white"}
"""How the mark of a single seed looks where several were asked for."""

DASHES = ("-", "--", "-.", ":")
Cells = dict[Group, dict[Row, Cell]]

POINTS = 100
"""Points of a ROC curve: more cannot be told apart at this size."""


def figures_of(study: Study) -> dict[str, list[Panel]]:
    """The figures of a study by the names of their files; those that have panels."""
    every = {
        "auroc": auroc_panels(study),
        "roc": roc_panels(study, log=False),
        "roc-log": roc_panels(study, log=True),
    }
    return {name: panels for name, panels in every.items() if panels}


def auroc_panels(study: Study) -> list[Panel]:
    """AUROC against the study's x; where it has none, a mark with its interval for each attack."""
    found = study_cells(study)
    by_victim: dict[Group, Cells] = {}
    for group, rows in found.items():
        by_victim.setdefault(panel_of(study, group), {})[group] = rows
    if study.x in study.settings:
        most = max((len(groups) for groups in by_victim.values()), default=0)
        return [
            _panel(victim, partial(_draw_curves, study, groups))
            for victim, groups in by_victim.items()
            if len(groups) > 1 or most == 1  # a control has one place, and no curve
        ]
    variants = list(dict.fromkeys(row.calibrated for rows in found.values() for row in rows))
    attacks = [cell for rows in found.values() for cell in rows.values() if not cell.blind]
    lows = [cell.estimate.low for cell in attacks]
    start = min(0.45, *(low for low in lows if low == low), 1.0)
    return [
        _panel(
            victim,
            partial(_draw_marks, groups, variants, start, study.seeds > 1),
            0.2 * len(labels),
            0.15 + 0.072 * max(map(len, labels)),
        )
        for victim, groups in starmap(_shared_in_title, by_victim.items())
        if (labels := _row_labels(groups))
    ]


def _shared_in_title(panel: Group, groups: Cells) -> tuple[Group, Cells]:
    """A panel with the settings that all its groups share, and the groups without these."""
    shared = set.intersection(*(set(group.settings) for group in groups))
    named = [pair for pair in next(iter(groups)).settings if pair in shared]
    left = {
        group._replace(settings=tuple(pair for pair in group.settings if pair not in shared)): rows
        for group, rows in groups.items()
    }
    return panel._replace(settings=tuple(named)), left


def roc_panels(study: Study, log: bool) -> list[Panel]:
    """ROC curves of each victim and setting; of several seeds, the mean rate at equal cost.

    None where a study has an x: its curves say what changes, and its groups are many.
    """
    if study.x in study.settings:
        return []
    attacks = _attack_names(study)
    return [
        _panel(group, partial(_draw_rocs, list(seeds.values()), attacks, log), 2.5)
        for group, seeds in study.groups.items()
    ]


def panel_of(study: Study, group: Group) -> Group:
    """What names a panel: the group but for x where the study has one, else the victim."""
    return group.without(study.x) if study.x in study.settings else group._replace(settings=())


def title_of(group: Group) -> str:
    """What stands above a panel: victim, data and the settings that it has."""
    settings = [
        f"{spaced_name(name.rsplit('.', 1)[-1])} {spaced_value(value)}"
        for name, value in _present(group)
    ]
    return ", ".join([spaced_name(group.victim), spaced_name(group.data), *settings])


def _panel(group: Group, draw: Callable[[Axes], None], *size: float) -> Panel:
    return Panel(title_of(group), group.data, group.victim, draw, *size)


def _draw_curves(study: Study, groups: Cells, axes: Axes) -> None:
    attacks, place = (
        _attack_names(study),
        _x_positions([group.value_of(study.x) for group in groups]),
    )
    rows = list(dict.fromkeys(row for own in groups.values() for row in own if not own[row].blind))
    for row in rows:
        points = sorted(
            (place[group.value_of(study.x)], own[row].estimate)
            for group, own in groups.items()
            if row in own
        )
        known = [(x, e) for x, e in points if e.seeds]
        if known:
            x, estimates = zip(*known, strict=True)
            low, mean, high = np.array([[e.low, e.mean, e.high] for e in estimates]).T
            style = _line_style(row, attacks)
            axes.plot(x, mean, marker="o", markersize=3, **style)
            if study.seeds > 1:
                single = [(value, e.mean) for value, e in known if e.seeds == 1]
                at_x, at_y = np.reshape(single, (-1, 2)).T
                axes.plot(at_x, at_y, "o", color=style["color"], markersize=3, **OPEN)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    _explain_lines(axes, rows, attacks)
    axes.axhline(0.5, **GUESS)
    axes.set(xscale="log", xlabel=study.axis, ylabel="AUROC", ylim=(None, 1.01))
    axes.set_xticks(list(place.values()), [str(value) for value in place])
    axes.minorticks_off()


def _x_positions(values: Sequence[Any]) -> dict[Any, float]:
    """Where each value of x stands; what is no number (no privacy at all) beyond the largest."""
    numbers = sorted({float(value) for value in values if isinstance(value, int | float)})
    beyond = 4 * max(numbers, default=1.0)
    return {
        value: float(value) if isinstance(value, int | float) else beyond
        for value in dict.fromkeys(values)
    }


def _draw_marks(
    groups: Cells,
    variants: Sequence[str],
    start: float,
    several: bool,
    axes: Axes,
) -> None:
    labels = _row_labels(groups)
    for group, rows in groups.items():
        for attack in dict.fromkeys(row.attack for row in rows):
            at = labels.index(_row_label(group, attack))
            if not any(rows[row].estimate.seeds for row in rows if row.attack == attack):
                place: Any = {
                    "transform": axes.get_yaxis_transform(),
                    "verticalalignment": "center",
                }
                axes.text(0.02, at, "n/a", color=GUESS["color"], **place)
            for i, variant in enumerate(variants):
                cell = rows.get(Row(attack, variant))
                if cell and cell.estimate.seeds:
                    e, y = cell.estimate, at + 0.24 * (i - (len(variants) - 1) / 2)
                    color = PALETTE[i % len(PALETTE)]
                    axes.plot([e.low, e.high], [y, y], color=color, linewidth=1.4)
                    fill = OPEN if several and e.seeds == 1 else {}
                    axes.plot(e.mean, y, "o", color=color, markersize=4, **fill)
    for i, variant in enumerate(variants):
        color = PALETTE[i % len(PALETTE)]
        axes.plot(
            [], [], "o-", color=color, markersize=4, linewidth=1.4, label=_variant_label(variant)
        )
    axes.axvline(0.5, **GUESS)
    axes.set(xlabel="AUROC", xlim=(max(0.0, start - 0.02), 1.01), ylim=(len(labels) - 0.5, -0.5))
    axes.set_yticks(range(len(labels)), labels, parse_math=False)


def _row_labels(groups: Cells) -> list[str]:
    return [
        _row_label(group, attack)
        for group, rows in groups.items()
        for attack in dict.fromkeys(row.attack for row in rows)
    ]


def _row_label(group: Group, attack: str) -> str:
    return ", ".join([*(str(value) for _, value in _present(group)), spaced_name(attack)])


def _present(group: Group) -> list[tuple[str, Any]]:
    """The settings that a group has: where one lacks, its value is ABSENT."""
    return [pair for pair in group.settings if pair[1] != ABSENT]


def _draw_rocs(seeds: Sequence[Outcome], attacks: Sequence[str], log: bool, axes: Axes) -> None:
    members = [member for outcome in seeds for _, member in outcome.scores.values()]
    floor = 0.5 / min(min(member.sum(), (~member).sum()) for member in members)
    grid = np.geomspace(floor, 1, POINTS) if log else np.linspace(0, 1, POINTS)
    rows = dict.fromkeys(row for outcome in seeds for row in outcome.scores)
    for row in rows:
        own = [outcome.scores[row] for outcome in seeds if row in outcome.scores]
        rates = np.mean([_rates_on_grid(scores, member, grid) for scores, member in own], 0)
        shown = np.maximum(rates, floor) if log else rates
        axes.plot(grid, shown, drawstyle="steps-post", **_line_style(row, attacks))
    _explain_lines(axes, list(rows), attacks)
    axes.plot(grid, grid, **GUESS)
    if log:
        axes.set(xscale="log", yscale="log")
    start = floor if log else 0
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.minorticks_off()
    axes.set(xlim=(start, 1), ylim=(start, 1.1 if log else 1.01))


def _rates_on_grid(scores: np.ndarray, member: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True positive rate at each false positive rate of the grid, without interpolation."""
    false, true = metrics.roc_curve(scores[member], scores[~member])
    return true[np.searchsorted(false, grid * (1 + 1e-12), side="right") - 1]


def _attack_names(study: Study) -> list[str]:
    return list(dict.fromkeys(row.attack for rows in study_cells(study).values() for row in rows))


def _line_style(row: Row, attacks: Sequence[str]) -> dict[str, Any]:
    """Colour (and, where colours run out, dashes) by attack; a calibrated one is drawn thin."""
    i = attacks.index(row.attack)
    return {
        "color": PALETTE[i % len(PALETTE)],
        "linestyle": DASHES[(i // len(PALETTE) * 2 + (row.calibrated != "none")) % len(DASHES)],
        "linewidth": 1.6 if row.calibrated == "none" else 1.2,
    }


def _explain_lines(axes: Axes, rows: Sequence[Row], attacks: Sequence[str]) -> None:
    """Entries for the legend: the attacks by colour, the calibrations by line."""
    for attack in dict.fromkeys(row.attack for row in rows):
        axes.plot([], [], label=spaced_name(attack), **_line_style(Row(attack, "none"), attacks))
    for variant in dict.fromkeys(row.calibrated for row in rows if row.calibrated != "none"):
        axes.plot([], [], color=INK, linestyle="--", linewidth=1.2, label=_variant_label(variant))


def _variant_label(variant: str) -> str:
    return "raw" if variant == "none" else f"calibrated ({spaced_name(variant)})"
