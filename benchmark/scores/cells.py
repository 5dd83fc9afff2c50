"""Does a row equal a record but for rounding? Asked cell by cell, because one distance can mislead.

A code such as 99999 for "not measured" makes a column's standard deviation large. Standardised
distances of rows that differ in every cell then look like nothing.
"""

from __future__ import annotations

import numpy as np

from benchmark.measures.copies import EXACT

CHUNK = 4096
"""Samples that are compared together."""


def cells_agree(
    records: np.ndarray,
    closest: np.ndarray,
    released: np.ndarray,
    rows: np.ndarray,
    rounding: np.ndarray | None = None,
) -> np.ndarray:
    """Whether all cells of samples agree with their closest record but for rounding, (n,) bool.

    records (r, d), released (k, d): numbers, flags, and categories one-hot. closest, rows (n,):
    which of them are compared. Cells agree that differ by at most EXACT of `width_of_half`: two
    flags or two levels of a category never do. rounding (d,): what agrees too, where digits are
    known.
    """
    found = np.zeros(len(rows), bool)
    if not len(rows):
        return found
    most = EXACT * np.array([width_of_half(column) for column in records.T])
    most = most if rounding is None else np.maximum(most, rounding)
    for at in range(0, len(rows), CHUNK):
        part = slice(at, at + CHUNK)
        apart = np.abs(released[rows[part]] - records[closest[part]])
        found[part] = (apart <= most).all(1)
    return found


def width_of_half(column: np.ndarray) -> float:
    """Width of the narrowest interval that holds half of a column's different values, at least two.

    Few codes far from all other values hardly change it, however often they occur. 0 for one value.

    >>> width_of_half(np.array([1.0, 2, 3, 4, 5, 6, 99999]))
    3.0
    >>> width_of_half(np.array([0.0, 0, 0, 1, 99999]))
    1.0
    """
    values = np.unique(column)
    half = max(2, (len(values) + 1) // 2)
    if len(values) < half:
        return 0.0
    return float((values[half - 1 :] - values[: len(values) - half + 1]).min())
