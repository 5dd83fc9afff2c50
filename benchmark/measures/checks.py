"""The benchmark checks its own validity, and says so beside the number.

Each function returns the checks that fired, an empty list where all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist

from attacks.base import some_rows
from benchmark.measures import metrics, pairs
from benchmark.measures.result import NO_ACCESS, REAL, UNTRAINED, Check
from victims.access import ordered_pairs

MAX_TIED = 0.05
"""Share of the scores that may equal one of the other group. A continuous score has none. At 5% the
tied pairs are at most 0.25% of all and hardly move the AUROC, but when they lie at the top there is
no threshold left at which the false positive rate is 1%."""

SIGN_LEVEL = 0.01
"""One-sided level at which an AUROC under 0.5 is no accident: with ten attacks that know nothing a
job shows a false alarm once in ten runs, while a reversed sign of any useful attack is found."""

MIN_DIVERSITY = 0.7
"""Mean distance between two released samples over that between two held-out records. Measured on
MNIST: equal data give 0.98 to 1.03, one digit class alone 0.84 to 0.99 (the ones, by far the most
alike, 0.65), noisy copies of 1, 2, 3, 4 or 5 records on average 0.11, 0.58, 0.71, 0.81, 0.84."""

DIVERSITY_ROWS = 300
"""Records compared pairwise: 45 000 distances, within 3% of the whole and under a second."""

MIN_QUERIES = 100
"""Members, and non-members. With 100 of each an attack that guesses has an AUROC of 0.5 +- 0.08
(95%): attacks under 0.58 could not be told from guessing."""

MIN_SHARE = 0.1
"""What a model must have learnt to have something to leak: this precision and recall. Below, nine
in ten of its samples lie outside of what is real, or nine in ten of the real records are out of its
reach: a low AUROC then says that it has learnt nothing. Victims of the reference run on digits have
0.32 or more without privacy, and networks before their first step 0. Of tables, it is this share of
the way from an untrained model's errors to those between real records."""

MARGINAL, CORRELATION = "marginal error", "correlation error"
"""Names of a table's quality; of images they are precision and recall."""

COLLAPSE, SPLIT_LEAKS = "mode collapse", "split leaks"
"""Warnings after which a job's AUROCs speak for no claim about models: findings leave it out."""

FAILED = "failed"
"""How the status of a row begins whose attack was planned and met an error that nobody foresaw."""

FAILED_ATTACK = "failed attack"


def overlapping_splits(digests: Mapping[str, np.ndarray]) -> list[Check]:
    """Sets that must be disjoint share content: name -> (n, bytes) uint8, a digest per record."""
    contents = {name: [row.tobytes() for row in rows] for name, rows in digests.items()}
    found = []
    for (a, in_a), (b, in_b) in combinations(contents.items(), 2):
        if both := set(in_a) & set(in_b):
            shared = [sum(record in both for record in records) for records in (in_a, in_b)]
            message = (
                f"{a} and {b} share {shared[0]} of {len(in_a)} and {shared[1]} of {len(in_b)} "
                f"records: for these there is no right answer, and every number of this job is "
                f"wrong"
            )
            found.append(Check("overlap", "error", message))
    return found


