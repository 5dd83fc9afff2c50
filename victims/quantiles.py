"""Numbers to a normal distribution by their quantiles, and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

QUANTILES = 1000
"""How many are kept of a column."""


class Quantiles(nn.Module):
    """Columns (n, k) to standard normal ones; even in [0, 1] before `fit_quantiles`.

    Source: scikit-learn's QuantileTransformer. Deviation: as many quantiles however few records
    there are. A number that many records hold goes to the middle of its quantiles; there the
    smallest and the largest go to the ends, however many hold them.
    """

    known: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.register_buffer("known", torch.linspace(0, 1, QUANTILES).repeat(k, 1))

    def fit_quantiles(self, values: np.ndarray) -> None:
        """Find the quantiles of each column of (n, k)."""
        if values.size:
            found = np.quantile(values.astype(np.float64), np.linspace(0, 1, QUANTILES), axis=0)
            self.known.copy_(torch.from_numpy(found.T).float())

    def forward(self, x: Tensor) -> Tensor:
        """Numbers (n, k) to normal ones."""
        columns = x.T.contiguous()
        left = torch.searchsorted(self.known, columns)
        right = torch.searchsorted(self.known, columns, right=True)
        last = QUANTILES - 1
        low, high = (left - 1).clamp(0, last), left.clamp(0, last)
        ends = self.known.gather(1, low), self.known.gather(1, high)
        width = ends[1] - ends[0]
        part = torch.where(width > 0, (columns - ends[0]) / width.clamp(min=1e-30), 0.0)
        between = low + part.clamp(0, 1)
        rank = torch.where(right > left, (left + right - 1) / 2, between) / last
        return torch.special.ndtri(rank.clamp(1e-7, 1 - 1e-7).double()).float().T.to(x)

    def undo_scaling(self, normal: Tensor) -> Tensor:
        """Normal numbers (n, k) to numbers; differentiable."""
        rank = torch.special.ndtr(normal.T.contiguous()) * (QUANTILES - 1)
        low = rank.detach().floor().long().clamp(0, QUANTILES - 2)
        first, second = self.known.gather(1, low), self.known.gather(1, low + 1)
        return (first + (rank - low) * (second - first)).T
