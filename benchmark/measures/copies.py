"""Do released samples lie closer to training records than to others? Copies, counted on both sides.

A generator may repeat records, or nearly so. How close its samples come to the members says nothing
by itself: samples of a good generator come as close to records that it never saw. So everything is
measured against the members and against as many held-out records, and the difference counts. If the
generator never saw the members, which records are called members is a random draw: that draw is
what p-values and intervals are about, not another release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest, hypergeom, rankdata
from scipy.stats import t as student

from benchmark.measures.result import NEAR

EXACT = 0.001
"""Calibrated distance up to which a sample may be an exact copy but for rounding.
NEAR: a near one. Of tables each cell must agree as well, see `benchmark.scores.cells`."""

GROUPS = 20
"""Groups of records of which one at a time is left out, for an interval."""

FEWEST = 20
"""Samples in a cell for C_T to look at it, as in the code of dgm-eval."""

COPIES = ["measure", "members", "held_out", "difference", "low", "high", "p_value", "limit", "by"]
"""Columns of the table. limit: calibrated distance up to which a copy counts. by: what records are
compared by. Tables of before there was a choice lack these two: theirs are EXACT, NEAR, and the
values."""

SHARES = "DCR share", "authenticity", "NNDR"
"""Measures between 0 and 1, of which no difference is larger."""

COUNTED = {"exact copies": EXACT, "near copies": NEAR}
"""Measure that counts records -> the largest calibrated distance of a copy, by default."""


@dataclass(frozen=True)
class Closest:
    """The records that samples lie closest to: r records, half of them members.

    member: (r,) bool. records, distances: (n, k), numbers of the k records closest to each sample,
    nearest first, and how far they are. others, apart: (r, k), the same for each record among the
    others. sample_cells (n,), record_cells (r,): in which part of the space each lies. samples:
    (n,) rows of the samples among the released ones. exact: (n,) bool, which of the samples are
    exact copies of their closest record. places: (r,) of the records among the queries.
    by: what they were compared by, in words. near: the largest calibrated distance of a near copy.
    """

    member: np.ndarray
    records: np.ndarray
    distances: np.ndarray
    others: np.ndarray
    apart: np.ndarray
    sample_cells: np.ndarray
    record_cells: np.ndarray
    samples: np.ndarray
    exact: np.ndarray
    places: np.ndarray
    by: str
    near: float = NEAR

    @property
    def calibrated(self) -> np.ndarray:
        """Distance of each sample to its closest record over the mean of the k closest, (n,)."""
        return calibrate_distance(self.distances[:, 0], self.distances)

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each record, the smallest calibrated distance of a sample that is closest to it.

        (r,) distances, infinite where no sample is, and (r,) which of the n samples it is, or -1.
        """
        distances, found = self.calibrated, np.full(len(self.member), np.inf)
        which = self._best_of(np.arange(len(distances)))
        found[which >= 0] = distances[which[which >= 0]]
        return found, which

    def exact_copies(self) -> np.ndarray:
        """Of each record, which of the n samples is its closest exact copy, or -1 (r,)."""
        return self._best_of(np.flatnonzero(self.exact))

    def _best_of(self, chosen: np.ndarray) -> np.ndarray:
        """Of each record, which of the chosen samples (m,) comes closest to it, or -1 (r,)."""
        which = np.full(len(self.member), -1)
        order = chosen[np.argsort(-self.calibrated[chosen], kind="stable")]
        which[self.records[order, 0]] = order  # the last assignment stays
        return which


class Pair(NamedTuple):
    """A record, by its place among the queries, and the sample next to it, by its row among the
    released ones; distance: calibrated."""

    place: int
    sample: int
    member: bool
    distance: float


def closest_pairs(closest: Closest, count: int) -> list[Pair]:
    """The records that samples come closest to: `count` members, then as many others."""
    best, which = closest.best()
    found = []
    for kind in (True, False):
        own = np.flatnonzero((closest.member == kind) & (which >= 0))
        for i in own[np.argsort(best[own], kind="stable")[:count]]:
            sample = int(closest.samples[which[i]])
            found.append(Pair(int(closest.places[i]), sample, kind, float(best[i])))
    return found


