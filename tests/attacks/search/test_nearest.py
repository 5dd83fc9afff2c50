"""The neighbours must be those of a float64 search through all differences, whatever the data."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attacks.search import nearest as module
from attacks.search.nearest import (
    Nearest,
    Power,
    distance_tiles,
    find_nearest,
    first_copies,
    squared_distances,
)
from victims.access import FullBlackBox
from victims.errors import UserError

ROOT = Path(__file__).parents[3]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def cut(samples: np.ndarray, rows: int) -> Iterator[tuple[int, Tensor]]:
    return FullBlackBox(torch.device("cpu"), 8, samples).blocks(rows)


def brute(
    samples: np.ndarray, queries: np.ndarray, k: int, power: Power = 2
) -> tuple[np.ndarray, np.ndarray]:
    samples, queries = (a.reshape(len(a), -1).astype(np.float64) for a in (samples, queries))
    d2 = np.stack([(np.abs(samples - query) ** power).sum(1) for query in queries])
    order = np.argsort(d2, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(d2, order, axis=1), order


def check(
    samples: np.ndarray,
    queries: np.ndarray,
    k: int,
    rows: int = 37,
    query_rows: int = 2048,
    device: str = "cpu",
    power: Power = 2,
) -> None:
    moved = torch.from_numpy(queries).to(device)
    d2, index = find_nearest(cut(samples, rows), moved, k, query_rows=query_rows, power=power)
    expected_d2, expected = brute(samples, queries, k, power)
    assert (d2.dtype, index.dtype) == (np.float64, np.int64)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(d2, expected_d2, rtol=1e-12)


def make(kind: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n, 3, 4, 4) and queries (23, 3, 4, 4) of one kind of data."""
    rng = np.random.default_rng(seed)
    shape = (3, 4, 4)
    queries = rng.uniform(-1, 1, (23, *shape))
    if kind == "random":
        samples = rng.uniform(-1, 1, (n, *shape))
    elif kind == "clustered":
        centres = rng.uniform(-1, 1, (4, *shape))
        samples, queries = (
            centres[rng.integers(4, size=m)] + 1e-3 * rng.normal(size=(m, *shape)) for m in (n, 23)
        )
    elif kind == "collapsed":  # float32 products can't tell these samples apart
        samples = rng.uniform(-1, 1, shape) + 1e-6 * rng.normal(size=(n, *shape))
    elif kind == "memorised":  # copies of few records, the queries among them
        queries[0] = 0.5
        samples = queries[rng.integers(5, size=n)]
    elif kind == "one image":
        samples = np.repeat(queries[:1], n, axis=0)
    elif kind == "offset":
        samples, queries = rng.uniform(-1, 1, (n, *shape)) + 3e4, queries + 3e4
    elif kind == "outlier":
        samples = rng.uniform(-1, 1, (n, *shape))
        samples[n // 2] *= 1e6
    elif kind == "tiny":  # squares are under the smallest float32
        samples, queries = 1e-24 * rng.uniform(-1, 1, (n, *shape)), 1e-24 * queries
    elif kind == "far queries":
        samples = rng.uniform(-1, 1, (n, *shape))
        queries[::2] += 1e5
    else:
        samples, queries = (rng.integers(0, 2, (m, *shape)).astype(float) for m in (n, 23))
    return samples.astype(np.float32), queries.astype(np.float32)


KINDS = ["random", "clustered", "collapsed", "memorised", "one image", "offset", "outlier", "tiny"]
KINDS += ["far queries", "binary"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("k", [1, 5, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_brute_force(kind: str, k: int, device: str) -> None:
    check(*make(kind, 200, seed=k), k, device=device)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_brute_force_by_absolute_differences(kind: str) -> None:
    check(*make(kind, 200, seed=2), 5, power=1)


@pytest.mark.parametrize("seed", range(3))
def test_high_dimension_with_near_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries = rng.uniform(-1, 1, (9, 3000))
    steps = rng.permutation(60)[:, None] * 1e-7 * np.sign(rng.normal(size=3000))
    samples = np.concatenate([queries[:3] + 1.0, rng.uniform(-1, 1, 3000) + steps])
    check(samples.astype(np.float32), queries.astype(np.float32), 7, rows=25, query_rows=4)


@pytest.mark.parametrize("device", DEVICES)
def test_identical_samples_tie_to_the_last_bit(device: str) -> None:
    rng = np.random.default_rng(0)
    records = rng.uniform(-1, 1, (6, 3, 64, 64)).astype(np.float32)
    samples = records[rng.integers(6, size=90)]
    queries = rng.uniform(-1, 1, (8, 3, 64, 64)).astype(np.float32)
    check(samples, queries, 40, rows=17, device=device)
    found = [
        find_nearest(
            cut(samples, rows), torch.from_numpy(queries).to(device), 40, query_rows=query_rows
        )
        for rows, query_rows in ((90, 8), (17, 3), (1, 1))
    ]
    for d2, index in found:
        np.testing.assert_array_equal(index, found[0][1])
        np.testing.assert_array_equal(d2, found[0][0])


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    rows=st.integers(1, 45),
    query_rows=st.integers(1, 30),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(KINDS),
    data=st.data(),
)
def test_any_blocks(
    n: int, rows: int, query_rows: int, seed: int, kind: str, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, n))
    check(*make(kind, n, seed), k, rows, query_rows)


def test_memory_map(tmp_path: Path) -> None:
    samples, queries = make("random", 100, 0)
    np.save(tmp_path / "x.npy", samples)
    check(np.load(tmp_path / "x.npy", mmap_mode="r"), queries, 3)


def test_one_pass_serves_two_in_any_order() -> None:
    samples, queries = make("memorised", 100, 0)
    flipped = torch.from_numpy(-queries)
    tiles = list(distance_tiles(cut(samples, 30), torch.from_numpy(queries), query_rows=10))
    few, many = (Nearest(torch.from_numpy(queries), k) for k in (2, 60))
    for tile in reversed(tiles):
        few.add_tile(tile)
        many.add_tile(tile)
    np.testing.assert_array_equal(few.list_nearest()[1], brute(samples, queries, 2)[1])
    np.testing.assert_array_equal(many.list_nearest()[1], brute(samples, queries, 60)[1])
    # and the result is no constant: other queries have other neighbours
    assert (find_nearest(cut(samples, 30), flipped, 2)[1] != few.list_nearest()[1]).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_are_within_their_error(kind: str, power: Power, device: str) -> None:
    samples, queries = make(kind, 90, 0)
    moved = torch.from_numpy(queries).to(device)
    seen = np.zeros((len(queries), len(samples)), int)
    flat_q, flat_x = (a.reshape(len(a), -1).astype(np.float64) for a in (queries, samples))
    exact = (np.abs(flat_q[:, None] - flat_x) ** power).sum(2)
    for tile in distance_tiles(cut(samples, 40), moved, query_rows=10, power=power):
        seen[tile.queries, tile.samples] += 1
        off = np.abs(tile.sums.double().cpu().numpy() - exact[tile.queries, tile.samples])
        assert (off <= tile.error.double().cpu().numpy()[:, None]).all()
        assert tile.sums.dtype == torch.float32
        assert tile.sums.shape[0] <= 10
        assert tile.sums.shape[1] <= 40
    assert (seen == 1).all()


def test_error_bound_follows_the_data() -> None:
    rng = torch.Generator().manual_seed(0)
    queries, samples = (torch.randn(50, 400, generator=rng) for _ in range(2))
    _, error = squared_distances(queries, samples)
    assert 0 < error.max() < 0.05  # distances are near 800
    _, finer = squared_distances(queries.double(), samples.double())
    assert finer.max() < 1e-6 * error.min()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_low_matmul_precision_is_ignored(
    precision: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, queries = make("offset", 100, 0)
    used = set()
    addmm = torch.addmm

    def spy(added: Tensor, left: Tensor, right: Tensor, alpha: float) -> Tensor:
        used.add(torch.backends.cuda.matmul.fp32_precision)
        used.add(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]
        return addmm(added, left, right, alpha=alpha)

    monkeypatch.setattr(torch, "addmm", spy)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        with torch.autocast(device, dtype=torch.bfloat16):
            check(samples, queries, 5, device=device)
        assert used == {"ieee"}
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)


def test_first_copies() -> None:
    block = torch.tensor([[1.0, 2], [1, 2], [3, 4], [1, 2], [3, 4]])
    assert first_copies(block, 1).tolist() == [True, False, True, False, False]
    assert first_copies(block, 2).tolist() == [True, True, True, False, True]


def test_mode_collapse_needs_few_exact_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    exact = module.exact_distances

    def count(queries: np.ndarray, samples: np.ndarray, *pairs: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(pairs[0])
        return exact(queries, samples, *pairs)

    monkeypatch.setattr(module, "exact_distances", count)
    for kind in ("collapsed", "memorised", "one image"):
        compared = 0
        samples, queries = make(kind, 400, 0)
        check(samples, queries, 3, rows=100)
        assert compared <= 23 * 4 * 10  # 23 queries, 4 blocks, of 100 samples each


PEAK = """
import resource, sys, numpy as np, torch
from attacks.search.nearest import find_nearest
def blocks(n):
    for start in range(0, n, 256):
        yield start, torch.rand(256, 4096)
def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
queries = torch.rand(600, 4096)
find_nearest(blocks(1024), queries, 3, query_rows=128)
before = peak()
find_nearest(blocks(256 * 28), queries, 3, query_rows=128)
print(peak() - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert int(done.stdout) < 40 * 2**20  # the 6144 further samples would take 100 MB


def test_bad_input() -> None:
    samples, queries = make("random", 20, 0)
    moved = torch.from_numpy(queries)
    with pytest.raises(UserError, match=r"21 nearest .* only 20"):
        find_nearest(cut(samples, 7), moved, 21)
    with pytest.raises(UserError, match="is 0; it must be at least 1"):
        find_nearest(cut(samples, 7), moved, 0)
    with pytest.raises(UserError, match="not finite or too large"):
        find_nearest(cut(samples, 7), moved * np.nan, 2, power=1)
    with pytest.raises(UserError, match="48 values each but released samples 16"):
        find_nearest(cut(samples[:, 0], 7), moved, 2)
    for value in (np.nan, np.inf, 1e30):
        with pytest.raises(UserError, match="not finite or too large"):
            find_nearest(cut(samples, 7), moved * value, 2)
