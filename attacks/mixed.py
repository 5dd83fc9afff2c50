"""Distances between records of mixed columns, in which no column counts for more than another.

Ranges and deviations are those of released samples: nothing of the members enters the yardstick.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from attacks.base import some_rows
from attacks.distances import L2, TINY, Distance, Targets
from attacks.search.nearest import Power
from victims.access import FullBlackBox
from victims.errors import Unsuited, UserError

LOOKED_AT = 20_000
"""Released samples whose ranges and deviations are taken at most."""
FLAT = 1e-12


def is_mixed(view: Any) -> bool:
    """Whether a view says that its records have columns of several kinds."""
    schema = getattr(view, "schema", None)
    return schema is not None and schema.mixed


def standardising_factors(view: FullBlackBox) -> np.ndarray:
    """Factors (d,) float32 after which squared differences of places add up to columns' distances.

    A number is divided by its standard deviation, 0/1 stays, two levels of a category are 1 apart.
    A number without any deviation is left out.

    >>> from victims.schema import Column, Schema
    >>> schema = Schema([Column("age", "numeric"), Column("plan", "category", ("a", "b"))])
    >>> released = np.array([[2, 1, 0], [6, 0, 1]], np.float32)
    >>> view = FullBlackBox(torch.device("cpu"), 8, released, schema=schema)
    >>> standardising_factors(view).round(3)  # its deviation is 2; levels are 1 apart
    array([0.5  , 0.707, 0.707], dtype=float32)
    """
    samples = _released_rows(view)
    return _factors_of_places(view, samples.std(0, dtype=np.float64), 0.5**0.5)


def ranging_factors(view: FullBlackBox) -> np.ndarray:
    """Factors (d,) after which absolute differences of places add up to Gower's distance.

    >>> from victims.schema import Column, Schema
    >>> schema = Schema([Column("age", "numeric"), Column("plan", "category", ("a", "b"))])
    >>> released = np.array([[2, 1, 0], [6, 0, 1]], np.float32)
    >>> view = FullBlackBox(torch.device("cpu"), 8, released, schema=schema)
    >>> ranging_factors(view).tolist()  # the range is 4; each of two columns counts for a half
    [0.125, 0.25, 0.25]
    """
    samples = _released_rows(view).astype(np.float64)
    return _factors_of_places(view, np.ptp(samples, axis=0), 0.5) / _count_columns(view)


def _released_rows(view: FullBlackBox) -> np.ndarray:
    return np.array(view.released[some_rows(len(view.released), LOOKED_AT)], np.float32)


def _count_columns(view: FullBlackBox) -> int:
    assert view.schema is not None
    return len(view.schema.numbers) + len(view.schema.switches) + len(view.schema.categories)


def _factors_of_places(view: FullBlackBox, spread: np.ndarray, level: float) -> np.ndarray:
    assert view.schema is not None
    found = np.ones(len(spread))
    for place in view.schema.numbers:
        found[place] = 1 / spread[place] if spread[place] > FLAT else 0.0
    for span in view.schema.categories:
        found[span] = level
    return found.astype(np.float32)


class OfColumns(Distance):
    """A distance of tables that first looks at the columns, see `of`."""

    choice: ClassVar[str]
    """What it is chosen by, `distance=...`."""

    def __init__(self) -> None:
        self.scale: Tensor | None = None
        self.bound: tuple[Any, Distance] | None = None

    def compute_factors(self, view: FullBlackBox) -> np.ndarray:
        """What places are multiplied by, (d,)."""
        raise NotImplementedError

    def learn_factors(self, view: Any) -> np.ndarray:
        """The `compute_factors` of a view; raises Unsuited where its columns are not known."""
        if getattr(view, "schema", None) is None:
            raise Unsuited(
                "what the columns are is not known in this access; use distance=l2, or the attack "
                "without a distance of its own"
            )
        return self.compute_factors(view)

    def of(self, view: Any) -> Distance:
        """This distance for a view's columns; raises Unsuited where these are not known."""
        if self.bound is None or self.bound[0] is not view:
            found = type(self)()
            found.scale = torch.from_numpy(self.learn_factors(view))
            self.bound = view, found
        return self.bound[1]

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError for images."""
        if len(shape) != 1:
            raise UserError(
                f"distance={self.choice} compares tables, not records of shape {shape}; use "
                "distance=l2"
            )

    def targets(self, x: Tensor) -> Targets:
        """The records with each place multiplied by its factor."""
        return Targets((self.scaled(x),))

    def scaled(self, x: Tensor) -> Tensor:
        """Records (n, d) with each place multiplied by its factor."""
        assert self.scale is not None, "`of` comes first"
        return x.flatten(1) * self.scale.to(x.device)


class Gower(OfColumns):
    """Mean over columns of |difference| / range for numbers, and of 0 or 1 for levels.

    Source: Gower 1971, Biometrics 27(4). Deviations: a missing number is a column of its own beside
    the number 0; the range is that of the released samples.
    """

    choice = "gower"
    power = 1
    in_words = (
        "Gower's distance: numbers over their range among the released records, two categories 1 "
        "apart, the mean over all columns"
    )

    def compute_factors(self, view: FullBlackBox) -> np.ndarray:
        """See `ranging_factors`."""
        return ranging_factors(view)

    def __call__(self, targets: Targets, x_hat: Tensor, z: Tensor | None = None) -> Tensor:
        """Distances (n,)."""
        return (targets.tensors[0] - self.scaled(x_hat)).abs().sum(1)


class Standardised(OfColumns):
    """Euclidean distance with numbers over their deviations and levels 1 apart."""

    choice = "standardised"
    in_words = (
        "Euclidean distance: numbers over their standard deviation among the released records, two "
        "categories 1 apart"
    )

    def compute_factors(self, view: FullBlackBox) -> np.ndarray:
        """See `standardising_factors`."""
        return standardising_factors(view)

    def __call__(self, targets: Targets, x_hat: Tensor, z: Tensor | None = None) -> Tensor:
        """Distances (n,)."""
        return ((targets.tensors[0] - self.scaled(x_hat)).square().sum(1) + TINY).sqrt()


class ByKind(L2):
    """`Standardised` for mixed columns, `L2` for all other records."""

    in_words = Standardised.in_words

    def __init__(self) -> None:
        self.mixed = Standardised()

    def of(self, view: Any) -> Distance:
        """The distance for the records of a view."""
        return self.mixed.of(view) if is_mixed(view) else L2()


class ByColumns:
    """An attack or a feature that compares tables column by column.

    distance: how columns are compared; None for the standardised distance of mixed columns, and for
    records of one kind as they are.
    """

    distance: OfColumns | None = None

    @property
    def power(self) -> Power:
        """Of the differences between places, whose sum compares records."""
        return 2 if self.distance is None else self.distance.power

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError where the distance does not compare records of this shape."""
        if self.distance is not None:
            self.distance.refuse(shape)

    def learn_factors(self, view: FullBlackBox) -> np.ndarray | None:
        """What places are multiplied by, (d,); None for records of one kind."""
        if self.distance is not None:
            return self.distance.learn_factors(view)
        return standardising_factors(view) if is_mixed(view) else None