def of_rows(rows: pd.DataFrame, scores: pd.DataFrame, compared: pd.DataFrame) -> list[Check]:
    """What a reader should doubt of a table, whether of a job or of an audit.

    rows, scores: as in `JobResult`. compared: as `pairs.compare` gives it, at least of the rows
    whose access is more or less than another's (`victims.access.ordered_pairs`).
    """
    every = [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
    whole = [row for row in every if row["status"] == "ok"]
    found = failed_attacks(every)
    found += split_leaks(whole)
    found += weaker_beats_stronger(whole, compared)
    for name, group in scores[scores["calibrated"] == "none"].groupby("attack", sort=False):
        member, values = group["member"].to_numpy(bool), group["score"].to_numpy(float)
        found += tied_scores(str(name), values[member], values[~member])
        found += sign_error(str(name), values[member], values[~member])
    return found


def failed_attacks(rows: Iterable[Mapping[str, Any]]) -> list[Check]:
    """Attacks that were planned and met an error that nobody foresaw. rows: attack, status."""
    return [
        Check(
            FAILED_ATTACK,
            "warning",
            f"{row['attack']}: {row['status']}; what this attack would have found is not known",
        )
        for row in rows
        if row["status"].startswith(FAILED)
    ]


def tied_scores(attack: str, members: np.ndarray, non_members: np.ndarray) -> list[Check]:
    """More than MAX_TIED of the scores equal a score of the other group."""
    tied = np.concatenate([np.isin(members, non_members), np.isin(non_members, members)])
    if tied.mean() <= MAX_TIED:
        return []
    scores, counts = np.unique(np.concatenate([members, non_members])[tied], return_counts=True)
    message = (
        f"{attack}: {tied.mean():.0%} of the scores equal one of the other group "
        f"({counts.max()} queries score {scores[counts.argmax()]:.4g}); the attack cannot tell "
        f"these apart, they count half in the AUROC, and the TPR columns jump over them"
    )
    return [Check("ties", "warning", message)]


def sign_error(attack: str, members: np.ndarray, non_members: np.ndarray) -> list[Check]:
    """Members score lower than non-members, at SIGN_LEVEL: the sign may be the wrong way round."""
    p_value = metrics.auroc_p_value(members, non_members, "less")
    if p_value >= SIGN_LEVEL:
        return []
    area = metrics.auroc(members, non_members)
    message = (
        f"{attack}: AUROC {area:.3f} is under 0.5 (p = {p_value:.1g}), members score lower than "
        f"non-members. An attacker who turns the sign reaches {1 - area:.3f}. Were samples removed "
        f"that lie close to training records? Else members and non-members are swapped, the sign "
        f"of the score is reversed, or the groups differ by more than membership (see blind)"
    )
    return [Check("sign", "warning", message)]


def weaker_beats_stronger(
    rows: Iterable[Mapping[str, Any]], comparisons: pd.DataFrame
) -> list[Check]:
    """An attack with less access is surely better than every attack with more.

    rows: attack, access, calibrated, auroc; compared where `calibrated` is equal and one
    access contains the other. Rows without an AUROC are left out. comparisons: of the
    same rows, as `pairs.compare` gives them: DeLong's paired test on the queries that two have in
    common. An attack's p-value is one-sided, and the largest among the attacks with more access, so
    that no choice of the best of those is made on the queries; Holm's correction covers the attacks
    with less access, all pairs of accesses and all calibrations together, at `pairs.LEVEL`.
    """
    places: dict[tuple[Any, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if np.isfinite(row["auroc"]):
            place = row["calibrated"], str(row["access"]).replace(" ", "_")
            places.setdefault(place, []).append(row)
    p_values = pairs.one_sided(comparisons)
    tried = [
        (weak, strong, _p_value_of_order(weak, strong, p_values))
        for calibrated in dict.fromkeys(kind for kind, _ in places)
        for less, more in ordered_pairs()
        if (strong := places.get((calibrated, more)))
        for weak in places.get((calibrated, less), [])
    ]
    found: dict[tuple[Any, ...], Check] = {}
    corrected = metrics.holm([p for *_, p in tried])
    beaten = sorted(zip(tried, corrected, strict=True), key=lambda own: -own[0][0]["auroc"])
    for (weak, strong, _), p in beaten:
        chain = weak["calibrated"], weak["access"], strong[0]["access"]
        if p < pairs.LEVEL and chain not in found:  # one report of the best of an access
            message = _order_message(weak, max(strong, key=lambda row: row["auroc"]), p)
            found[chain] = Check("access order", "warning", message)
    return list(found.values())


def _p_value_of_order(
    weak: Mapping[str, Any],
    strong: Iterable[Mapping[str, Any]],
    p_values: Mapping[tuple[pairs.Row, pairs.Row], float],
) -> float:
    """P-value of "an attack of `strong` is as good as `weak`"; 1 where a pair is not compared."""
    name = str(weak["attack"]), str(weak["calibrated"])
    others = [(str(row["attack"]), str(row["calibrated"])) for row in strong]
    return max(p_values.get((name, other), 1.0) for other in others)


def draw_rows(records: np.ndarray, seed: int) -> np.ndarray:
    """DIVERSITY_ROWS of the records (n, *shape), or all: drawn, they may stand in any order."""
    return np.asarray(records[some_rows(len(records), DIVERSITY_ROWS, seed)])


def mode_collapse(released: np.ndarray, held_out: np.ndarray, seed: int) -> list[Check]:
    """Released samples (k, *shape) are far more alike than held-out records (n, *shape).

    `draw_rows` of each are compared. Both sides must be treated alike: where repeated records were
    taken from one, coarse records that are honest look collapsed. Finds a collapse to one or two
    modes; with many the mean distance is nearly that of the data.
    """
    if min(len(released), len(held_out)) < 2:
        return []
    ours, real = (
        _mean_distance(draw_rows(released, seed)),
        _mean_distance(draw_rows(held_out, seed)),
    )
    if ours >= MIN_DIVERSITY * real:
        return []
    message = (
        f"two released samples are on average {ours:.3g} apart, two held-out records {real:.3g} "
        f"(ratio {ours / real:.2f}, expected about 1, at least {MIN_DIVERSITY}): the generator has "
        f"collapsed to few modes, and low AUROCs say little about a well trained one"
    )
    return [Check(COLLAPSE, "warning", message)]


def learnt_little(quality: Mapping[str, float], rows: pd.DataFrame) -> list[Check]:
    """No attack is better than guessing, and the victim has learnt less than MIN_SHARE.

    quality, rows: as in `JobResult`.
    """
    few = [f"{name} {own:.2g}" for name, own in learnt_shares(quality).items() if own < MIN_SHARE]
    if not few or ((rows["access"] != NO_ACCESS) & (rows["auroc_low"] > 0.5)).any():
        return []
    message = (
        f"no attack is better than guessing, but the victim has learnt little ({', '.join(few)}; "
        f"at least {MIN_SHARE} is expected): a well trained one may leak; raise victim.steps or "
        f"split.members"
    )
    return [Check("learnt little", "warning", message)]


def learnt_shares(quality: Mapping[str, float]) -> dict[str, float]:
    """How much a victim has learnt, by name, see MIN_SHARE; NaN where it was not measured."""
    if MARGINAL in quality:
        return {f"way to a small {x}": _way(quality, x) for x in (MARGINAL, CORRELATION)}
    return {name: quality.get(name, np.nan) for name in ("precision", "recall")}


def _way(quality: Mapping[str, float], name: str) -> float:
    """How far an error has come: 0 is an untrained model's, 1 that between real records."""
    own = quality.get(name, np.nan)
    start, end = (quality.get(f"{name}, {of}", np.nan) for of in (UNTRAINED, REAL))
    return (start - own) / (start - end) if start > end else np.nan


def split_leaks(rows: Iterable[Mapping[str, Any]]) -> list[Check]:
    """The blind baseline is better than guessing: its interval lies above 0.5.

    With intervals of 95%, one split in forty that does not leak is reported too. rows: access,
    auroc, auroc_low, auroc_high.
    """
    return [
        Check(
            SPLIT_LEAKS,
            "warning",
            f"a classifier that never looks at the victim has AUROC {row['auroc']:.3f} "
            f"[{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]: members and non-members differ by "
            f"themselves; attacks can win by that alone; draw both from one source",
        )
        for row in rows
        if row["access"] == NO_ACCESS and row["auroc_low"] > 0.5
    ]


def too_few_queries(
    n_members: int, n_non_members: int, remedy: str = "raise split.queries"
) -> list[Check]:
    """Fewer than MIN_QUERIES members or non-members."""
    if min(n_members, n_non_members) >= MIN_QUERIES:
        return []
    # Standard error of the AUROC of a guess (Mann and Whitney 1947).
    error = np.sqrt((n_members + n_non_members + 1) / (12 * n_members * n_non_members))
    message = (
        f"{n_members} members and {n_non_members} non-members are queried, at least {MIN_QUERIES} "
        f"of each are wanted: an AUROC within 0.5 +- {1.96 * error:.2f} cannot be told from "
        f"guessing; {remedy}"
    )
    return [Check("few queries", "warning", message)]


def _order_message(weak: Mapping[str, Any], strong: Mapping[str, Any], p: float) -> str:
    def text(row: Mapping[str, Any]) -> str:
        access = str(row["access"]).replace("_", " ")
        return f"{row['attack']} ({access}, AUROC {row['auroc']:.3f})"

    shown = "< 0.001" if p < 0.001 else f"= {p:.2g}"
    return (
        f"{text(weak)} is better than {text(strong)}, which can do all that it does (paired test "
        f"on the same queries, corrected p {shown}): the latter stopped too early, started badly, "
        f"or reconstructs any record; its figure is a lower bound of what its access gives away"
    )


def _mean_distance(records: np.ndarray) -> float:
    """Mean Euclidean distance between two different records."""
    return float(pdist(records.reshape(len(records), -1).astype(np.float64)).mean())
