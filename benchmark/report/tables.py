"""A study as a table: a row per victim, setting and calibration, a column per attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.measures.columns import columns_of
from benchmark.measures.estimate import Estimate, combine_differences, of_auroc
from benchmark.measures.metrics import holm
from benchmark.measures.numbers import format_duration
from benchmark.measures.pairs import LEVEL
from benchmark.measures.result import NO_ACCESS
from benchmark.report.collect import SEED, Group, Outcome, Row, Study, victim_numbers
from benchmark.report.wording import ABSENT

ROW = ["attack", "calibrated"]
CAPTION = (
    "Cells are AUROCs. One seed has DeLong's 95% interval. Several seeds have their mean ± half of "
    "its 95% interval: Student's t over the seeds, or DeLong's of all seeds where that is wider. "
    "A bold cell is better than every other attack in its row: DeLong's paired test on the same "
    "queries, all seeds together, Holm-corrected over all pairs of the row, 5%. N/a means that the "
    "victim does not grant this access. The interval of blind is that of shuffled labels."
)
MADE = {
    "training seconds": ("training", format_duration),
    "seconds per step": ("a step", format_duration),
    "parameters": ("parameters", "{:,.0f}".format),
}
"""Number of a victim beside its AUROCs -> heading, and how it is written."""

PROMISE = {column.name: column.heading for column in columns_of("study")}
"""What private training has spent, its noise multiplier and clipping norm -> heading."""


class Cell(NamedTuple):
    """AUROC over seeds, whether it is significantly the best of its victim, or of no attack."""

    estimate: Estimate
    best: bool
    blind: bool = False

    @property
    def text(self) -> str:
        """mean ± half with several seeds, mean [low, high] with one, n/a without any."""
        own = self.estimate
        if not own.seeds:
            return "n/a"
        if own.seeds > 1:
            return f"{own.mean:.3f} ± {own.half:.3f}"
        return f"{own.mean:.3f} [{own.low:.3f}, {own.high:.3f}]"


class VictimNumber(NamedTuple):
    """A number about the victim itself, as a text and as a number."""

    text: str
    value: float


class TableRow(NamedTuple):
    """A row: the labels' values, a cell by attack (None: not asked for), the victim's numbers."""

    names: list[str]
    cells: dict[str, Cell | None]
    own: dict[str, VictimNumber]


@dataclass(frozen=True)
class Table:
    """A study's table.

    labels: headings of the columns that name a row.
    attacks: headings of the columns that have an AUROC.
    numbers: headings of the columns about the victim itself.
    budgets: how often attacks may ask a network for each query, a sentence or "".
    """

    labels: list[str]
    attacks: list[str]
    numbers: list[str]
    rows: list[TableRow]
    budgets: str = ""

    def cells_in_order(self, cells: dict[str, Cell | None]) -> list[Cell | None]:
        """A row's cells in the order of the columns."""
        return [cells.get(attack) for attack in self.attacks]


def study_table(study: Study) -> Table:
    """The table of a study: AUROC by victim, setting and calibration, a column per attack."""
    found = study_cells(study)
    numbers = mean_victim_numbers(study)
    attacks = list(dict.fromkeys(row.attack for rows in found.values() for row in rows))
    variants = list(dict.fromkeys(row.calibrated for rows in found.values() for row in rows))
    several = ["seeds"] if study.seeds > 1 else []
    own = dict.fromkeys(name for known in numbers.values() for name in known)
    rows = [
        TableRow(
            [*map(str, group.values), variant, *(_seeds_done(study, group) for _ in several)],
            {attack: found[group].get(Row(attack, variant)) for attack in attacks},
            {name: numbers[group].get(name, VictimNumber(ABSENT, np.nan)) for name in own},
        )
        for group in found
        for variant in variants
        if any((attack, variant) in found[group] for attack in attacks)
    ]
    labels = [*study.labels, "calibrated", *several]
    return Table(labels, attacks, list(own) if rows else [], rows, _budgets_sentence(study.frame))


def _budgets_sentence(rows: pd.DataFrame) -> str:
    """Evaluations a query of the attacks that have such a budget: all that occur."""
    if "evaluations" not in rows:
        return ""
    known = rows.dropna(subset="evaluations").groupby("attack", sort=False)["evaluations"]
    texts = [
        f"{str(attack).replace('_', ' ')} {', '.join(f'{n:.0f}' for n in sorted(set(own)))}"
        for attack, own in known
    ]
    return f"Network evaluations a query: {'; '.join(texts)}." if texts else ""


