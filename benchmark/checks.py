"""The benchmark checks its own validity, and says so beside the number.

Each function returns the checks that fired, an empty list where all is well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist

from benchmark import metrics
from benchmark.result import NO_ACCESS, Check

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

GENERATOR_CHAIN = ("full_black_box", "partial_black_box", "white_box")
"""Access to the generator, each containing the one before. The discriminator is another branch."""


def overlapping_splits(digests: Mapping[str, np.ndarray]) -> list[Check]:
    """Sets that must be disjoint share content: name -> (n, bytes) uint8, a digest per record."""
    contents = {name: {row.tobytes() for row in rows} for name, rows in digests.items()}
    found = []
    for (a, in_a), (b, in_b) in combinations(contents.items(), 2):
        if shared := len(in_a & in_b):
            message = (
                f"{a} and {b} share {shared} of {len(in_a)} and {len(in_b)} records: "
                f"for these there is no right answer, and every number of this job is wrong"
            )
            found.append(Check("overlap", "error", message))
    return found


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
        f"non-members; members and non-members are swapped, or the score's sign is reversed, or "
        f"the two groups differ by more than membership"
    )
    return [Check("sign", "warning", message)]


def weaker_beats_stronger(rows: Iterable[Mapping[str, Any]]) -> list[Check]:
    """An attack with less access is better, beyond the intervals, than the best one with more.

    rows: attack, access, calibrated, auroc, auroc_low, auroc_high; compared where `calibrated` is
    equal and along GENERATOR_CHAIN. Rows of other access, or without an AUROC, are left out.
    """
    best: dict[tuple[Any, str], Mapping[str, Any]] = {}
    for row in rows:
        place = row["calibrated"], str(row["access"]).replace(" ", "_")
        if np.isfinite(row["auroc"]) and (place not in best or row["auroc"] > best[place]["auroc"]):
            best[place] = row
    found = []
    for calibrated in dict.fromkeys(kind for kind, _ in best):
        chain = [best[calibrated, a] for a in GENERATOR_CHAIN if (calibrated, a) in best]
        for weak, strong in combinations(chain, 2):
            if weak["auroc_low"] > strong["auroc_high"]:
                found.append(Check("access order", "warning", _order_message(weak, strong)))
    return found


def mode_collapse(released: np.ndarray, held_out: np.ndarray) -> list[Check]:
    """Released samples (k, *shape) are far more alike than held-out records (n, *shape).

    The first DIVERSITY_ROWS of each are compared, so both must be in random order. Finds a collapse
    to one or two modes; with many the mean distance is nearly that of the data.
    """
    if min(len(released), len(held_out)) < 2:
        return []
    ours, real = _mean_distance(released), _mean_distance(held_out)
    if ours >= MIN_DIVERSITY * real:
        return []
    message = (
        f"two released samples are on average {ours:.3g} apart, two held-out records {real:.3g} "
        f"(ratio {ours / real:.2f}, expected about 1, at least {MIN_DIVERSITY}): the victim has "
        f"collapsed to few modes, and low AUROCs say little about a well trained one"
    )
    return [Check("mode collapse", "warning", message)]


def split_leaks(rows: Iterable[Mapping[str, Any]]) -> list[Check]:
    """The blind baseline is better than guessing: its 95% interval lies above 0.5.

    One split in forty that does not leak is reported too. rows: as for `weaker_beats_stronger`.
    """
    return [
        Check(
            "split leaks",
            "warning",
            f"a classifier that never looks at the victim has AUROC {row['auroc']:.3f} "
            f"[{row['auroc_low']:.3f}, {row['auroc_high']:.3f}]: members and non-members differ by "
            f"themselves, and attacks can win by that alone; draw both from one source",
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


def _order_message(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> str:
    def text(row: Mapping[str, Any]) -> str:
        return (
            f"{row['attack']} ({str(row['access']).replace('_', ' ')}, AUROC {row['auroc']:.3f} "
            f"[{row['auroc_low']:.3f}, {row['auroc_high']:.3f}])"
        )

    return (
        f"{text(weak)} is better than {text(strong)}, which can do all that it does: the latter "
        f"has likely stopped too early or started badly, its figure is a lower bound"
    )


def _mean_distance(records: np.ndarray) -> float:
    """Mean Euclidean distance between two different records."""
    rows = np.asarray(records[:DIVERSITY_ROWS], dtype=np.float64)
    return float(pdist(rows.reshape(len(rows), -1)).mean())
