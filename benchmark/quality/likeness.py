"""How alike two sets of records are: numpy in, floats out.

Rows are records, (n, d) float; `real` are held-out records, `other` samples of a model. NaN where a
set is too small for the measure.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import wasserstein_distance

BLOCK = 512
"""Rows of a distance matrix in memory at a time."""


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance of the Gaussians with the two sets' means and covariances.

    |mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)), covariances A and B over n - 1: from 0
    (equal) without bound, symmetric. The smaller the sets, the larger it is even for equal
    distributions: compare only what was measured with sets of the same sizes.
    The trace of the root is the sum of the singular values of R_a R_b', where A = R_a' R_a: no
    covariance is formed, multiplied or clipped, so that a singular one does no harm.
    Source: Heusel et al. 2017, arXiv 1706.08500 (there on Inception's features: FID).
    """
    if min(len(a), len(b)) < 2:
        return np.nan
    (mean_a, root_a), (mean_b, root_b) = _mean_and_root(a), _mean_and_root(b)
    between = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum()
    return float(max(0.0, ((mean_a - mean_b) ** 2).sum() + spread - 2 * between))


def precision_recall(real: np.ndarray, other: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Share of `other` that lies among the real records, and of the real ones among `other`.

    A record lies among a set when it is no further from one of its records than that one's k-th
    nearest neighbour within the set: both shares are in [0, 1], larger = better.
    Source: Kynkaanniemi, Karras, Laine, Lehtinen, Aila 2019, arXiv 1904.06991, with the neighbour
    count of the published code.
    """
    if min(len(real), len(other)) <= k:
        return np.nan, np.nan
    real, other = np.asarray(real, np.float64), np.asarray(other, np.float64)
    return _share_among(other, real, k), _share_among(real, other, k)


def marginal_error(real: np.ndarray, other: np.ndarray) -> float:
    """How far a column of `other` is from the real one, on average over the columns: 0 to 2.

    Of a column: the 1-Wasserstein distance between its values in the two sets (for 0/1 columns the
    difference of their means), over the standard deviation of the two sets' values together, where
    both count half. 0 = equal, 2 = two different constants; a column with one value in both is 0.

    >>> marginal_error(np.zeros((3, 1)), np.ones((5, 1)))
    2.0
    """
    if min(len(real), len(other)) < 1:
        return np.nan
    pairs = zip(np.asarray(real, np.float64).T, np.asarray(other, np.float64).T, strict=True)
    return float(np.mean([_column_error(a, b) for a, b in pairs]))


def correlation_error(real: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of the two sets' correlations, over pairs of columns: 0 to 2.

    Pearson's; that of a constant column with any other counts as 0. NaN for a single column.

    >>> rising, falling = np.array([[0.0, 0], [1, 1]]), np.array([[0.0, 1], [1, 0]])
    >>> round(correlation_error(rising, falling), 6), correlation_error(rising, rising)
    (2.0, 0.0)
    """
    columns = real.shape[1]
    if min(len(real), len(other)) < 2 or columns < 2:
        return np.nan
    pairs = np.triu_indices(columns, 1)
    return float(np.abs(_correlation_matrix(real) - _correlation_matrix(other))[pairs].mean())


def _mean_and_root(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,), and R (min(n, d), d) with R' R the covariance."""
    rows = np.asarray(rows, np.float64)
    mean = rows.mean(0)
    return mean, np.linalg.qr(rows - mean, mode="r") / np.sqrt(len(rows) - 1)


def _share_among(points: np.ndarray, support: np.ndarray, k: int) -> float:
    """Share of the points within some support point's distance to its k-th neighbour."""
    radii = np.concatenate(
        # Itself is among the k + 1 nearest, at distance 0.
        [np.partition(block, k, axis=1)[:, k] for block in _squared_distances(support, support)]
    )
    inside = [(block <= radii).any(1) for block in _squared_distances(points, support)]
    return float(np.concatenate(inside).mean())


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Yield blocks (<= BLOCK, m) of the squared distances between rows."""
    norms = (b**2).sum(1)
    for start in range(0, len(a), BLOCK):
        rows = a[start : start + BLOCK]
        yield np.maximum((rows**2).sum(1)[:, None] - 2 * rows @ b.T + norms, 0.0)


def _column_error(a: np.ndarray, b: np.ndarray) -> float:
    variance = (a.var() + b.var()) / 2 + (a.mean() - b.mean()) ** 2 / 4
    return float(wasserstein_distance(a, b) / np.sqrt(variance)) if variance > 0 else 0.0


def _correlation_matrix(rows: np.ndarray) -> np.ndarray:
    """Pearson correlations (d, d), 0 for constant columns."""
    centred = np.asarray(rows, np.float64) - np.mean(rows, axis=0, dtype=np.float64)
    # By its range: a constant's deviations from its mean are rounding errors, not always zero.
    lengths = np.where(np.ptp(rows, axis=0) > 0, np.sqrt((centred**2).sum(0)), np.inf)
    scaled = centred / lengths
    return scaled.T @ scaled
