"""Queries, and data sets that stand one behind the other."""

from __future__ import annotations

import numpy as np

from benchmark.data.dataset import in_memory
from benchmark.data.joined import join_datasets
from benchmark.data.queries import Queries
from benchmark.models.release import Form

RNG = np.random.default_rng(0)
A, B = (RNG.integers(0, 9, (n, 3)).astype(np.float32) for n in (7, 5))


def test_two_data_sets_are_read_as_one() -> None:
    both, whole = join_datasets(in_memory(A), in_memory(B)), np.concatenate([A, B])
    assert len(both.values) == 12
    assert both.values.shape == whole.shape
    np.testing.assert_array_equal(both.digests, in_memory(whole).digests)
    for at in (slice(None), slice(5, 9), slice(8, 40), np.array([11, 0, 7, 6, 0])):
        np.testing.assert_array_equal(both.values[at], whole[at])
    np.testing.assert_array_equal(both.records(np.array([9, 2])).numpy(), whole[[9, 2]])


def test_columns_of_joined_tables_are_looked_at() -> None:
    """A job with canaries in a table could not release any sample."""
    halves = np.array([[0.5, 1, 0]], np.float32)
    form = Form(join_datasets(in_memory(A), in_memory(halves)))
    assert form.whole_columns.tolist() == [False, True, True]


def test_queries_keep_their_numbers_and_names_when_some_are_taken() -> None:
    rows = RNG.permutation(12)[:6]
    names = np.array([f"record {row}" for row in rows])
    queries = Queries(join_datasets(in_memory(A), in_memory(B)), rows, rows < 7, rows + 100, names)
    some = queries.take(np.array([4, 1]))
    assert some.numbers.tolist() == [rows[4] + 100, rows[1] + 100]
    assert some.ids.tolist() == [names[4], names[1]]
    assert some.is_member.tolist() == [rows[4] < 7, rows[1] < 7]
    whole = queries.records(slice(None)).numpy()
    np.testing.assert_array_equal(some.records(slice(None)).numpy(), whole[[4, 1]])
    assert some.digest == in_memory(whole[[4, 1]]).digest(np.arange(2))
    blocks = list(queries.blocks(4))
    assert [start for start, _ in blocks] == [0, 4]
    np.testing.assert_array_equal(np.concatenate([block.numpy() for _, block in blocks]), whole)
