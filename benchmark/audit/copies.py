"""Training records that stand among the released ones word for word: how many, and by chance?

Two questions. Are members copied more often than non-members? (An exact test, for records of any
kind.) And can a copy be chance at all? A number with many digits, or a whole photograph, comes
twice only when somebody copied it: then one copy is proof, while for "female, 34, no" it is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from benchmark.audit.given.case import Case
from benchmark.audit.given.selection import content_values
from benchmark.measures.copies import more_often

CHANCE = 1e-4
"""Chance that all records that count as telling together have one accidental copy, at most."""
NEIGHBOURS = 10
"""Values around a record's own from which the density of a column is estimated."""
DIGITS = float(np.finfo(np.float32).eps)
"""Share of a number that records tell apart: they are compared in float32."""
FINEST = 3
"""Columns that count together as digits which agree by accident."""
RELATED = 0.9
"""Rank correlation above which one column is taken to follow from another."""
GREYS = 32
"""Different values that the pixels of an image have when it cannot be an accident."""


@dataclass(frozen=True)
class Copies:
    """Queries that equal a released record.

    members, non_members: queries of each kind. copied_...: those among the released records.
    telling_...: those of the copied whose content is no accident. released: whether anything was.
    """

    members: int = 0
    non_members: int = 0
    copied_members: int = 0
    copied_non_members: int = 0
    telling_members: int = 0
    telling_non_members: int = 0
    released: bool = False

    @property
    def p_value(self) -> float:
        """Of "members are copied as often as non-members": Fisher's exact test, one-sided."""
        return more_often(
            self.copied_members, self.members, self.copied_non_members, self.non_members
        )

    @property
    def p_swapped(self) -> float:
        """The same test the other way round: of a release from which members were removed."""
        return more_often(
            self.copied_non_members, self.non_members, self.copied_members, self.members
        )

    @property
    def certain(self) -> int:
        """Members of which one copy is proof; 0 where non-members of that kind are copied too."""
        return 0 if self.telling_non_members else self.telling_members

    def count_proven(self, level: float, alike: bool = True) -> int:
        """Copied members that neither chance nor what non-members show explains, at a level.

        alike: whether members and non-members are records of one kind, so that one can be compared
        with the other; if not, only copies count that are no accident.
        """
        if self.certain and 1 - level > CHANCE:
            return self.certain
        if not alike or self.p_value >= 1 - level:
            return 0
        expected = self.copied_non_members * self.members / self.non_members
        return max(1, round(self.copied_members - expected))


def copies_of(case: Case) -> Copies:
    """Compare the queries with the released records."""
    queries, released = case.queries, case.released
    member = queries.is_member
    members, non_members = int(member.sum()), int((~member).sum())
    if released is None:
        return Copies(members, non_members)
    copied = np.isin(content_values(queries.digests), content_values(released.digests))
    telling = np.zeros_like(copied)
    telling[copied] = _is_telling(case, np.flatnonzero(copied))
    return Copies(
        members,
        non_members,
        copied_members=int((copied & member).sum()),
        copied_non_members=int((copied & ~member).sum()),
        telling_members=int((telling & member).sum()),
        telling_non_members=int((telling & ~member).sum()),
        released=True,
    )


def _is_telling(case: Case, places: np.ndarray) -> np.ndarray:
    """Whether each of these queries (p,) has a content that no accident repeats.

    Of a table: a record falls among like ones with a chance of NEIGHBOURS / q, and the digits that
    are left agree by `_chance_together`; that, for all queries and released records, is under
    CHANCE. Of images: pixels of GREYS different values. This rule is the benchmark's own. Nothing
    is telling where the given records repeat one another: then released records that are real ones
    of other people may repeat them too.
    """
    left_out = case.left_out
    if left_out.members + left_out.non_members + left_out.repeated or not len(places):
        return np.zeros(len(places), bool)
    if case.given["members"].is_image:
        records = case.queries.records(places).flatten(1).numpy()
        return np.array([len(np.unique(record)) >= GREYS for record in records])
    given = [case.given[name].table for name in ("members", "non_members")]
    pool = pd.concat(given, ignore_index=True).iloc[case.queries.rows]
    table = case.given.get("samples", case.given.get("generated"))
    assert table is not None
    columns = [
        column
        for column in pool.columns
        if pd.api.types.is_numeric_dtype(pool[column]) and column in table.table.columns
    ]
    if not columns:
        return np.zeros(len(places), bool)
    shares = [
        _chances_of_values(
            pool[column].to_numpy(float), table.table[column].to_numpy(float), places
        )
        for column in columns
    ]
    chances = _chance_together(np.stack(shares), pool[columns].rank().corr().abs().to_numpy())
    return chances * NEIGHBOURS / len(pool) < CHANCE / (len(pool) * len(table))


def _chance_together(shares: np.ndarray, related: np.ndarray) -> np.ndarray:
    """Chance (p,) that all columns agree by accident with records that are alike.

    shares (c, p): of each column alone; related (c, c): rank correlations. The smallest count, at
    most FINEST of them, and none of a column that follows from one that counts already.
    """
    found = np.ones(shares.shape[1])
    for place in range(shares.shape[1]):
        taken: list[int] = []
        for column in np.argsort(shares[:, place]):
            if len(taken) < FINEST and not (related[column, taken] > RELATED).any():
                taken.append(int(column))
        found[place] = shares[taken, place].prod()
    return found


def _chances_of_values(values: np.ndarray, released: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Chance that a record nearby has the same value in this column, for the queries at `places`.

    values (q,): of all queries; released (r,): of the released records. It is the unit of the last
    digit of the record's own value (12.5 counts in tenths), as a share of the width in which its
    neighbours lie. 1 where several records have the value.
    """
    around = [np.sort(v[np.isfinite(v)]) for v in (values, released)]
    found = np.ones(len(places))
    for i, value in enumerate(values[places]):
        if np.isfinite(value) and (values == value).sum() == 1:
            found[i] = max(_chance_of_value(known, value) for known in around)
    return found


def _chance_of_value(known: np.ndarray, value: float) -> float:
    """The value's unit over the width of its neighbours in a sorted column."""
    others = known[known != value]
    if len(others) <= NEIGHBOURS:
        return 1.0
    unit = max(_unit_of_last_digit(value), DIGITS * abs(value), DIGITS * float(np.std(others)))
    middle = int(np.searchsorted(others, value)) - NEIGHBOURS // 2
    start = min(max(middle, 0), len(others) - NEIGHBOURS - 1)
    width = float(others[start + NEIGHBOURS] - others[start])
    return min(1.0, unit / max(width, unit))


def _unit_of_last_digit(value: float) -> float:
    """Unit of the last decimal digit that is not zero: 0.1 for 12.5, 100 for 1200."""
    if value == 0:
        return float("inf")
    exponent = Decimal(repr(float(value))).normalize().as_tuple().exponent
    return float(10.0 ** int(exponent))
