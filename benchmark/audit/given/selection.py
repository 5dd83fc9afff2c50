"""Which of the records that were handed in are asked about, and which are left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmark.data.notation import list_names
from benchmark.measures.numbers import count_of
from benchmark.measures.result import Check
from benchmark.store.seeds import sub_seed
from victims.errors import UserError

SIGNIFICANT = 0.001
"""Level at which the overlap of members and non-members is no accident."""

DRAWS = 20_000
"""Random labels of the pool that the overlap is compared with: the level above is 20 of them."""


@dataclass(frozen=True)
class LeftOut:
    """Records that are not asked about, or not used; all but the last two numbers count records.

    given: all members and non-members. members, non_members: those whose content is in the other
    input too. repeated: others whose content is there several times. reference: reference records
    with the content of a query. excess: how much more of the smaller input is shared than by
    chance, a share of that input. p_value: of the hypothesis that chance explains the overlap.
    """

    given: int
    members: int
    non_members: int
    repeated: int
    excess: float
    p_value: float
    reference: int = 0

    def list_checks(self, allowed: float) -> list[Check]:
        """What a reader must know of it. allowed: the largest excess that is not refused."""
        found = []
        if self.members:
            refused = self.excess > allowed and self.p_value < SIGNIFICANT
            message = self._describe_overlap() + (f". {self._beyond_chance()}" if refused else "")
            found.append(Check("overlap", "error" if refused else "warning", message))
        if self.repeated:
            message = (
                f"{count_of(self.repeated, 'records')} ({self.repeated / self.given:.1%} of all) "
                "are not asked about: their content occurs several times in one input. Only "
                "contents that occur once are members by chance alone; the larger input has more "
                "of the others"
            )
            found.append(Check("duplicates", "warning", message))
        if self.reference:
            message = (
                f"{count_of(self.reference, 'reference records')} were left out: they have the "
                f"content of a query. Beside them the released samples look far from that query"
            )
            found.append(Check("reference overlap", "warning", message))
        return found

    def _describe_overlap(self) -> str:
        return (
            f"{count_of(self.members, 'members')} and {count_of(self.non_members, 'non-members')} "
            f"({(self.members + self.non_members) / self.given:.1%} of all) were left out: their "
            f"content is in both inputs, so that there is no right answer"
        )

    def _beyond_chance(self) -> str:
        return (
            f"That is {self.excess:.1%} of the smaller input more than chance explains "
            f"(p = {self.p_value:.1g}). Were records copied? Remove them from both inputs. Were "
            f"repeated rows removed from each input by itself? Remove them before the split instead"
        )


def content_values(digests: np.ndarray) -> np.ndarray:
    """Digests (n, bytes) as one comparable value each, (n,)."""
    return np.ascontiguousarray(digests).view(f"V{digests.shape[1]}").ravel()


def choose_queries(
    members: np.ndarray, non_members: np.ndarray, seed: int, constants: Sequence[str] = ()
) -> tuple[np.ndarray, LeftOut]:
    """Which records are asked about, (q,) row numbers, non-members after members, shuffled.

    members (m, bytes), non_members (n, bytes): digests. Asked are contents that occur exactly once
    in both inputs together: given these contents, which of them are members is a random draw. With
    one query for each different content it is not: of a content that occurs several times the
    larger input is more likely to hold all, so its queries would be the more common contents.
    constants: columns that were left out before, because one value of them was released.
    Raises UserError where no member or no non-member is left.
    """
    inside, group, as_member, times = _group(members, non_members)
    shared = (as_member > 0) & (as_member < times)
    rows = np.flatnonzero(times[group] == 1)
    if not inside[rows].any() or inside[rows].all():
        raise UserError(_say_why_none_is_left(inside[rows], bool(shared.any()), constants))
    rng = np.random.default_rng(sub_seed(seed, "audit", "overlap"))
    excess, p_value = _beyond_chance(as_member, times, rng)
    left_out = LeftOut(
        given=len(group),
        members=int(as_member[shared].sum()),
        non_members=int((times - as_member)[shared].sum()),
        repeated=int(times[~shared & (times > 1)].sum()),
        excess=excess,
        p_value=p_value,
    )
    shuffled = np.random.default_rng(sub_seed(seed, "audit", "queries")).permutation(rows)
    return shuffled, left_out


class Contents(NamedTuple):
    """The different contents that one input alone holds.

    rows (c,): the first row of each, members' rows before non-members'. is_member (c,). times (c,):
    how often it occurs. repeat: whether records repeat one another by themselves.
    """

    rows: np.ndarray
    is_member: np.ndarray
    times: np.ndarray
    repeat: bool


def contents_in_one_input(members: np.ndarray, non_members: np.ndarray, chance: float) -> Contents:
    """Each content once, but for those that members and non-members share.

    members (m, bytes), non_members (n, bytes): digests. Records repeat by themselves where both
    inputs hold the same content, or some content occurs twice in one of them. Not so where random
    labels would keep all repeated contents in one input with less than `chance`: then somebody
    repeated rows of an input, as oversampling does.
    """
    _, group, as_member, times = _group(members, non_members)
    alone = (as_member == 0) | (as_member == times)
    first = np.full(len(times), len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    q, c = len(members) / len(group), times[alone & (times > 1)].astype(float)
    together = float(np.log(q**c + (1 - q) ** c).sum())
    repeat = not alone.all() or (len(c) > 0 and together >= np.log(chance))
    order = np.flatnonzero(alone)[np.argsort(first[alone])]
    return Contents(first[order], as_member[order] > 0, times[order], repeat)


def _group(members: np.ndarray, non_members: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each row, whether it is a member and its content's number; of each content, how often it
    occurs among the members, and in all."""
    pool = content_values(np.concatenate([members, non_members]))
    _, group, times = np.unique(pool, return_inverse=True, return_counts=True)
    inside = np.arange(len(pool)) < len(members)
    return inside, group, np.bincount(group, inside, len(times)).astype(int), times