def table(closest: Closest, seed: int = 0, level: float = 0.95) -> pd.DataFrame:
    """What samples show of members, of held-out records, and the difference: COPIES.

    Exact and near copies are shares of the records; Fisher's exact test, one-sided, for more among
    the members, and Newcombe's interval (1998, Statistics in Medicine 17). A sample counts for the
    record that it is closest to. The others have an interval of the delete-a-group jackknife over
    records and no test:
    calibrated distance: mean of the distance to the closest record of the kind, over the mean of
        those to the 50 closest of both kinds. Source: Carlini et al. 2023, arXiv 2301.13188.
        Deviation: theirs are 50 members; of both kinds they are one yardstick for both.
    authenticity: share of the samples that lie further from the closest record of the kind than
        that lies from its own closest one. Source: Alaa et al. 2021, arXiv 2102.08921.
    C_T: see `data_copying`.
    DCR share: share of the samples that lie closer to a record of the kind than to any of the
        other, ties half. Practice: the package mostlyai-qa; 0.5 is taken to be fine.
    NNDR: mean of the distance to the closest record of the kind over that to the second closest.
    Smaller for the members than for the others means copying; of the DCR share larger.
    seed: of the groups.
    """
    near = closest.best()[0] <= closest.near
    copied = {"exact copies": closest.exact_copies() >= 0, "near copies": near}
    rows = [
        {"measure": name, "limit": limit, **_count_copied(copied[name], closest.member, level)}
        for name, limit in (COUNTED | {"near copies": closest.near}).items()
    ]
    found = _compare_kinds(closest, closest.member.astype(np.int8))
    left_out = np.array(
        [list(_less(closest, kind)) for kind in _leave_groups_out(closest.member, seed)]
    )
    spread = np.sqrt((GROUPS - 1) / GROUPS * ((left_out - left_out.mean(0)) ** 2).sum(0))
    margin = student.ppf((1 + level) / 2, GROUPS - 1) * spread
    for (name, (ours, theirs)), width in zip(found.items(), margin, strict=True):
        largest = 1.0 if name in SHARES else np.inf
        low, high = max(ours - theirs - width, -largest), min(ours - theirs + width, largest)
        ends = {"low": low, "high": high, "p_value": np.nan}
        rows.append({"measure": name, "members": ours, "held_out": theirs, **ends})
    frame = pd.DataFrame(rows).assign(by=closest.by)
    return frame.assign(difference=frame["members"] - frame["held_out"])[COPIES]


def proven_excess(found: pd.DataFrame, measure: str, level: float) -> float:
    """Share of the members that was copied beyond that of other records; 0 where not proven.

    found: as `table` gives it, or empty. measure: one of COUNTED.
    """
    rows = found[found["measure"] == measure] if len(found) else found
    proven = len(rows) and rows["p_value"].iloc[0] < 1 - level
    return float(rows["difference"].iloc[0]) if proven else 0.0


def differences_by_name(found: pd.DataFrame) -> dict[str, float]:
    """What sets members apart, by name, for tables of many victims; none where nothing is known."""
    if found.empty:
        return {}
    own = found.set_index("measure")["difference"]
    names = ("near copies", "calibrated distance")
    return {f"{name}, members less others": float(own[name]) for name in names if name in own}


def _count_copied(is_copied: np.ndarray, member: np.ndarray, level: float) -> dict[str, float]:
    """Shares of members and of others, the ends of the difference's interval, and the p-value."""
    ours, theirs = int(is_copied[member].sum()), int(is_copied[~member].sum())
    m, n = int(member.sum()), int((~member).sum())
    p, q = ours / m, theirs / n
    of_p, of_q = (
        binomtest(count, size).proportion_ci(level, "wilson")
        for count, size in ((ours, m), (theirs, n))
    )
    return {
        "members": p,
        "held_out": q,
        "low": p - q - float(np.hypot(p - of_p.low, of_q.high - q)),
        "high": p - q + float(np.hypot(of_p.high - p, q - of_q.low)),
        "p_value": more_often(ours, m, theirs, n),
    }


def more_often(ours: int, m: int, theirs: int, n: int) -> float:
    """P-value of "`ours` of m is no more often than `theirs` of n": Fisher's exact test, one-sided.

    The chance that of all that were found at least `ours` lie among the m.

    >>> round(more_often(3, 4, 1, 4), 3)
    0.243
    """
    return float(hypergeom.sf(ours - 1, m + n, m, ours + theirs))


