"""Numbers far outside all others of a column, such as 99999 for a value that nobody measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from benchmark.audit.given.inputs import Records
from benchmark.config.quoting import pasted
from benchmark.data.notation import PLAIN

FAR = 10.0
"""So many interquartile ranges lie between a far value and the next one that is not far."""
REPEATED = 3
"""So often a far value stands in one input that it may be a code."""


def is_far(values: np.ndarray) -> np.ndarray:
    """Which of the numbers (n,), none missing, lie far above or below all others (n,) bool.

    >>> is_far(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 99999]))[-2:]
    array([False,  True])
    """
    first, third = np.quantile(values, (0.25, 0.75)) if len(values) else (0.0, 0.0)
    if first == third:  # nearly always the same value: no spread to compare
        return np.zeros(len(values), bool)
    different = np.unique(values)
    gaps = np.flatnonzero(np.diff(different) > FAR * (third - first))
    above = different[gaps + 1][different[gaps] >= third]
    below = different[gaps][different[gaps + 1] <= first]
    return (values >= above.min(initial=np.inf)) | (values <= below.max(initial=-np.inf))


def suspected_codes(inputs: Sequence[np.ndarray]) -> dict[float, int]:
    """Numbers that may be codes -> how often they stand in all inputs (n,), none missing.

    Far values that one input repeats.
    """
    codes: set[float] = set()
    for values in inputs:
        far, counts = np.unique(values[is_far(values)], return_counts=True)
        codes |= set(far[counts >= REPEATED].tolist())
    return {code: sum(int((values == code).sum()) for values in inputs) for code in sorted(codes)}


def code_in_words(column: str, given: Iterable[Records], codes: Mapping[float, int]) -> str:
    """What the most frequent code may be, as it was written, and what reads it as missing."""
    code = max(codes, key=lambda value: codes[value])
    cell = next(
        records.row(int(place))[column]
        for records in given
        for place in np.flatnonzero(records.table[column] == code)
    )
    text = str(cell).strip()
    if pd.api.types.is_number(cell) or (PLAIN.fullmatch(text) and float(text) == code):
        text = f"{code:.0f}" if code.is_integer() else text
        advice = f"records.missing=[{text}]"
    else:  # no marker is compared with a date that is no text
        advice = pasted("records.missing", text) if isinstance(cell, str) else "leave it empty"
    return (
        f"{text} stands there {codes[code]} times, far from all other values; does it mean that a "
        f"value is missing? Then {advice}"
    )
