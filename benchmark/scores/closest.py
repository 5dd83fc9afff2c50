"""Which records released samples lie closest to: the search behind `benchmark.measures.copies`."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from tqdm import tqdm

from attacks.base import Learnt, some_rows
from attacks.features import Values
from attacks.search.nearest import find_nearest, in_blocks
from benchmark.data.queries import Queries
from benchmark.measures.copies import EXACT, Closest, calibrate_distance, closest_pairs
from benchmark.measures.result import NEAR, Strip
from benchmark.scores.cells import cells_agree
from benchmark.scores.descriptors import Descriptor
from victims.access import FullBlackBox

NEIGHBOURS = 50
"""Closest records that a distance is calibrated by."""

SAMPLES, RECORDS = 50_000, 10_000
"""Released samples, members, and as many others, that are compared at most."""

CHUNK = 4096
"""Samples that are compared together."""

TOGETHER = 256
"""Rows whose distances to all records are in memory at once."""

Neighbours = tuple[np.ndarray, np.ndarray]

LARGE, COMPONENTS, FITTED = 2048, 256, 4000
"""Records of more than LARGE values are compared by COMPONENTS numbers, fitted to FITTED."""

POWER = 2
"""Iterations in which components are found: they need not be the very best."""

PAIRS = 8
"""Members, and as many others, that are shown beside the samples that come closest to them."""

CELLS = 3
"""Parts of the space, as in dgm-eval."""


def closest(
    view: FullBlackBox,
    queries: Queries,
    seed: int,
    descriptor: Descriptor | None = None,
    rounding: np.ndarray | None = None,
) -> Closest:
    """Compare the released samples of a view with members and as many other records.

    Nothing that is decided here depends on which records are the members. seed: decides which
    samples and records are compared where there are too many. descriptor: what images are compared
    by; without one it is their pixels, of tables their columns, mixed ones standardised by the
    samples. rounding: (d,) how far the digits of a table's samples let cells be from exact copies,
    where these are known.
    """
    places, rows = _places(queries, seed), some_rows(len(view.released), SAMPLES, seed)
    compared = _Compared(view, queries.records(places), descriptor)
    records = compared.records
    k = min(NEIGHBOURS, len(records) - 1)
    samples = [compared.samples(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
    near = [_search(records, part, k, view.device) for part in samples]
    others, apart = _among(records, k, view.device)
    cells = KMeans(min(CELLS, len(records)), n_init=3, random_state=seed % 2**32)
    with warnings.catch_warnings():  # of records that repeat one another there may be fewer cells
        warnings.simplefilter("ignore", ConvergenceWarning)
        record_cells = cells.fit_predict(records.numpy())
    nearest = np.concatenate([index for _, index in near])
    distances = np.sqrt(np.concatenate([d2 for d2, _ in near]))
    exact = calibrate_distance(distances[:, 0], distances) <= EXACT
    if not queries.dataset.is_image:
        own = queries.records(places).numpy()
        found = np.flatnonzero(exact)
        exact[found] = cells_agree(own, nearest[found, 0], view.released, rows[found], rounding)
    return Closest(
        member=queries.is_member[places],
        records=nearest,
        distances=distances,
        others=others,
        apart=apart,
        sample_cells=np.concatenate([cells.predict(part.numpy()) for part in samples]),
        record_cells=record_cells,
        samples=rows,
        exact=exact,
        places=places,
        by=compared.by,
        near=NEAR if descriptor is None else descriptor.near,
    )


def pictures(near: Closest, queries: Queries, released: np.ndarray) -> Strip:
    """The images that samples come closest to beside these, PAIRS members and as many others."""
    pairs = closest_pairs(near, PAIRS)
    return Strip(
        queries=queries.records(np.array([pair.place for pair in pairs])).numpy(),
        reconstructions=np.array(released[[pair.sample for pair in pairs]]),
        member=np.array([pair.member for pair in pairs]),
        losses=np.array([pair.distance for pair in pairs]),
    )


def _places(queries: Queries, seed: int) -> np.ndarray:
    """Places of the members and as many others among the queries, ascending."""
    kinds = [np.flatnonzero(queries.is_member == kind) for kind in (True, False)]
    size = min(RECORDS, *map(len, kinds))
    return np.sort(np.concatenate([own[some_rows(len(own), size, seed)] for own in kinds]))


class _Compared:
    """Records and samples as they are compared: flat, float32, few numbers each.

    Large ones by their principal components among the records, and the length of what these leave
    of them: the distance is then at most the true one, and far under it only where two records
    differ in what few of them have.
    """

    def __init__(self, view: FullBlackBox, records: Tensor, descriptor: Descriptor | None) -> None:
        self.view, self.feature, self.descriptor = view, Values(), descriptor
        self.learnt: Learnt = self.feature.learn(view)
        self.by = "pixels" if records.ndim == 4 else "columns"
        if descriptor is not None:
            self.by = descriptor.by
        flat = self._flat(records)
        self.pca: PCA | None = None
        if flat.shape[1] > LARGE:
            some = flat[some_rows(len(flat), FITTED)].numpy()
            few = {"svd_solver": "randomized", "iterated_power": POWER, "random_state": 0}
            self.pca = PCA(min(COMPONENTS, len(some)), **few)
            self.pca.fit(some)
        self.records = torch.cat([self._short(part) for part in flat.split(CHUNK)])

    def samples(self, rows: np.ndarray) -> Tensor:
        """These released samples (n,), as the records."""
        read = torch.from_numpy(np.array(self.view.released[rows]))
        return self._short(self._flat(read))

    def _flat(self, records: Tensor) -> Tensor:
        """Records (n, *shape) as numbers (n, d), before these become fewer."""
        if self.descriptor is None:
            return self.feature(self.learnt, records)
        device = self.view.device
        split = records.split(self.view.batch_size)
        blocks = tqdm(split, desc="descriptors", leave=False, mininterval=1.0)
        return torch.cat([self.descriptor.describe(own.to(device)).cpu() for own in blocks])

    def _short(self, flat: Tensor) -> Tensor:
        if self.pca is None:
            return flat
        centred = flat - torch.from_numpy(self.pca.mean_).to(flat)
        inside = centred @ torch.from_numpy(self.pca.components_.T).to(flat)
        whole, known = (torch.linalg.vector_norm(own, dim=1) for own in (centred, inside))
        left = whole.square() - known.square()
        return torch.cat([inside, left.clamp(min=0).sqrt()[:, None]], 1)


def _search(records: Tensor, rows: Tensor, k: int, device: torch.device) -> Neighbours:
    """Squared distances to and numbers of the k records closest to each of these rows.

    Few rows see all records at once: with k as large as here, blocks of records leave too many
    candidates behind.
    """
    blocks = in_blocks(records, len(records))
    return find_nearest(blocks, rows, k, device=device, query_rows=TOGETHER)


def _among(records: Tensor, k: int, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of and distances to the k records closest to each, without itself."""
    d2, index = _search(records, records, k + 1, device)
    own = index == np.arange(len(index))[:, None]
    own[~own.any(1), -1] = True  # k others are as close
    kept = ~own
    return index[kept].reshape(-1, k), np.sqrt(d2[kept].reshape(-1, k))
