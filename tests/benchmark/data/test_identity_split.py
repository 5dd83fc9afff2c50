"""The split by identity."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import built
from hypothesis import given, reject
from hypothesis import strategies as st

from benchmark.data.dataset import DIGEST_BYTES, Dataset
from benchmark.data.split import IdentitySplit
from victims.errors import UserError


def dataset(identities: list[int] | np.ndarray | None, count: int, copies: int = 0) -> Dataset:
    values = np.arange(count, dtype=np.uint8 if count < 256 else np.uint16)[:, None]
    digests = np.zeros((count, DIGEST_BYTES), np.uint8)
    digests[:, :2] = np.stack([np.arange(count) // 256, np.arange(count) % 256], axis=1)
    digests[count - copies :] = digests[:copies]
    return Dataset(values, digests, None if identities is None else np.array(identities))


@given(
    st.lists(st.integers(0, 12), min_size=40, max_size=120),
    st.integers(1, 15),
    st.integers(0, 15),
    st.integers(0, 2**40),
    st.data(),
)
def test_nobody_is_in_two_sets(identities, members, reference, seed, data):
    queries = data.draw(st.integers(1, members))
    drawn = dataset(identities, len(identities), copies=5)
    try:
        split = IdentitySplit(members, queries, reference).draw_split(drawn, seed)
    except UserError:  # few people with many records cannot always be divided
        reject()
    sets = (split.members, split.non_members, split.reference)
    assert [len(rows) for rows in sets] == [members, queries, reference]
    people = [set(drawn.identities[rows]) for rows in sets]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]
    contents = [drawn.digests[row].tobytes() for rows in sets for row in rows]
    assert len(set(contents)) == len(contents)
    assert split.duplicates == 5
    assert set(split.queried) <= set(split.members)


@pytest.fixture
def people() -> Dataset:
    return dataset(np.arange(600) // 6, 600)


def test_groups_hold_their_shares(people):
    split = IdentitySplit(290, 140, 140, shares=[2, 1, 1]).draw_split(people, 0)
    assert len(split.members) == 290
    with pytest.raises(UserError, match=r"split.members=290: .* have 198 different records"):
        IdentitySplit(290, 140, 140).draw_split(people, 0)


def test_larger_training_sets_contain_smaller_ones_and_keep_the_others(people):
    small = IdentitySplit(10, 10, 5).draw_split(people, 3)
    large = IdentitySplit(60, 10, 5).draw_split(people, 3)
    assert np.array_equal(large.members[:10], small.members)
    assert np.array_equal(small.non_members, large.non_members)
    assert np.array_equal(small.reference, large.reference)
    other = IdentitySplit(10, 10, 5).draw_split(people, 4)
    assert not np.array_equal(small.members, other.members)


def test_members_are_spread_over_many_people(people):
    split = IdentitySplit(60, 10, 5).draw_split(people, 0)
    assert len(set(people.identities[split.members])) > 20  # of 33; packed tightly it would be 10


def test_data_without_identities_are_refused():
    with pytest.raises(UserError, match=r"split=identity: .* use split=random"):
        IdentitySplit(10, 10, 5).draw_split(dataset(None, 60), 0)


@pytest.mark.parametrize("shares", [[1, 1], [1, 0, 1], [1, 1, -1]])
def test_wrong_shares_are_named(shares):
    with pytest.raises(UserError, match=r"split.shares"):
        built(IdentitySplit, "split", members=10, queries=10, reference=5, shares=shares)
