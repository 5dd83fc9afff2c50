"""Exact nearest released samples: one streamed pass of blocked matrix products, checked exactly.

`distance_tiles` streams the samples and yields float32 squared distances with a bound on their
rounding error; whoever needs distances (`Nearest` here) consumes the tiles, so that one pass over
the samples can serve several attacks. No more than one block and one tile are held at a time.
With power 1 all of it is about sums of absolute differences instead of squared ones.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from victims.errors import UserError

LAMBDA = 8.0  # a sum of d products misses its bound with probability at most 2 d exp(-LAMBDA^2 / 2)


Power = Literal[1, 2]
"""Distances are sums over entries of |difference| ** power."""


class Tile(NamedTuple):
    """Distances of some queries to one block of samples.

    queries, samples: which ones; sums: (q, s) on the computing device; error: (q,), how far these
    may be off; block: (s, d), the samples themselves, flat, float32, on the CPU; power: what
    differences are raised to.
    """

    queries: slice
    samples: slice
    sums: Tensor
    error: Tensor
    block: Tensor
    power: Power


def find_nearest(
    blocks: Iterable[tuple[int, Tensor]],
    queries: Tensor,
    k: int,
    *,
    device: torch.device | str | None = None,
    query_rows: int = 2048,
    power: Power = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest samples of each query: squared distances and indices, nearest first.

    blocks: (start, (<= rows, *shape)) as `FullBlackBox.blocks` yields them; queries: (n, *shape);
    both are taken as float32. Returns (n, k) float64 squared L2 distances (a sum over all entries;
    of absolute differences with power 1) and (n, k) int64 indices; among equally distant samples
    the lower index comes first.
    Neighbours and distances are those of a float64 search through all differences.
    device, query_rows, power: see `distance_tiles`.
    Raises UserError if k is larger than the number of samples, or an input cannot be compared.

    >>> samples = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    >>> squared, indices = find_nearest(in_blocks(samples), torch.zeros(1, 2), 2)
    >>> squared.tolist(), indices.tolist()
    ([[0.0, 1.0]], [[0, 2]])
    """
    search = Nearest(queries, k)
    for tile in distance_tiles(blocks, queries, device, query_rows, power):
        search.add_tile(tile)
    return search.list_nearest()


def distance_tiles(
    blocks: Iterable[tuple[int, Tensor]],
    queries: Tensor,
    device: torch.device | str | None = None,
    query_rows: int = 2048,
    power: Power = 2,
) -> Iterator[Tile]:
    """Distances of all queries to all samples, block by block in the order of `blocks`.

    device: where to compute, by default where the queries are; query_rows: queries in a tile;
    power: 2 sums squared differences, 1 absolute ones (some 20 times as slow).
    Raises UserError if shapes differ, or a value is not finite or too large to square.
    """
    device = torch.device(device) if device is not None else queries.device
    flat = queries.detach().flatten(1).to(device, torch.float32)
    centre = flat.mean(0)  # any will do: small numbers lose less when subtracted
    flat = flat - centre
    buffer = flat.new_empty(0)  # reused: asking the system for a block's memory is slow
    for start, raw in blocks:
        block = raw.detach().flatten(1).to("cpu", torch.float32)
        if block.shape[1] != flat.shape[1]:
            raise UserError(
                f"queries have {flat.shape[1]} values each but released samples {block.shape[1]}; "
                "they must be equally many"
            )
        samples = slice(start, start + len(block))
        buffer = buffer if len(block) <= len(buffer) else torch.empty_like(block, device=device)
        centred = torch.sub(block.to(device), centre, out=buffer[: len(block)])
        for row in range(0, len(flat), query_rows):
            rows = slice(row, min(row + query_rows, len(flat)))
            yield Tile(rows, samples, *sum_differences(flat[rows], centred, power), block, power)


def sum_differences(queries: Tensor, samples: Tensor, power: Power) -> tuple[Tensor, Tensor]:
    """`squared_distances` or `absolute_distances`."""
    return (squared_distances if power == 2 else absolute_distances)(queries, samples)


