"""Training records that stand among the released ones word for word: how many, and by chance?

Two questions. Are members copied more often than non-members? (An exact test, for records of any
kind.) And can a copy be chance at all? A number with many digits, or a whole photograph, comes
twice only when somebody copied it: then one copy is proof, while for "female, 34, no" it is none.
`telling` answers the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from benchmark.audit.given.case import Case
from benchmark.audit.given.selection import Contents, content_values, contents_in_one_input
from benchmark.audit.telling import CHANCE, is_telling
from benchmark.measures.copies import Closest

DOUBT = 0.05
"""One-sided level under which copies that nothing proves are not put down to chance either."""
FEWER = 0.01
"""The same level under which non-members are surely copied less often than members."""


@dataclass(frozen=True)
class Copies:
    """Different records of members and of non-members that equal a released one, but for rounding.

    A record that an input repeats counts once; one that both inputs hold does not count. members,
    non_members: different records of each kind. copied_...: those among the released records.
    telling_...: those of the copied whose content is no accident. asked: members that attacks are
    asked about. repeated: copied members that stand several times among the members. rounded: of
    all copied, those that were released with other digits. repeat: whether records repeat by
    themselves, so that no copy proves anything by its content. released: whether anything was.
    strata: the counts (copied members, members, copied non-members, non-members) of records that
    stand equally often in their input; empty: all stand once.
    """

    members: int = 0
    non_members: int = 0
    copied_members: int = 0
    copied_non_members: int = 0
    telling_members: int = 0
    telling_non_members: int = 0
    asked: int = 0
    repeated: int = 0
    rounded: int = 0
    repeat: bool = False
    released: bool = False
    strata: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def _counts(self) -> tuple[tuple[int, int, int, int], ...]:
        alone = (self.copied_members, self.members, self.copied_non_members, self.non_members)
        return self.strata or (alone,)

    @property
    def p_value(self) -> float:
        """Of "members are copied as often as non-members": exact, one-sided, within strata."""
        return more_often_in_strata(self._counts)

    @property
    def p_swapped(self) -> float:
        """The same test the other way round: of a release from which members were removed."""
        return more_often_in_strata([(theirs, n, ours, m) for ours, m, theirs, n in self._counts])

    @property
    def certain(self) -> int:
        """Members of which one copy is proof; 0 where non-members of that kind are copied too."""
        return 0 if self.repeat or self.telling_non_members else self.telling_members

    @property
    def strange(self) -> bool:
        """Non-members were copied, which is no accident, and not surely less often than members."""
        return bool(self.telling_non_members) and not self.repeat and self.p_value >= FEWER

    def count_proven(self, level: float, alike: bool = True) -> int:
        """Copied members that neither chance nor what non-members show explains, at a level.

        alike: whether members and non-members are records of one kind, so that one can be compared
        with the other; if not, only copies count that are no accident.
        """
        if self.certain and 1 - level > CHANCE:
            return self.certain
        return self._beyond if alike and self.p_value < 1 - level else 0

    def count_open(self, alike: bool = True) -> int:
        """Copied members that look like no accident, whether or not that is proven."""
        if self.telling_members and not self.telling_non_members:
            return self.telling_members
        return self._beyond if alike and self.p_value < DOUBT else 0

    @property
    def _beyond(self) -> int:
        """Copied members beyond those that non-members let expect."""
        expected = sum(theirs * m / n for _, m, theirs, n in self._counts if n)
        compared = sum(ours for ours, _, _, n in self._counts if n)
        return max(1, round(compared - expected))


def more_often_in_strata(strata: Sequence[tuple[int, int, int, int]]) -> float:
    """P-value of "`ours` of m is no more often than `theirs` of n", of several strata together.

    Within a stratum the labels are a random draw: the sum of `ours` is one of independent
    hypergeometric numbers. Of one stratum this is Fisher's exact test, one-sided.

    >>> round(more_often_in_strata([(3, 4, 1, 4), (0, 2, 0, 1)]), 3)
    0.243
    """
    chances = np.ones(1)
    for ours, m, theirs, n in strata:
        found = ours + theirs
        own = hypergeom.pmf(np.arange(found + 1), m + n, m, found)
        chances = np.convolve(chances, own)
    return float(min(1.0, chances[sum(ours for ours, *_ in strata) :].sum()))


def copies_of(case: Case, near: Closest | None = None) -> Copies:
    """Compare all records that were handed in with the released ones.

    near: the released records next to the queries, where some may be copies but for rounding.
    """
    data, released = case.data, case.released
    contents = contents_in_one_input(data["members"].digests, data["non_members"].digests, CHANCE)
    kind, asked = contents.is_member, int(case.queries.is_member.sum())
    members, non_members = int(kind.sum()), int((~kind).sum())
    if released is None:
        return Copies(members, non_members, asked=asked)
    given = np.concatenate([data["members"].digests, data["non_members"].digests])[contents.rows]
    exact = np.isin(content_values(given), content_values(released.digests))
    rounded = {} if near is None else _rounded(case, contents, near)
    copied = exact.copy()
    copied[[*rounded]] = True
    telling = np.zeros_like(copied)
    places = np.flatnonzero(copied)
    partners = np.array([-1 if exact[at] else rounded[at] for at in places.tolist()], dtype=int)
    telling[places] = is_telling(case, contents.rows, places, partners)
    return Copies(
        members,
        non_members,
        copied_members=int((copied & kind).sum()),
        copied_non_members=int((copied & ~kind).sum()),
        telling_members=int((telling & kind).sum()),
        telling_non_members=int((telling & ~kind).sum()),
        asked=asked,
        repeated=int((copied & kind & (contents.times > 1)).sum()),
        rounded=int((copied & ~exact).sum()),
        repeat=contents.repeat,
        released=True,
        strata=_strata_of(contents, copied),
    )


def _rounded(case: Case, contents: Contents, near: Closest) -> dict[int, int]:
    """Place among the contents -> row of the released record that equals it but for rounding."""
    which = near.exact_copies()
    place_of = {int(row): place for place, row in enumerate(contents.rows)}
    found = np.flatnonzero(which >= 0)
    rows = case.queries.rows[near.places[found]]
    partners = near.samples[which[found]]
    return {place_of[int(row)]: int(own) for row, own in zip(rows, partners, strict=True)}


def _strata_of(contents: Contents, copied: np.ndarray) -> tuple[tuple[int, int, int, int], ...]:
    """Records that stand equally often in their input, counted; see `Copies.strata`."""
    found = []
    for times in np.unique(contents.times):
        own = contents.times == times
        sides = [own & (contents.is_member == kind) for kind in (True, False)]
        (ours, m), (theirs, n) = ((int((copied & side).sum()), int(side.sum())) for side in sides)
        found.append((ours, m, theirs, n))
    return tuple(found)
