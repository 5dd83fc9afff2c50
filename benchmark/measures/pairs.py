"""What the scores of a job say together: which attacks really differ, and sets of records."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from benchmark.measures.metrics import delong_test, holm
from benchmark.measures.result import NO_ACCESS, Check
from benchmark.measures.sets import SIZES, SetAccuracy, set_accuracy

LEVEL = 0.05
"""Family-wise level at which two attacks are said to differ."""

Row = tuple[str, str]

ROW = ["attack", "calibrated"]
PAIR = ["attack_a", "calibrated_a", "attack_b", "calibrated_b"]
COMPARISONS = [*PAIR, "difference", "low", "high", "p_value", "p_holm"]
CURVES = [*ROW, *SetAccuracy._fields]


def compare_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """AUROC of a minus that of b for every two rows of the table: columns COMPARISONS.

    scores: tidy, as in `JobResult`. DeLong's paired test on the queries that both rows have (a pair
    that shares no member or no non-member is left out); low and high are the 95% interval of one
    difference. p_holm is corrected over all pairs (Holm, Scandinavian Journal of Statistics 1979),
    so that it also holds for a pair chosen after looking, such as the best. Rows that order all
    queries alike are one attack (`find_twins`): their pairs with others are counted once.
    """
    columns, member = scores_by_row(scores)
    rows = []
    for a, b in combinations(columns, 2):
        both = ~np.isnan(columns[a] + columns[b])
        if len(set(member[both])) == 2:
            pair = delong_test(columns[a][both], columns[b][both], member[both])
            rows.append([*a, *b, *pair])
    found = pd.DataFrame(rows, columns=COMPARISONS[:-1])
    return found.assign(p_holm=_correct_p_values(found, find_twins(columns)))


def _correct_p_values(pairs: pd.DataFrame, same: list[list[Row]]) -> np.ndarray:
    """Holm's p-values (n,) of pairs of rows; pairs that ask the same have one, twins have 1."""
    one = {row: group[0] for group in same for row in group}
    hypotheses: dict[frozenset[Row], list[int]] = {}
    for i, (a, x, b, y) in enumerate(pairs[PAIR].itertuples(index=False, name=None)):
        asked = frozenset({one.get((a, x), (a, x)), one.get((b, y), (b, y))})
        hypotheses.setdefault(asked, []).append(i)
    tested = [places for asked, places in hypotheses.items() if len(asked) == 2]
    p_values, corrected = pairs["p_value"].to_numpy(float), np.ones(len(pairs))
    firsts = [places[0] for places in tested]
    for places, p_holm in zip(tested, holm(p_values[firsts]), strict=True):
        corrected[places] = p_holm
    return corrected


def find_twins(columns: Mapping[Row, np.ndarray]) -> list[list[Row]]:
    """Groups of two or more rows whose scores (n,) rank all queries alike: one attack each.

    Half a rank is allowed: rounding makes ties of two.
    """
    groups: list[tuple[np.ndarray, list[Row]]] = []
    for row, values in columns.items():
        ranks = rankdata(values, nan_policy="omit")
        alike = (rows for own, rows in groups if np.allclose(own, ranks, 0, 0.5, equal_nan=True))
        if (rows := next(alike, None)) is None:
            groups.append((ranks, [row]))
        else:
            rows.append(row)
    return [rows for _, rows in groups if len(rows) > 1]


def same_order(scores: pd.DataFrame) -> list[Check]:
    """Rows of a job that order all queries alike, one check a group.

    scores: as for `compare_rows`.
    """
    found = []
    for first, *others in find_twins(scores_by_row(scores)[0]):
        names = " and ".join(_name_of_row(row) for row in others)
        message = (
            f"{names}: the queries are ordered exactly as by {_name_of_row(first)}; this is one "
            f"attack under {len(others) + 1} names, and comparisons count it once"
        )
        found.append(Check("same order", "warning", message))
    return found


def _name_of_row(row: Row) -> str:
    attack, calibrated = row
    return attack if calibrated == "none" else f"{attack} calibrated by {calibrated}"


def both_ways(comparisons: pd.DataFrame) -> dict[tuple[Row, Row], tuple[float, float]]:
    """AUROC of a minus AUROC of b, and p_holm, by (a, b); a row is (attack, calibrated)."""
    found: dict[tuple[Row, Row], tuple[float, float]] = {}
    for pair in comparisons.to_dict("records"):
        a, b = ((pair[f"attack_{x}"], pair[f"calibrated_{x}"]) for x in "ab")
        found[a, b] = pair["difference"], pair["p_holm"]
        found[b, a] = -pair["difference"], pair["p_holm"]
    return found


def one_sided(comparisons: pd.DataFrame) -> dict[tuple[Row, Row], float]:
    """P-value of "a is not better than b" by (a, b), not corrected; a row: (attack, calibrated)."""
    found: dict[tuple[Row, Row], float] = {}
    for pair in comparisons.to_dict("records"):
        a, b = ((pair[f"attack_{x}"], pair[f"calibrated_{x}"]) for x in "ab")
        half = pair["p_value"] / 2
        found[a, b] = half if pair["difference"] > 0 else 1 - half
        found[b, a] = half if pair["difference"] < 0 else 1 - half
    return found


def best_rows(rows: pd.DataFrame, comparisons: pd.DataFrame) -> np.ndarray:
    """Which attacks' rows (n,) bool have the best AUROC or do not differ from it at LEVEL."""
    aurocs = rows["auroc"].where(rows["access"] != NO_ACCESS).to_numpy(float)
    if np.isnan(aurocs).all():
        return np.zeros(len(rows), bool)
    names = list(rows[ROW].itertuples(index=False, name=None))
    first, pairs = names[int(np.nanargmax(aurocs))], both_ways(comparisons)
    p_values = [pairs.get((first, name), (0.0, 1.0))[1] for name in names]
    return ~np.isnan(aurocs) & (np.array(p_values) >= LEVEL)


def set_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on sets of records against their size, for every row of the table: CURVES."""
    columns, member = scores_by_row(scores)
    curves = [
        [*name, *point]
        for name, values in columns.items()
        for point in set_accuracy(*_split_groups(values, member), SIZES)
    ]
    return pd.DataFrame(curves, columns=CURVES)


def scores_by_row(scores: pd.DataFrame) -> tuple[dict[Row, np.ndarray], np.ndarray]:
    """Scores (n,) of each row of the table, of all queries in one order; member (n,) bool.

    NaN where a row does not judge a query.
    """
    query, _ = pd.factorize(scores["query"], sort=True)
    asked, at = np.unique(2 * query + scores["member"].to_numpy(bool), return_inverse=True)
    attack, attacks = pd.factorize(scores["attack"])
    calibrated, calibrations = pd.factorize(scores["calibrated"])
    number, rows = pd.factorize(attack * len(calibrations) + calibrated)
    table = np.full((len(rows), len(asked)), np.nan)
    table[number, at] = scores["score"]
    firsts = [divmod(row, len(calibrations)) for row in np.asarray(rows).tolist()]
    names = [(attacks[i], calibrations[j]) for i, j in firsts]
    return dict(zip(names, table, strict=True)), asked % 2 == 1


def _split_groups(values: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the members and of the non-members that a row judges."""
    judged = ~np.isnan(values)
    return values[judged & member], values[judged & ~member]
