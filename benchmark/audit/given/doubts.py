"""What a table's columns make doubtful, though they can be read: spelling, codes, units.

Such a column blinds attacks, so that an audit would say "no leak found" of copied records.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import kstest

from benchmark.audit.given.case import Case
from benchmark.audit.given.columns import as_text
from benchmark.audit.given.far import code_in_words, suspected_codes
from benchmark.audit.given.inputs import Records
from benchmark.audit.given.space import TableSpace
from benchmark.config.quoting import pasted
from benchmark.data.notation import list_names
from benchmark.measures.checks import Check

COMMON = 0.01
"""Share of the released rows from which on a value is no slip of the generator."""
EXPECTED = 7.0
"""So many real rows should hold a released value of which there is none: chance does that to one
value in 1 000 (e^-7)."""
ENOUGH = 100
"""Rows without a repetition from which on whole numbers may be identifiers."""
EVEN = 0.1
"""Largest distance of a distribution from the even one over its range (Kolmogorov's) that still is
even. 200 even numbers lie within 0.1 in 96 of 100 draws; a normal distribution has 0.16 or more."""
DIGITS = 7
"""Whole numbers that all have as many digits, so many at least, are seldom amounts."""
FACTOR = 10.0
"""Ratio of typical sizes from which on the unit is doubted."""
NONZERO = 30
"""Numbers other than zero that a typical size needs."""


def doubt_columns(case: Case) -> list[Check]:
    """Warnings about the columns of tables that are compared; none for images."""
    if not isinstance(case.space, TableSpace):
        return []
    found = []
    for column in case.space.schema.columns:
        real = [case.given[name].table[column.name] for name in ("members", "non_members")]
        if column.kind != "category":
            found += doubt_identifier(column.name, real)
            found += doubt_code(column.name, list(case.given.values()))
        if "samples" in case.given:
            doubt = doubt_spelling if column.kind == "category" else doubt_unit
            found += doubt(column.name, case.given["samples"].table[column.name], pd.concat(real))
    return found


def doubt_spelling(column: str, released: pd.Series, real: pd.Series) -> list[Check]:
    """Released values of a category that no real record has, often enough to be no accident."""
    shares = as_text(released).value_counts(normalize=True)
    known = set(as_text(real))
    strange = shares[[level not in known for level in shares.index]]
    if len(strange) == len(shares):
        message = (
            f"{column}: no released value occurs among the members or non-members, so "
            f"it tells attacks nothing; is it written in another way?"
        )
    else:
        strange = strange[(strange > COMMON) & (strange * len(real) > EXPECTED)]
        message = (
            f"{column}: {strange.sum():.1%} of the released rows hold values that occur neither "
            f"among members nor among non-members; are they written in another way?"
        )
    if strange.empty:
        return []
    return [Check("strange values", "warning", f"{message} {_compare(list(strange.index), known)}")]


def _compare(strange: Sequence[str], known: set[str]) -> str:
    """Released values, most frequent first; what stands elsewhere where only case or spaces differ.

    >>> _compare(["male", "x"], {"Male"})
    "Released: 'male' (elsewhere 'Male'), 'x'"
    """
    folded = {_fold(level): level for level in sorted(known)}
    alike = {level: folded.get(_fold(level)) for level in strange}
    shown = [
        repr(level) + (f" (elsewhere {other!r})" if other else "") if level else "missing cells"
        for level, other in alike.items()
    ]
    return f"Released: {list_names(shown)}"


def _fold(text: str) -> str:
    return "".join(text.casefold().split())


def doubt_identifier(column: str, real: Sequence[pd.Series]) -> list[Check]:
    """Whole numbers that no input repeats, and that do not gather anywhere, as amounts do."""
    parts = [values.dropna() for values in real]
    if not all(len(p) >= ENOUGH and p.is_unique and not (p % 1).any() for p in parts):
        return []
    values = np.concatenate(parts)
    low, high = values.min(), values.max()
    even = kstest(values, "uniform", args=(low, high - low)).statistic < EVEN
    length = len(f"{low:.0f}")
    if not even and (low < 0 or length < DIGITS or len(f"{high:.0f}") > length):
        return []
    how = "are spread evenly" if even else f"all have {length} digits"
    message = (
        f"{column}: whole numbers that never repeat among members or non-members, and {how}. "
        f"It may be an identifier: then it hides which records are alike. "
        f"{pasted('records.ignore', column)} leaves it out"
    )
    return [Check("identifiers", "warning", message)]


def doubt_unit(column: str, released: pd.Series, real: pd.Series) -> list[Check]:
    """Numbers that are typically ten times as large, or small, as the real ones."""
    ours, theirs = (np.abs(values[values.notna() & (values != 0)]) for values in (released, real))
    if min(len(ours), len(theirs)) < NONZERO:
        return []
    sizes = float(ours.median()), float(theirs.median())
    if max(sizes) < FACTOR * min(sizes):
        return []
    message = (
        f"{column}: a typical size is {sizes[0]:.4g} among the released records, but "
        f"{sizes[1]:.4g} among members and non-members (median without zeros); is the unit another?"
    )
    return [Check("units", "warning", message)]


def doubt_code(column: str, given: Sequence[Records]) -> list[Check]:
    """Numbers that are repeated far outside all others, and so may mean something else."""
    codes = suspected_codes([g.table[column].dropna().to_numpy(np.float64) for g in given])
    if not codes:
        return []
    message = f"{column}: {code_in_words(column, given, codes)}"
    return [Check("suspected codes", "warning", message)]
