"""The one interface of every attack."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from victims.access import Shadow, View
from victims.errors import Unsuited


class Attack(Protocol):
    """A membership inference attack; hyper-parameters are the arguments of its `__init__`."""

    access: ClassVar[type[View]]
    """The view that `score` takes. An attack that asks a generator again and again for each query
    also has `evaluations`, how often at most."""

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


def some_rows(n: int, count: int, seed: int = 0) -> np.ndarray:
    """`count` of n row numbers, ascending, drawn by the seed; all where there are no more.

    Whoever looks at some records only must draw them: the first ones are often of one class,
    because conditional generators write class by class, and files are sorted. A fixed seed will do:
    nobody sorts records by it.
    """
    if n <= count:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, count, replace=False))


Learnt = dict[str, np.ndarray]
"""What an attack keeps of a view, as named arrays: they can be stored and need no code to read."""


class Learns(ABC):
    """An attack that learns from its view before it can score.

    `learn` never sees a query. The benchmark calls it once for a view and keeps the result, so that
    `judge` can be called for any number of queries; `score` does both. `learn` runs on a copy: what
    it puts on `self` is gone when others judge by its result.
    """

    @abstractmethod
    def learn(self, view: Any, work: Path) -> Learnt:
        """What the attack needs to know of the view; the same for the same view and settings.

        work: an empty folder, or what an interrupted call left there to go on from.
        """

    @abstractmethod
    def judge(self, learnt: Learnt, view: Any, queries: Tensor) -> np.ndarray:
        """As `Attack.score`, with what `learn` found."""

    def score(self, view: Any, queries: Tensor) -> np.ndarray:
        """Queries (n, *shape) -> (n,) float64."""
        with TemporaryDirectory() as work:
            return self.judge(copy.copy(self).learn(view, Path(work)), view, queries)


def features_on_shadows(
    shadows: Sequence[Shadow], measure_on: Callable[[Shadow], Callable[[Tensor], np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, k) of all records of reference models, and labels (n,): 1 for members.

    measure_on: a reference model -> what gives features (m, k) of records (m, *shape) there.
    """
    features, labels = [], []
    for shadow in shadows:
        measure = measure_on(shadow)
        for records, label in ((shadow.members, 1), (shadow.strangers, 0)):
            features.append(measure(torch.tensor(records)))
            labels.append(np.full(len(records), label))
    return np.concatenate(features), np.concatenate(labels)


@runtime_checkable
class Levelled(Protocol):
    """An attack that asks a diffusion model at chosen noise levels."""

    def refuse_levels(self, levels: int) -> None:
        """Raise Unsuited where one of them is not among a schedule's, 0 to levels - 1."""
        ...


def refuse_level(highest: int, levels: int) -> None:
    """Raise Unsuited where the highest level that an attack asks for is not in the schedule."""
    if highest >= levels:
        raise Unsuited(
            f"it asks for level {highest}, but the schedule has {levels}, 0 to {levels - 1}; lower "
            f"the attack's t"
        )


@runtime_checkable
class Particular(Protocol):
    """An attack that works on some kinds of records only."""

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError where records of this shape, (c, h, w) or (d,), are not its kind."""
        ...