def _say_why_none_is_left(inside: np.ndarray, shared: bool, constants: Sequence[str]) -> str:
    """Why no content of a kind occurs once; inside: of those that do, whether they are members."""
    kind = "non-member" if inside.any() else "member"
    released = f"; of {list_names(constants)} one value was released" if constants else ""
    if shared:
        return (
            f"no {kind} has a content that occurs once; do the two inputs hold the same records, "
            f"or are their columns too few or too coarse to tell records apart?{released}"
        )
    return (
        f"no {kind} has a content that occurs once: each stands there several times. Were records "
        f"repeated on purpose? Give each of them once{released}"
    )


def _beyond_chance(
    as_member: np.ndarray, times: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """How much more of the smaller input is shared than by chance, and chance's p-value.

    as_member, times: (g,) for each content, how often it occurs among the members and in all. By
    chance each record is a member or not, independently, as often as records are: a content that
    occurs c times is then shared with probability 1 - q^c - (1 - q)^c. (To draw the labels without
    replacement changes little: the number of shared contents then varies a little less.)
    """
    members, total = as_member.sum(), times.sum()
    small = as_member if 2 * members <= total else times - as_member
    q = small.sum() / total
    shared = (as_member > 0) & (as_member < times)
    expected = (times * q * (1 - q ** (times - 1.0))).sum()
    excess = (small[shared].sum() - expected) / small.sum()
    classes, many = np.unique(times[times > 1], return_counts=True)
    chance = 1 - q**classes - (1 - q) ** classes
    drawn = sum(rng.binomial(k, p, DRAWS) for k, p in zip(many, chance, strict=True))
    p_value = (1 + np.sum(drawn >= shared.sum())) / (1 + DRAWS)
    return float(excess), float(p_value)


def is_stranger(reference: np.ndarray, *queries: np.ndarray) -> np.ndarray:
    """Which reference records (r,) have the content of no query; arguments: digests (n, bytes).

    The members' and the non-members' contents go alike, so what remains depends on the contents of
    all queries and not on which of them are members: no row that uses the reference can be better
    or worse than guessing by the overlap alone. Were they kept, a query among them would look far
    from the generator, and most often only one kind of query is among them: the non-members.
    """
    known = np.concatenate([content_values(digests) for digests in queries])
    return ~np.isin(content_values(reference), known)
