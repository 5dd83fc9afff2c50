"""With how many digits numbers are written, and so how far rounding may move them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from attacks.base import some_rows
from benchmark.audit.given.case import Case
from benchmark.audit.given.space import TableSpace

LOOKED_AT = 2000
"""Released rows whose digits are looked at, at most."""
BELOW = 0.99
"""Share of a unit up to which cells may differ: values a whole unit apart are different ones."""


def unit_of_last_digit(value: float) -> float:
    """Unit of the last decimal digit that is not zero: 0.1 for 12.5, 100 for 1200."""
    if value == 0:
        return float("inf")
    exponent = Decimal(repr(float(value))).normalize().as_tuple().exponent
    return float(10.0 ** int(exponent))


def rounding_of_release(case: Case) -> np.ndarray:
    """How far each place (d,) of a stored record may move when it is written as the release is.

    A released column is written in its finest unit: tenths in 12.5, 3, 10. Values that are less
    than this apart are equal but for rounding. Only of tables; 0 for flags and categories.
    """
    space, table = case.space, case.released_records.table
    assert isinstance(space, TableSpace)
    table = table.iloc[some_rows(len(table), LOOKED_AT)]
    most = np.zeros(space.schema.width)
    for column, span in space.schema.spans:
        if column.kind in ("numeric", "integer"):
            values = table[column.name].to_numpy(float)
            units = [unit_of_last_digit(own) for own in values[np.isfinite(values)]]
            finest = min(units, default=np.inf)
            if np.isfinite(finest):
                most[span.start] = BELOW * finest / (column.high - column.low)
    return most