@torch.no_grad()
def absolute_distances(queries: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of absolute differences, and how far they may be off.

    queries: (q, d), samples: (s, d) -> (q, s) and (q,). The bound is that of a sum in any order,
    with eight more units of rounding, for centring and for comparisons with the result.

    >>> sums, error = absolute_distances(torch.zeros(1, 2), torch.tensor([[3.0, -4.0], [0.0, 1.0]]))
    >>> sums.tolist(), bool(error < 1e-5)
    ([[7.0, 1.0]], True)
    """
    found = torch.cdist(queries, samples, p=1)
    largest = queries.abs().sum(1) + samples.abs().sum(1).max()
    if not largest.isfinite().all():
        raise UserError("queries or released samples hold a value that is not finite or too large")
    return found, (queries.shape[1] + 8) * torch.finfo(queries.dtype).eps * largest


@torch.no_grad()
def squared_distances(queries: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
    """|q|^2 + |x|^2 - 2 q.x in the precision of the arguments, and how far it may be off.

    queries: (q, d), samples: (s, d) -> (q, s) and (q,). The bound grows with sqrt(d): rounding
    errors mostly cancel (Higham and Mary 2019, A new approach to probabilistic rounding error
    analysis, theorem 3.1 with lambda = LAMBDA). Deviation: eight more units of rounding, for
    centring, for adding the three terms, and for comparisons with the result.

    >>> sums, error = squared_distances(torch.zeros(1, 2), torch.tensor([[3.0, -4.0], [0.0, 1.0]]))
    >>> sums.tolist(), bool(error < 1e-3)
    ([[25.0, 1.0]], True)
    """
    square_q = torch.linalg.vector_norm(queries, dim=1).square()
    square_x = torch.linalg.vector_norm(samples, dim=1).square()
    if not (square_q.isfinite().all() and square_x.isfinite().all()):
        raise UserError("queries or released samples hold a value that is not finite or too large")
    with full_precision(queries.device.type):
        d2 = torch.addmm(square_x, queries, samples.T, alpha=-2)
    d2.add_(square_q[:, None]).clamp_(min=0)
    d, number = queries.shape[1], torch.finfo(queries.dtype)
    relative = (LAMBDA * (d + 2) ** 0.5 + 8) * number.eps
    # 2 |q| |x| <= |q|^2 + |x|^2 bounds the product; squares under `tiny` may have been lost
    return d2, relative * (square_q + square_x.max()) + 4 * d * number.tiny


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Products without TF32, bfloat16 or autocast, which would break the bound on the error."""
    cpu = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    backends = (torch.backends.cuda.matmul, cpu)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


class Nearest:
    """The k nearest samples so far; takes the tiles of `distance_tiles` in any order.

    A sample whose float32 distance is within the error bound of a query's k-th nearest is compared
    again, by differences in float64, so nothing that belongs to the result can be missed.
    """

    def __init__(self, queries: Tensor, k: int) -> None:
        if k < 1:
            raise UserError(f"the number of nearest neighbours is {k}; it must be at least 1")
        self.k = k
        self.queries = queries.detach().flatten(1).to("cpu", torch.float32)
        self.distances = np.full((len(queries), k), np.inf)
        self.indices = np.full((len(queries), k), np.iinfo(np.int64).max)
        self.samples = 0

    def add_tile(self, tile: Tile) -> None:
        """Take in one tile."""
        self.samples = max(self.samples, tile.samples.stop)
        known = torch.from_numpy(self.distances[tile.queries]).to(tile.sums.device)
        close = may_be_nearest(tile.sums, tile.error, known)
        crowded = close.sum(1) > 2 * self.k + 8
        if crowded.any():
            close[crowded] = self._thin_crowded(tile, close[crowded], crowded, known[crowded])
        row, column = close.nonzero().cpu().numpy().T
        row += tile.queries.start
        pairs = self.queries.numpy(), tile.block.numpy(), row, column
        exact = exact_distances(*pairs, tile.power)
        self._merge_pairs(row, column + tile.samples.start, exact)

    def list_nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances (n, k) float64 of `find_nearest`, and indices (n, k) int64, nearest first."""
        if self.k > self.samples:
            raise UserError(
                f"{self.k} nearest neighbours are asked for, but only {self.samples} samples are "
                "released; ask for at most as many"
            )
        return self.distances, self.indices

    def _thin_crowded(self, tile: Tile, close: Tensor, crowded: Tensor, known: Tensor) -> Tensor:
        """Thin out `close` (q, s) where float32 can't tell many samples apart (mode collapse)."""
        columns = close.any(0) & first_copies(tile.block, self.k).to(close.device)
        centre = self.queries.mean(0, dtype=torch.float64)
        queries = (self.queries[tile.queries][crowded.cpu()].double() - centre).to(close.device)
        samples = (tile.block[columns.cpu()].double() - centre).to(close.device)
        sums, error = sum_differences(queries, samples, tile.power)
        thinned = torch.zeros_like(close)
        thinned[:, columns] = may_be_nearest(sums, error, known)
        return thinned

    def _merge_pairs(self, row: np.ndarray, index: np.ndarray, distance: np.ndarray) -> None:
        """Keep the k best of the old and the new (m,) of each query."""
        changed = np.unique(row)
        row = np.concatenate([np.repeat(changed, self.k), row])
        index = np.concatenate([self.indices[changed].ravel(), index])
        distance = np.concatenate([self.distances[changed].ravel(), distance])
        order = np.lexsort((index, distance, row))
        first = np.searchsorted(row[order], changed)
        kept = order[first[:, None] + np.arange(self.k)]
        self.distances[changed], self.indices[changed] = distance[kept], index[kept]


def exact_distances(
    queries: np.ndarray, samples: np.ndarray, row: np.ndarray, column: np.ndarray, power: Power = 2
) -> np.ndarray:
    """Distances (m,) of m pairs of a query (q, d) and a sample (s, d), summed in float64.

    >>> samples = np.array([[3.0, 4.0], [0.0, 1.0]])
    >>> exact_distances(np.zeros((1, 2)), samples, row=np.array([0, 0]), column=np.array([1, 0]))
    array([ 1., 25.])
    """
    exact = np.empty(len(row))
    step = max(1, 2**17 // samples.shape[1])  # what fits into the processor's cache

    def fill_from(start: int) -> None:
        part = slice(start, start + step)
        difference = queries[row[part]].astype(np.float64)
        difference -= samples[column[part]]
        # not einsum, whose rounding depends on a row's place: identical samples must tie
        (np.square if power == 2 else np.abs)(difference, out=difference).sum(1, out=exact[part])

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill_from, range(0, len(row), step)))
    return exact


