"""What the scores of a job say together: which attacks really differ, and sets of records."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from benchmark.metrics import delong_test, holm
from benchmark.result import NO_ACCESS
from benchmark.sets import SIZES, SetAccuracy, set_accuracy

LEVEL = 0.05
"""Family-wise level at which two attacks are said to differ."""

Row = tuple[str, str]

ROW = ["attack", "calibrated"]
PAIR = ["attack_a", "calibrated_a", "attack_b", "calibrated_b"]
COMPARISONS = [*PAIR, "difference", "low", "high", "p_value", "p_holm"]
CURVES = [*ROW, *SetAccuracy._fields]


def compare(scores: pd.DataFrame) -> pd.DataFrame:
    """AUROC of a minus that of b for every two rows of the table: columns COMPARISONS.

    scores: tidy, as in `JobResult`. DeLong's paired test on the queries that both rows have (a pair
    that shares no member or no non-member is left out); low and high are the 95% interval of one
    difference. p_holm is corrected over all pairs (Holm, Scandinavian Journal of Statistics 1979),
    so that it also holds for a pair chosen after looking, such as the best.
    """
    columns, member = _columns(scores)
    rows = []
    for a, b in combinations(columns, 2):
        both = ~np.isnan(columns[a] + columns[b])
        if len(set(member[both])) == 2:
            pair = delong_test(columns[a][both], columns[b][both], member[both])
            rows.append([*a, *b, *pair])
    found = pd.DataFrame(rows, columns=COMPARISONS[:-1])
    return found.assign(p_holm=holm(found["p_value"].to_numpy(float)))


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


def best(rows: pd.DataFrame, comparisons: pd.DataFrame) -> np.ndarray:
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
    columns, member = _columns(scores)
    curves = [
        [*name, *point]
        for name, values in columns.items()
        for point in set_accuracy(*_groups(values, member), SIZES)
    ]
    return pd.DataFrame(curves, columns=CURVES)


def _columns(scores: pd.DataFrame) -> tuple[dict[Row, np.ndarray], np.ndarray]:
    """Scores (n,) of each row of the table, of all queries in one order; member (n,) bool.

    NaN where a row does not judge a query.
    """
    wide = scores.pivot(index=["query", "member"], columns=ROW, values="score")
    names = scores[ROW].drop_duplicates().itertuples(index=False, name=None)
    member = wide.index.get_level_values("member").to_numpy(bool)
    return {name: wide[name].to_numpy(float) for name in names}, member


def _groups(values: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the members and of the non-members that a row judges."""
    judged = ~np.isnan(values)
    return values[judged & member], values[judged & ~member]
