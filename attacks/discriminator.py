"""Accessible discriminator: what the victim's own discriminator thinks of the query."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from victims.access import AccessibleDiscriminator


class DiscriminatorScore:
    """Score = D(x), the discriminator's output before any sigmoid.

    Source: Hayes, Melis, Danezis, De Cristofaro 2019, arXiv 1705.07663 (LOGAN, white box).
    """

    access = AccessibleDiscriminator

    def score(self, view: AccessibleDiscriminator, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> D(x) (n,)."""
        outputs = [view.discriminate(block).cpu() for block in queries.split(view.batch_size)]
        return torch.cat(outputs).double().numpy()
