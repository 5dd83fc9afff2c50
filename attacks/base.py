"""The one interface of every attack."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from victims.access import View


class Attack(Protocol):
    """A membership inference attack; hyper-parameters are the arguments of its `__init__`."""

    access: ClassVar[type[View]]
    """The view that `score` takes."""

    def score(self, view: Any, queries: Tensor) -> np.ndarray:
        """One score per query: queries (n, *shape) -> (n,) float64, larger = more likely a member.

        Labels are no argument, and a query's score must not depend on which others come with it.
        """
        ...


@runtime_checkable
class Reconstructs(Protocol):
    """An attack that looks for the closest thing to a query that the generator can produce."""

    def reconstruct(self, view: Any, queries: Tensor) -> tuple[np.ndarray, Tensor]:
        """Losses (n,) float64 and reconstructions (n, *shape) float32 on the CPU."""
        ...