def may_be_nearest(sums: Tensor, error: Tensor, known: Tensor) -> Tensor:
    """Which of sums (q, s), off by up to error (q,), may be among the k smallest, (q, s) bool.

    known: (q, k) float64, exact distances to other samples, infinite where there are none yet.

    >>> sums, known = torch.tensor([[5.0, 1.0, 1.1]]), torch.full((1, 1), torch.inf)
    >>> may_be_nearest(sums, torch.tensor([0.1]), known).tolist()
    [[False, True, True]]
    """
    k = known.shape[1]
    best = sums.topk(min(k, sums.shape[1]), largest=False).values + error[:, None]
    worst = torch.cat([known, best], 1).topk(k, largest=False).values[:, -1]  # no k-th is larger
    return sums <= (worst + error).to(sums.dtype)[:, None]


def first_copies(block: Tensor, k: int) -> Tensor:
    """Which rows of a block (s, d) have fewer than k identical rows before them, (s,) bool.

    The others can't be among any query's k nearest, where ties go to the lower index.

    >>> first_copies(torch.tensor([[1.0], [1.0], [2.0], [1.0]]), 2).tolist()
    [True, True, True, False]
    """
    seen: Counter[bytes] = Counter()
    first = []
    for row in block.contiguous().numpy():
        key = hashlib.blake2b(row, digest_size=16).digest()
        first.append(seen[key] < k)
        seen[key] += 1
    return torch.tensor(first)


def in_blocks(records: Tensor, rows: int = 2048) -> Iterator[tuple[int, Tensor]]:
    """Yield records (n, d) in blocks, each with its first one's number, as `find_nearest` reads.

    >>> [(start, block[:, 0].tolist()) for start, block in in_blocks(torch.arange(3.0)[:, None], 2)]
    [(0, [0.0, 1.0]), (2, [2.0])]
    """
    for start in range(0, len(records), rows):
        yield start, records[start : start + rows]
