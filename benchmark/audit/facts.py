"""What else an audit knows: counts, copies, checks, and the most exposed records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from attacks.distances import nearest_samples
from benchmark.audit.cells import Cells, check_ignored, compare_cells
from benchmark.audit.copies import Copies, copies_of
from benchmark.audit.digits import rounding_of_release
from benchmark.audit.given.case import Case
from benchmark.audit.given.denoiser import check_denoiser
from benchmark.audit.given.doubts import doubt_columns
from benchmark.audit.request import Request
from benchmark.audit.steps import Attacked, distance_in_words
from benchmark.audit.verdict import Verdict
from benchmark.measures import checks, copies, pairs
from benchmark.measures.checks import Check
from benchmark.measures.numbers import count_of
from benchmark.measures.result import JobResult, Strip
from benchmark.scores.closest import PAIRS, closest, pictures
from benchmark.store.seeds import sub_seed
from victims.access import FullBlackBox, ordered_pairs

MAX_SHIFT = 0.5
"""Difference of mean pixels that is no longer put down to a bad generator: a quarter of the range.
Pixels in [0, 1] that are taken for [-1, 1] are shifted by half of it where they are dark."""


@dataclass(frozen=True)
class Facts:
    """Counts of what was audited.

    copies: records that stand among the released ones as they are. Records left out: shared,
    members and non-members with a content that both inputs hold; duplicates, repeated in one input;
    known, reference records with the content of a query. reading: how the inputs were read.
    distance: how columns, or images, are compared, see `distance_in_words`; may be "". cells: of
    each column by itself, what the release repeats.
    """

    given_members: int
    given_non_members: int
    members: int
    non_members: int
    released: int
    copies: Copies
    known: int
    shared: int
    duplicates: int
    reading: tuple[str, ...] = ()
    distance: str = ""
    cells: tuple[Cells, ...] = ()


@dataclass(frozen=True)
class Exposed:
    """A member that the strongest attack is surest of.

    above: share of the non-members that score at least as high. closest: row of the nearest
    released record; distance: to it. record, match: both as they were read, or None.
    """

    id: str
    score: float
    above: float
    closest: int
    distance: float
    record: Any = None
    match: Any = None


def facts_of(request: Request, case: Case, near: NearCopies) -> Facts:
    """Count, and compare all records with the released ones."""
    member = case.queries.is_member
    released, left_out = case.released, case.left_out
    return Facts(
        given_members=len(case.given["members"]),
        given_non_members=len(case.given["non_members"]),
        members=int(member.sum()),
        non_members=int((~member).sum()),
        released=0 if released is None else len(released.values),
        copies=copies_of(case, near.closest),
        known=left_out.reference,
        shared=left_out.members + left_out.non_members,
        duplicates=left_out.repeated,
        reading=case.notes,
        distance=distance_in_words(request, case),
        cells=tuple(compare_cells(case)),
    )


@dataclass(frozen=True)
class RowPair:
    """A record of a table and the released one next to it, cell by cell as they were read.

    distance: calibrated, see `measures.copies`.
    """

    member: bool
    distance: float
    record: dict[str, Any]
    sample: dict[str, Any]


class NearCopies(NamedTuple):
    """table: what released records show of members and of non-members, `copies.COPIES`.

    closest: by their values; None where they were compared by something else. pictures, rows: the
    closest pairs of images, or of a table's records; only where records may be shown.
    """

    table: pd.DataFrame
    closest: copies.Closest | None = None
    pictures: Strip | None = None
    rows: Sequence[RowPair] = ()


def near_copies_of(request: Request, case: Case) -> NearCopies:
    """How near released records come to members and to non-members; empty without any."""
    if "released" not in case.parts:
        return NearCopies(pd.DataFrame())
    seed = sub_seed(request.seed, "copies")
    rounding = None if case.given["members"].is_image else rounding_of_release(case)
    near = closest(case.view(FullBlackBox), case.queries, seed, request.descriptor, rounding)
    found = NearCopies(copies.table(near, seed), near if request.descriptor is None else None)
    if not request.show_records:
        return found
    if case.given["members"].is_image:
        shown = pictures(near, case.queries, case.parts["released"])
        return found._replace(pictures=shown)
    pairs = copies.closest_pairs(near, PAIRS)
    return found._replace(rows=[_row_pair(case, pair) for pair in pairs])


def _row_pair(case: Case, pair: copies.Pair) -> RowPair:
    row, members = int(case.queries.rows[pair.place]), case.given["members"]
    record = members.row(row) if pair.member else case.given["non_members"].row(row - len(members))
    sample = case.released_records.row(pair.sample)
    return RowPair(pair.member, pair.distance, record, sample)


def checks_of(
    request: Request, case: Case, facts: Facts, attacked: Attacked, apart: list[Check]
) -> list[Check]:
    """Everything a reader should doubt, beside the numbers.

    apart: how members and non-members differ by themselves.
    """
    rows, scores = attacked.rows, attacked.scores
    found = case.left_out.list_checks(request.thresholds.overlap.value)
    found += checks.too_few_queries(facts.members, facts.non_members, "give more records")
    found += _check_copies(facts.copies)
    found += apart
    if constants := getattr(case.space, "constants", {}):
        message = f"{', '.join(constants)}: one value among the released records; left out"
        found.append(Check("constant columns", "warning", message))
    found += doubt_columns(case) + check_ignored(case, facts.cells) + check_denoiser(case)
    if (released := case.released) is not None:
        seed = sub_seed(request.seed, "audit", "mode collapse")
        real = case.data["non_members"].values  # repeated ones too, as among the released records
        found += checks.mode_collapse(released.values, real, seed)
        found += _check_brightness(
            case, checks.draw_rows(released.values, seed), checks.draw_rows(real, seed)
        )
    accesses = {access for pair in ordered_pairs() for access in pair}
    chain = rows.loc[rows["access"].isin(accesses), "attack"]
    compared = pairs.compare_rows(scores[scores["attack"].isin(chain)])
    return found + checks.of_rows(rows, scores, compared)


def _check_copies(counted: Copies) -> list[Check]:
    """Non-members were released word for word, and members not surely more often.

    Only where no accident repeats such a record. Of others, members are copied less often than
    non-members also after copies of training records were removed.
    """
    if not counted.strange:
        return []
    ours = counted.copied_members
    message = (
        f"{count_of(counted.copied_non_members, 'non-members')} and "
        f"{count_of(ours, 'members') if ours else 'no members'} stand among the "
        f"released records word for word: were the two swapped, or non-members trained on?"
    )
    return [Check("copied non-members", "error", message)]


def _check_brightness(case: Case, released: np.ndarray, real: np.ndarray) -> list[Check]:
    """Released images are far brighter or darker than non-members: is it the range?"""
    shift = float(np.mean(released) - np.mean(real))
    if not case.given["members"].is_image or abs(shift) < MAX_SHIFT:
        return []
    message = (
        f"released images are on average {abs(shift):.2f} {'brighter' if shift > 0 else 'darker'} "
        f"than non-members, on a scale from -1 to 1: is the range of their pixels right?"
    )
    return [Check("range", "warning", message)]


def exposed_of(request: Request, case: Case, result: JobResult, verdict: Verdict) -> list[Exposed]:
    """The members that the strongest attack is surest of, its sign turned where that helps."""
    best_row = verdict.strongest.attack, verdict.strongest.calibrated
    ours = (result.scores["attack"] == best_row[0]) & (result.scores["calibrated"] == best_row[1])
    group = result.scores[ours]
    sign = -1 if verdict.strongest.turned else 1
    scores, member = sign * group["score"].to_numpy(float), group["member"].to_numpy(bool)
    places = group["query"].to_numpy(int)
    best = np.argsort(-np.where(member, scores, -np.inf), kind="stable")[: request.exposed]
    best = best[member[best]]
    others = np.sort(scores[~member])
    above = (len(others) - np.searchsorted(others, scores[best], side="left")) / len(others)
    near, distance = _closest_released(request, case, places[best])
    shown = [
        _pair_to_show(request, case, int(p), int(n))
        for p, n in zip(places[best], near, strict=True)
    ]
    return [
        Exposed(
            str(case.queries.ids[places[i]]),
            sign * float(scores[i]),
            float(a),
            int(n),
            float(d),
            *pair,
        )
        for i, a, n, d, pair in zip(best, above, near, distance, shown, strict=True)
    ]


def _closest_released(
    request: Request, case: Case, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Row and distance of the released record next to each of these queries; -1 without any."""
    if "released" not in case.parts:
        return np.full(len(places), -1), np.full(len(places), np.nan)
    queries = case.queries.records(places)
    found = nearest_samples(request.distance.made, case.view(FullBlackBox), queries, 1)
    return found[1][:, 0], found[0][:, 0]


def _pair_to_show(request: Request, case: Case, place: int, near: int) -> tuple[Any, Any]:
    """A query and the released record next to it as they were read, only where that is asked."""
    if not request.show_records:
        return None, None
    row = int(case.queries.rows[place])  # a member: those come first
    if case.given["members"].is_image:
        query = case.queries.records(np.array([place]))[0].numpy()
        return query, None if near < 0 else np.asarray(case.parts["released"][near])
    match = case.released_records.row(near) if near >= 0 else None
    return case.given["members"].row(row), match
