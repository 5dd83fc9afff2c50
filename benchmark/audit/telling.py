"""Which contents no accident repeats, so that one copy among the released records is proof."""

from __future__ import annotations

import numpy as np
import pandas as pd

from attacks.base import some_rows
from benchmark.audit.digits import unit_of_last_digit
from benchmark.audit.given.case import Case

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
OTHERS = 2000
"""Records with which a record's cells are compared."""
FEW, MORE = 10, 100
"""Of these, the most alike ones: how their number falls tells how few would be equal."""


def is_telling(
    case: Case, rows: np.ndarray, places: np.ndarray, partners: np.ndarray
) -> np.ndarray:
    """Whether each of these records (p,) has a content that no accident repeats.

    rows (c,): of all different records among members and non-members. places (p,): which of them
    are asked about. partners (p,): the released record that equals it but for rounding; -1 where it
    is equal. Of a table either of two rules suffices; the chance for all records and released ones
    together is under CHANCE. Numbers: a record falls among like ones with a chance of NEIGHBOURS /
    c, and the digits that are left agree by `_chance_together`. Cells of any kind: see
    `_chances_by_likeness`. Of images: pixels of GREYS different values. These rules are the
    benchmark's own.
    """
    if not len(places):
        return np.zeros(0, bool)
    given = [case.given[name] for name in ("members", "non_members")]
    members = len(given[0])
    if given[0].is_image:
        found = (
            given[0].images.values[row] if row < members else given[1].images.values[row - members]
            for row in rows[places]
        )
        return np.array([len(np.unique(image)) >= GREYS for image in found])
    table, constants = case.released_records.table, getattr(case.space, "constants", {})
    pool = case.rows_as_read(rows)
    pool = pool[[c for c in pool.columns if c in table.columns and c not in constants]]
    enough = CHANCE / (len(pool) * len(table))
    by_digits = _chances_by_digits(pool, table, places, partners) * NEIGHBOURS / len(pool)
    return (by_digits < enough) | (_chances_by_likeness(pool, places) < enough)


def _chances_by_digits(
    pool: pd.DataFrame, released: pd.DataFrame, places: np.ndarray, partners: np.ndarray
) -> np.ndarray:
    """Chance (p,) that the numbers of a record among like ones agree by accident."""
    columns = [column for column in pool.columns if pd.api.types.is_numeric_dtype(pool[column])]
    if not columns:
        return np.ones(len(places))
    shares = []
    for column in columns:
        ours, theirs = pool[column].to_numpy(float), released[column].to_numpy(float)
        matches = np.where(partners < 0, ours[places], theirs[partners])
        shares.append(_chances_of_values(ours, theirs, places, matches))
    return _chance_together(np.stack(shares), pool[columns].rank().corr().abs().to_numpy())


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


def _chances_of_values(
    values: np.ndarray, released: np.ndarray, places: np.ndarray, matches: np.ndarray
) -> np.ndarray:
    """Chance that a record nearby agrees as closely in this column, for the records at `places`.

    values (c,): of all records; released (r,): of the released ones; matches (p,): the released
    values that the records at `places` are taken to equal. It is the unit of the last digit of
    both (12.5 counts in tenths), or twice their difference, as a share of the width in which
    neighbours lie. 1 where several records have the value.
    """
    around = [np.sort(v[np.isfinite(v)]) for v in (values, released)]
    found = np.ones(len(places))
    for i, (value, match) in enumerate(zip(values[places], matches, strict=True)):
        if np.isfinite(value) and np.isfinite(match) and (values == value).sum() == 1:
            found[i] = max(_chance_of_value(known, value, match) for known in around)
    return found


def _chance_of_value(known: np.ndarray, value: float, match: float) -> float:
    """The values' unit over the width of its neighbours in a sorted column."""
    others = known[(known != value) & (known != match)]
    if len(others) <= NEIGHBOURS:
        return 1.0
    unit = max(
        *(unit_of_last_digit(own) for own in (value, match)),
        *(2 * abs(value - match), DIGITS * abs(value), DIGITS * float(np.std(others))),
    )
    middle = int(np.searchsorted(others, value)) - NEIGHBOURS // 2
    start = min(max(middle, 0), len(others) - NEIGHBOURS - 1)
    width = float(others[start + NEIGHBOURS] - others[start])
    return min(1.0, unit / max(width, unit))


def _chances_by_likeness(pool: pd.DataFrame, places: np.ndarray) -> np.ndarray:
    """Chance (p,) that another record agrees in every cell, from how alike others are.

    A record differs from each of OTHERS in some number of cells. Their lower tail is drawn out to
    no difference at all, as fast as it falls between the MORE and the FEW most alike records, and
    from the one that is most alike. A tail that falls ever faster (sums of many answers do) lies
    under this. 1 where there are too few records, or all differ in as many cells.
    """
    some = some_rows(len(pool), OTHERS)
    found = np.ones(len(places))
    if len(some) <= MORE:
        return found
    cells = np.stack([pd.factorize(pool[column])[0] for column in pool.columns], 1)
    for i, place in enumerate(places):
        others = cells[some[some != place]]
        apart = np.sort((others != cells[place]).sum(1))
        low = apart[FEW - 1]
        further = apart[max(MORE - 1, int(np.searchsorted(apart, low, side="right"))) :]
        if len(further):
            of_low, of_high = (np.mean(apart <= own) for own in (low, further[0]))
            fall = (of_low / of_high) ** (1 / (further[0] - low))
            found[i] = max(of_low * fall**low, fall ** apart[0] / len(apart))
    return found
