"""Noise that belongs to a record: it depends on the seed and the record, not on its company."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import torch
from torch import Tensor


def own_noise(
    records: Tensor, seed: int, draw: int = 0, shape: Sequence[int] | None = None
) -> Tensor:
    """Standard normal noise (n, *shape) on the CPU, each row's from its record, seed and draw.

    records: (n, ...). shape: of one row; None for a record's own.
    """
    shape = tuple(records.shape[1:] if shape is None else shape)
    rows = []
    for record in records.detach().to("cpu", torch.float32):
        told = sha256(record.contiguous().numpy().tobytes() + b"%d %d" % (seed, draw)).digest()
        own = torch.Generator().manual_seed(int.from_bytes(told[:8], "big") >> 1)
        rows.append(torch.randn(shape, generator=own))
    return torch.stack(rows) if rows else torch.empty(0, *shape)