@cache
def study_cells(study: Study) -> dict[Group, dict[Row, Cell]]:
    """By group and by row (attack, calibration): AUROC over the seeds that have one."""
    found = {}
    for group, seeds in study.groups.items():
        rows = pd.concat([_rows_of(outcome) for outcome in seeds.values()])
        estimates = {
            Row(*map(str, names)): of_auroc(own) for names, own in rows.groupby(ROW, sort=False)
        }
        accesses = dict(zip(rows["attack"], rows["access"], strict=True))
        rivals = {row: e for row, e in estimates.items() if accesses[row.attack] != NO_ACCESS}
        by_variant: dict[str, dict[Row, Estimate]] = {}
        for row, estimate in rivals.items():
            by_variant.setdefault(row.calibrated, {})[row] = estimate
        best = {significantly_best(own, seeds) for own in by_variant.values()}
        found[group] = {
            row: Cell(estimate, row in best, blind=row not in rivals)
            for row, estimate in estimates.items()
        }
    return found


def significantly_best(estimates: dict[Row, Estimate], seeds: Mapping[int, Outcome]) -> Row | None:
    """The row that is better than every other at LEVEL, Holm-corrected over all pairs, or None.

    The test is about these victims and any queries: all seeds' paired differences together.
    """
    rows = [row for row, estimate in estimates.items() if estimate.seeds == len(seeds)]
    if len(rows) < 2 or len(rows) < sum(estimate.seeds > 0 for estimate in estimates.values()):
        return None
    best, p_values, with_best = max(rows, key=lambda row: estimates[row].mean), [], []
    for a, b in combinations(rows, 2):
        pairs = [outcome.differences.get((a, b)) for outcome in seeds.values()]
        known = [pair for pair in pairs if pair]
        if len(known) < len(pairs):
            return None
        p_greater = combine_differences(known, between=False).p_value
        p_values.append(2 * min(p_greater, 1 - p_greater))
        with_best.append(best in (a, b))
    return best if (holm(p_values)[np.array(with_best)] < LEVEL).all() else None


def mean_victim_numbers(study: Study) -> dict[Group, dict[str, VictimNumber]]:
    """By group: measures of sample quality, training time and size, means over the seeds.

    Where any victim of the study was trained privately, the terms of each one's privacy as well.
    """
    promises = {id(o): _promise_terms(o) for o in study.done}
    is_private = any(np.isfinite(own["epsilon"]) for own in promises.values())
    found: dict[Group, dict[str, VictimNumber]] = {}
    for group, seeds in study.groups.items():
        numbers = [
            (promises[id(o)] if is_private else {}) | victim_numbers(o.record.result)
            for o in seeds.values()
            if o.record
        ]
        found[group] = {}
        for name in dict.fromkeys(name for own in numbers for name in own):
            heading, write = MADE.get(name, (PROMISE.get(name, name), _short_text))
            mean = float(np.mean([own.get(name, np.nan) for own in numbers]))
            found[group][heading] = VictimNumber(write(mean), mean)
    return found


def study_audits(study: Study) -> pd.DataFrame:
    """What canaries showed of the promises of private training: a row a job and attack.

    Columns: `Study.labels`, seed, attack, count (of canaries) and those of
    `benchmark.job.canaries.audit_canaries` behind it. Empty where no job was audited.
    """
    frames = [
        found.rename(columns={"canaries": "count"}).assign(**study.coordinates(outcome.job))
        for outcome in study.done
        if outcome.record and not (found := outcome.record.result.canaries).empty
    ]
    if not frames:
        return pd.DataFrame()
    made, names = pd.concat(frames, ignore_index=True), [*study.labels, SEED]
    return made[[*names, *(name for name in made.columns if name not in names)]]


def _promise_terms(outcome: Outcome) -> dict[str, float]:
    """The terms of private training; an infinite epsilon and nothing else without."""
    row = _rows_of(outcome).iloc[0]
    return {name: float(row.get(name, np.nan)) for name in PROMISE}


def _short_text(number: float) -> str:
    """Three digits; infinity as a sign, and a dash for what there is not."""
    if np.isnan(number):
        return ABSENT
    return "∞" if np.isinf(number) else f"{number:.3g}"


def _seeds_done(study: Study, group: Group) -> str:
    """How many of a row's seeds have a result."""
    return f"{len(study.groups[group])} of {len(study.every_group[group])}"


def _rows_of(outcome: Outcome) -> pd.DataFrame:
    assert outcome.record is not None
    return outcome.record.result.rows
