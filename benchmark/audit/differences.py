"""Do members and non-members differ by themselves? Then attacks win, or lose, by that alone.

Three kinds of tests look: a classifier, the remoteness of records, and each column by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

from benchmark.audit.given.case import Case
from benchmark.audit.request import Request
from benchmark.data.notation import list_names
from benchmark.measures import checks, metrics
from benchmark.measures.checks import SPLIT_LEAKS, Check
from benchmark.measures.numbers import format_p_value
from benchmark.measures.remoteness import compare_remoteness
from benchmark.measures.result import NO_ACCESS
from benchmark.store.seeds import sub_seed

ACCUSED = 1 / 40
"""Clean divisions that the classifier and the remoteness of records report, each one half."""
SIGNIFICANT = 0.001
"""Level of all tests of single columns together (Bonferroni): one clean division in a thousand."""
RARE = 10
"""Levels with fewer records count as one in a test: the distribution of chi squared needs some."""


class Apart(NamedTuple):
    """How a column differs. p: p-value; what: in words."""

    p: float
    what: str


def check_differences(request: Request, case: Case) -> list[Check]:
    """Ask a classifier of all columns or pixels, where records lie, and each column of a table."""
    queries, baseline = case.queries, request.blind
    member = queries.is_member
    if baseline is None or min(member.sum(), (~member).sum()) < baseline.folds:
        return []
    guess = baseline.guess_members(queries, sub_seed(request.seed, "blind"), 1 - ACCUSED)
    area = metrics.auroc(guess.scores[member], guess.scores[~member])
    row = {"access": NO_ACCESS, "auroc": area, "auroc_low": guess.low, "auroc_high": guess.high}
    found = checks.split_leaks([row]) + _check_remoteness(case)
    if columns := _columns_apart(case):
        found.append(_check_columns(columns))
    return found


def _check_remoteness(case: Case) -> list[Check]:
    """Members lie closer to other records than non-members do, or further from them."""
    what, p = compare_remoteness(case.queries)
    if p >= ACCUSED / 2:
        return []
    message = (
        f"members and non-members differ in how far they lie from other records, by the {what} "
        f"(p {format_p_value(p)}, all such tests together). Attacks by distance can win or lose by "
        f"that alone; draw both from one source"
    )
    return [Check(SPLIT_LEAKS, "warning", message)]


def _columns_apart(case: Case) -> dict[str, Apart]:
    """Columns of a table whose values, or missing cells, differ between the two kinds of queries.

    A classifier of all columns overlooks a difference that few records show in one of them. The
    p-values are those of all tests together; the surest comes first.
    """
    if case.given["members"].is_image:
        return {}
    pool, member = case.rows_as_read(case.queries.rows), case.queries.is_member
    tests = [(str(c), own) for c in pool.columns for own in _tests_of(pool[c], member)]
    found: dict[str, Apart] = {}
    for column, own in sorted(tests, key=lambda pair: pair[1].p):
        if own.p * len(tests) < SIGNIFICANT:
            found.setdefault(column, own._replace(p=own.p * len(tests)))
    return found


def _check_columns(apart: dict[str, Apart]) -> Check:
    column, *others = apart
    more = f" So do {list_names(others)}." if others else ""
    p = "< 1e-10" if apart[column].p < 1e-10 else f"= {apart[column].p:.1g}"
    message = (
        f"{column}: {apart[column].what} (p {p}, all columns together). Attacks can win or lose by "
        f"that alone; draw members and non-members from one source.{more}"
    )
    return Check(SPLIT_LEAKS, "warning", message)


def _tests_of(column: pd.Series, member: np.ndarray) -> Iterator[Apart]:
    """What differs: missing cells (Fisher), numbers (Kolmogorov and Smirnov), levels (chi
    squared)."""
    gaps = column.isna().to_numpy() | (column == "").to_numpy(bool)
    ours, theirs = (float(gaps[own].mean()) for own in (member, ~member))
    if gaps.any():
        counts = [[int((gaps & own).sum()), int((~gaps & own).sum())] for own in (member, ~member)]
        what = f"{ours:.1%} of the members' and {theirs:.1%} of the non-members' cells are missing"
        yield Apart(float(fisher_exact(counts).pvalue), what)
    kept, own = column[~gaps], member[~gaps]
    if own.all() or not own.any():
        return
    if pd.api.types.is_numeric_dtype(kept) and not pd.api.types.is_bool_dtype(kept):
        values = kept.to_numpy(float)
        middle = [float(np.median(values[kind])) for kind in (own, ~own)]
        test = ks_2samp(values[own], values[~own], method="asymp")
        what = f"its numbers differ (medians {middle[0]:.4g} and {middle[1]:.4g})"
        yield Apart(float(test.pvalue), what)
    else:
        yield from _test_levels(kept.astype(str), own)


def _test_levels(levels: pd.Series, member: np.ndarray) -> Iterator[Apart]:
    codes = np.unique(levels.to_numpy(str), return_inverse=True)[1]
    size = int(codes.max()) + 1
    counts = np.stack([np.bincount(codes[own], minlength=size) for own in (member, ~member)])
    shares = counts / counts.sum(1, keepdims=True)
    most = int(np.abs(shares[0] - shares[1]).argmax())
    what = (  # no name of a level: it may be confidential
        f"one level stands in {shares[0, most]:.1%} of the members and in "
        f"{shares[1, most]:.1%} of the non-members"
    )
    rare = counts.sum(0) < RARE
    if rare.any():
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
    if counts.shape[1] > 1:
        yield Apart(float(chi2_contingency(counts).pvalue), what)
