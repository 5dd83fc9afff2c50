"""Do members and non-members differ by themselves? Then attacks win, or lose, by that alone."""

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
from benchmark.measures.result import NO_ACCESS
from benchmark.store.seeds import sub_seed

SIGNIFICANT = 0.001
"""Level of all tests of single columns together (Bonferroni): one clean division in a thousand."""
RARE = 10
"""Levels with fewer records count as one in a test: the distribution of chi squared needs some."""


class Differences(NamedTuple):
    """checks: what tells members from non-members without a look at the generator.

    reach: the AUROC that somebody gets by that alone, at most; 1 where nobody asked.
    """

    checks: list[Check]
    reach: float = 1.0


class Apart(NamedTuple):
    """How a column differs. p: p-value; distance: between the two distributions, from 0 to 1;
    what: in words."""

    p: float
    distance: float
    what: str


def differences_of(request: Request, case: Case) -> Differences:
    """Ask a classifier of all columns or pixels, and of a table each column by itself."""
    queries, baseline = case.queries, request.blind
    member = queries.is_member
    if baseline is None or min(member.sum(), (~member).sum()) < baseline.folds:
        return Differences([])
    guess = baseline.guess_members(queries, sub_seed(request.seed, "blind"))
    area = metrics.auroc(guess.scores[member], guess.scores[~member])
    row = {"access": NO_ACCESS, "auroc": area, "auroc_low": guess.low, "auroc_high": guess.high}
    found, columns = checks.split_leaks([row]), _columns_apart(case)
    if columns:
        found.append(_check_columns(columns))
    return Differences(found, max(guess.high, _reach_of(columns, member)))


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


def _reach_of(apart: dict[str, Apart], member: np.ndarray) -> float:
    """The AUROC that these columns allow, as if each told something of its own.

    Of two distributions at total variation d it is at most 1/2 + d - d^2 / 2. Each distance is
    taken as large as its error allows (Dvoretzky, Kiefer, Wolfowitz and Massart's inequality).
    """
    error = np.sqrt(np.log(2 / SIGNIFICANT) / 2 * (1 / member.sum() + 1 / (~member).sum()))
    distances = [min(1.0, own.distance + error) for own in apart.values()]
    d = 1 - float(np.prod([1 - distance for distance in distances]))
    return 0.5 + d - d**2 / 2


def _tests_of(column: pd.Series, member: np.ndarray) -> Iterator[Apart]:
    """What differs: missing cells (Fisher), numbers (Kolmogorov and Smirnov), levels (chi
    squared)."""
    gaps = column.isna().to_numpy() | (column == "").to_numpy(bool)
    ours, theirs = (float(gaps[own].mean()) for own in (member, ~member))
    if gaps.any():
        counts = [[int((gaps & own).sum()), int((~gaps & own).sum())] for own in (member, ~member)]
        what = f"{ours:.1%} of the members' and {theirs:.1%} of the non-members' cells are missing"
        yield Apart(float(fisher_exact(counts).pvalue), abs(ours - theirs), what)
    kept, own = column[~gaps], member[~gaps]
    if own.all() or not own.any():
        return
    if pd.api.types.is_numeric_dtype(kept) and not pd.api.types.is_bool_dtype(kept):
        values = kept.to_numpy(float)
        middle = [float(np.median(values[kind])) for kind in (own, ~own)]
        test = ks_2samp(values[own], values[~own], method="asymp")
        what = f"its numbers differ (medians {middle[0]:.4g} and {middle[1]:.4g})"
        yield Apart(float(test.pvalue), float(test.statistic), what)
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
        shares = counts / counts.sum(1, keepdims=True)
        distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
        yield Apart(float(chi2_contingency(counts).pvalue), distance, what)
