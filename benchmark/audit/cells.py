"""Single columns of which a release repeats members' cells more often than non-members'.

Attacks compare whole records. A release that copies dates of birth, and draws all else anew, passes
them, and so does one that copies a column that nobody compares. Here each column stands by itself.
Of the cells that one group has and the other has not, as many members as non-members apart, a
release without a leak repeats equally many of both: Fisher's exact test, corrected for columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from attacks.base import some_rows
from benchmark.audit.given.case import Case
from benchmark.audit.given.columns import as_text
from benchmark.audit.given.inputs import Records
from benchmark.config.quoting import pasted
from benchmark.measures.checks import Check
from benchmark.measures.copies import more_often

SURE = 0.001
"""P-value, corrected for columns, from which on a column that is not compared voids an audit."""


class Cells(NamedTuple):
    """Different cells of a column that members have alone, and non-members: counted, and released.

    p: chance of so many released ones of members, or more, without a leak; corrected for columns.
    """

    column: str
    ignored: bool
    members: int
    released_members: int
    non_members: int
    released_non_members: int
    p: float

    @property
    def text(self) -> str:
        """What was counted, in words."""
        return (
            f"{self.column}: {self.released_members} of {self.members} values that members have "
            f"alone stand among the released ones, and {self.released_non_members} of "
            f"{self.non_members} that non-members have alone"
        )


def compare_cells(case: Case) -> list[Cells]:
    """Each column of a table's samples against both groups; nothing for images and generators."""
    if not _has_cells(case):
        return []
    found = [own for own in _each_column(case) if own.released_members + own.released_non_members]
    return [own._replace(p=min(1.0, own.p * len(found))) for own in found]


def _has_cells(case: Case) -> bool:
    """Whether samples of a table were handed in."""
    return "samples" in case.given and not case.given["members"].is_image


def _each_column(case: Case) -> Iterator[Cells]:
    groups = [case.given[name] for name in ("members", "non_members")]
    least = min(map(len, groups))
    drawn = [some_rows(len(records), least) for records in groups]
    for ignored in (False, True):
        released = _part(case.given["samples"], ignored)
        real = [_part(g, ignored).iloc[rows] for g, rows in zip(groups, drawn, strict=True)]
        for column in real[0].columns:
            if column in real[1] and column in released:
                ours, theirs = (set(as_text(table[column])) - {""} for table in real)
                out = set(as_text(released[column]))
                alone = ours - theirs, theirs - ours
                (m, x), (n, y) = ((len(one), len(one & out)) for one in alone)
                yield Cells(str(column), ignored, m, x, n, y, more_often(x, m, y, n))


def _part(records: Records, ignored: bool) -> pd.DataFrame:
    """The columns that are compared, or those that records.ignore leaves out."""
    if not ignored:
        return records.table
    return records.aside if records.aside is not None else records.table.iloc[:, :0]


def check_ignored(case: Case, cells: Sequence[Cells]) -> list[Check]:
    """Columns that are released and not compared; an error where they repeat members' cells."""
    if not _has_cells(case):
        return []
    by_column = {own.column: own for own in cells if own.ignored}
    asked = _part(case.given["members"], True).columns
    found = []
    for column in _part(case.given["samples"], True).columns:
        own = by_column.get(str(column))
        if own is not None and own.p < SURE:
            message = (
                f"{own.text}. {pasted('records.ignore', str(column))} keeps attacks from it, so "
                f"they say nothing of that: leave the column out of the release, and audit again"
            )
            found.append(Check("copied cells", "error", message))
        elif column in asked:
            message = (
                f"{column}: released, but {pasted('records.ignore', str(column))} leaves it out, "
                f"so that no attack looks at it"
            )
            found.append(Check("not compared", "warning", message))
    return found