def _leave_groups_out(member: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yield what each record is, 1 a member, 0 another, -1 left out: a group at a time is."""
    group = np.empty(len(member), int)
    rng = np.random.default_rng(seed)
    for kind in (True, False):
        own = np.flatnonzero(member == kind)
        group[rng.permutation(own)] = np.arange(len(own)) % GROUPS
    for out in range(GROUPS):
        yield np.where(group == out, -1, member).astype(np.int8)


def _less(closest: Closest, kind: np.ndarray) -> Iterator[float]:
    for ours, theirs in _compare_kinds(closest, kind).values():
        yield ours - theirs


def _compare_kinds(closest: Closest, kind: np.ndarray) -> dict[str, tuple[float, float]]:
    """Measure -> its value against the members and against the others.

    kind: see `_leave_groups_out`.
    """
    allowed = [kind[closest.records] == side for side in (1, 0)]
    near = [_nearest_allowed(closest.distances, one) for one in allowed]
    apart = [_nearest_allowed(closest.apart, kind[closest.others] == side)[0] for side in (1, 0)]
    shares, authentic, tests = [], [], []
    for side, (distance, place) in zip((1, 0), near, strict=True):
        own = apart[1 - side][closest.records[np.arange(len(place)), place]]
        shares.append(float(calibrate_distance(distance, closest.distances).mean()))
        authentic.append(float((distance > own).mean()))
        other = kind == 1 - side
        tests.append(
            data_copying(
                *(distance, closest.sample_cells),
                *(apart[1 - side][other], closest.record_cells[other]),
            )
        )
    (ours, _), (theirs, _) = near
    nearer = float(np.mean(ours < theirs) + np.mean(ours == theirs) / 2)
    return {
        "DCR share": (nearer, 1 - nearer),
        "NNDR": (
            _mean_ratio(closest.distances, allowed[0]),
            _mean_ratio(closest.distances, allowed[1]),
        ),
        "calibrated distance": (shares[0], shares[1]),
        "authenticity": (authentic[0], authentic[1]),
        "C_T": (tests[0], tests[1]),
    }


def _nearest_allowed(distances: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the first record that is allowed, and its place; the last place without any."""
    place = np.where(allowed.any(1), allowed.argmax(1), distances.shape[1] - 1)
    return distances[np.arange(len(place)), place], place


def _mean_ratio(distances: np.ndarray, allowed: np.ndarray) -> float:
    """Mean of the distance to the first record that is allowed over that to the second, or last."""
    first, _ = _nearest_allowed(distances, allowed)
    second, _ = _nearest_allowed(distances, allowed & (allowed.cumsum(1) > 1))
    return float(np.divide(first, second, out=np.ones_like(first), where=second > 0).mean())


def calibrate_distance(distance: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Over the mean of all k; 1 where these are all zero, because such a record tells nothing."""
    mean = distances.mean(1)
    return np.divide(distance, mean, out=np.ones_like(mean), where=mean > 0)


def data_copying(
    samples: np.ndarray, sample_cells: np.ndarray, test: np.ndarray, test_cells: np.ndarray
) -> float:
    """C_T: do samples lie closer to a set than test records do? Far under 0 means copying.

    samples (n,), test (m,): distances to the set's closest record; cells: in which part of the
    space each lies. Mann and Whitney's normal deviate of each cell, averaged with the share of the
    test records there. Cells of fewer than FEWEST samples or without test records are left out.
    Source: Meehan, Chaudhuri, Dasgupta 2020, arXiv 2004.05675. Deviations: no correction for
    continuity; cells are of all records, so that they do not depend on which are members.

    >>> cells = np.zeros(40, int)
    >>> round(data_copying(np.arange(40.0), cells, np.arange(40.0) + 20, cells), 2)
    -4.21
    """
    deviates, shares = [], []
    for cell in np.unique(test_cells):
        ours, theirs = samples[sample_cells == cell], test[test_cells == cell]
        n, m = len(ours), len(theirs)
        if n < FEWEST:
            continue
        above = rankdata(np.concatenate([ours, theirs]))[:n].sum() - n * (n + 1) / 2
        deviates.append((above - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))
        shares.append(m)
    return float(np.average(deviates, weights=shares)) if shares else np.nan
