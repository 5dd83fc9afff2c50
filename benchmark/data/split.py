"""Splits: which records the victim trains on, which it never sees, which the attacker owns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from benchmark.data.dataset import Dataset
from benchmark.store.seeds import sub_seed
from victims.errors import UserError


@dataclass(frozen=True)
class Split:
    """Row numbers into a data set; the three sets are disjoint, also by content.

    members: (n,) the victim's training records, in training order.
    non_members: (q,) records that the victim has not seen, as many as members are queried.
    reference: (r,) the attacker's own records of the same kind, for reference models.
    queried: (q,) the members among the queries.
    duplicates: how many records of the source were dropped because another has the same content.
    """

    members: np.ndarray
    non_members: np.ndarray
    reference: np.ndarray
    queried: np.ndarray
    duplicates: int

    def draw_queries(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Shuffled row numbers (2q,) of members and non-members, and the labels (2q,) bool."""
        rows = np.concatenate([self.queried, self.non_members])
        is_member = np.arange(len(rows)) < len(self.queried)
        order = np.random.default_rng(sub_seed(seed, "queries")).permutation(len(rows))
        return rows[order], is_member[order]

    def held_out(self, dataset: Dataset) -> np.ndarray:
        """Row numbers (h,) of all different records that are neither members nor the attacker's."""
        used = np.concatenate([self.members, self.reference])
        return np.setdiff1d(_first_of_each(dataset.digests), used)


class RandomSplit:
    """Records drawn uniformly without replacement.

    members: size of the victim's training set.
    queries: how many members are queried, and as many non-members.
    reference: size of the attacker's own set.
    For one seed and one number of queries, a larger training set contains the smaller one, and the
    non-members stay the same: curves over the training-set size compare like with like.
    """

    def __init__(
        self, members: PositiveInt, queries: PositiveInt, reference: NonNegativeInt
    ) -> None:
        if queries > members:
            raise UserError(
                f"split.queries={queries} is more than there are members: split.members={members}; "
                f"ask for at most {members}"
            )
        self.members, self.queries, self.reference = members, queries, reference

    def draw_split(self, dataset: Dataset, seed: int) -> Split:
        """Draw the three sets; raises UserError where the data does not allow them."""
        unique = _first_of_each(dataset.digests)
        order = unique[np.random.default_rng(sub_seed(seed, "split")).permutation(len(unique))]
        members, non_members, reference = self._draw_sets(dataset, order, seed)
        return Split(
            members=members,
            non_members=non_members,
            reference=reference,
            queried=members[: self.queries],
            duplicates=len(dataset.digests) - len(unique),
        )

    def _draw_sets(self, dataset: Dataset, order: np.ndarray, seed: int) -> Sequence[np.ndarray]:
        """Members, non-members and reference out of the different records in random order."""
        needed = self.members + self.reference + self.queries
        if needed > len(order):
            raise UserError(
                f"split.members={self.members} + split.reference={self.reference} + "
                f"split.queries={self.queries} non-members need {needed} records, but the data has "
                f"{len(order)} different ones; lower split.members or split.reference"
            )
        # Non-members from the end, so that they do not change with the number of members.
        return (
            order[: self.members],
            order[len(order) - self.queries :],
            order[self.members : self.members + self.reference],
        )


class IdentitySplit(RandomSplit):
    """Records drawn so that nobody is in two of members, non-members and reference.

    members, queries, reference: as for `RandomSplit`.
    shares: how the people are divided among members, non-members and reference, in that order.
    People are drawn uniformly into three groups that hold about these shares of the records, then
    each set's records uniformly from its group. The groups depend on the seed and shares only, so
    that here too a larger training set contains the smaller one and the non-members stay the same.
    Source: the identity-based split of GAN-Leaks (Chen et al. 2020, arXiv 1909.03935).
    """

    def __init__(
        self,
        members: PositiveInt,
        queries: PositiveInt,
        reference: NonNegativeInt,
        shares: Sequence[NonNegativeFloat] = (1, 1, 1),
    ) -> None:
        super().__init__(members, queries, reference)
        if len(shares) != 3 or min(shares[:2]) == 0:
            raise UserError(
                f"split.shares={list(shares)}: three numbers are needed, the first two above 0"
            )
        self.shares = np.array(shares, float) / sum(shares)

    def _draw_sets(self, dataset: Dataset, order: np.ndarray, seed: int) -> Sequence[np.ndarray]:
        if dataset.identities is None:
            raise UserError(
                "split=identity: this data does not say whom a record shows; use split=random"
            )
        group = self._group_people(dataset.identities[order], seed)
        return (
            self._take_rows("members", self.members, order[group == 0]),
            self._take_rows("queries", self.queries, order[group == 1]),
            self._take_rows("reference", self.reference, order[group == 2]),
        )

    def _group_people(self, identities: np.ndarray, seed: int) -> np.ndarray:
        """Which of the three sets (0, 1, 2) each record's person belongs to: (n,)."""
        _, person, records = np.unique(identities, return_inverse=True, return_counts=True)
        drawn = np.random.default_rng(sub_seed(seed, "split", "people")).permutation(len(records))
        middle = (np.cumsum(records[drawn]) - records[drawn] / 2) / len(identities)
        of_person = np.empty(len(records), int)
        of_person[drawn] = np.searchsorted(np.cumsum(self.shares)[:2], middle)
        return of_person[person]

    def _take_rows(self, name: str, size: int, rows: np.ndarray) -> np.ndarray:
        if size > len(rows):
            raise UserError(
                f"split.{name}={size}: the people drawn for this set have {len(rows)} different "
                f"records; lower split.{name} or change split.shares"
            )
        return rows[:size]


def _first_of_each(digests: np.ndarray) -> np.ndarray:
    """Row numbers of the first record of each content, ascending."""
    rows = np.ascontiguousarray(digests).view(f"V{digests.shape[1]}").ravel()
    return np.sort(np.unique(rows, return_index=True)[1])
