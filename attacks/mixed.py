"""Distances between records of mixed columns, in which no column counts for more than another.

Ranges, deviations and means are those of released samples: nothing of the members enters the
yardstick. Missing numbers are the same in jobs and audits, see `fill_gaps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from attacks.base import Learnt, some_rows
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


def standardising_factors(view: FullBlackBox) -> Learnt:
    """A yardstick by which squared differences of places add up to columns' distances.

    A number is divided by its standard deviation, 0/1 stays, two levels of a category are 1 apart.
    A number without any deviation is left out.

    >>> from victims.schema import Column, Schema
    >>> schema = Schema([Column("age", "numeric"), Column("plan", "category", ("a", "b"))])
    >>> released = np.array([[2, 1, 0], [6, 0, 1]], np.float32)
    >>> view = FullBlackBox(torch.device("cpu"), 8, released, schema=schema)
    >>> standardising_factors(view)["scale"].round(3)  # its deviation is 2; levels are 1 apart
    array([0.5  , 0.707, 0.707], dtype=float32)
    """
    return _yardstick(view, lambda known: known.std(0, dtype=np.float64), 0.5**0.5)


def ranging_factors(view: FullBlackBox) -> Learnt:
    """A yardstick by which absolute differences of places add up to Gower's distance.

    >>> from victims.schema import Column, Schema
    >>> schema = Schema([Column("age", "numeric"), Column("plan", "category", ("a", "b"))])
    >>> released = np.array([[2, 1, 0], [6, 0, 1]], np.float32)
    >>> view = FullBlackBox(torch.device("cpu"), 8, released, schema=schema)
    >>> ranging_factors(view)["scale"].tolist()  # the range is 4; each of two columns is a half
    [0.125, 0.25, 0.25]
    """
    found = _yardstick(view, lambda known: np.ptp(known.astype(np.float64), axis=0), 0.5)
    schema = view.schema
    assert schema is not None
    columns = len(schema.numbers) + len(schema.switches) + len(schema.categories)
    return found | {"scale": found["scale"] / columns}


def _yardstick(
    view: FullBlackBox, spread_of: Callable[[np.ndarray], np.ndarray], level: float
) -> Learnt:
    """`scale`, what places (d,) are multiplied by, with what `learn_filling` finds.

    spread_of: what a number is divided by, of released values (n, ...) that are not missing.
    """
    assert view.schema is not None
    samples = _released_rows(view)
    spread, scale = spread_of(samples), np.ones(samples.shape[1])
    for number, known in _known_numbers(view, samples):
        spread[number] = spread_of(known) if len(known) else 0.0
    for place in view.schema.numbers:
        scale[place] = 1 / spread[place] if spread[place] > FLAT else 0.0
    for span in view.schema.categories:
        scale[span] = level
    return {"scale": scale.astype(np.float32), **learn_filling(view)}


def learn_filling(view: FullBlackBox) -> Learnt:
    """What fills the gaps of columns with missing numbers; empty where there are none.

    `gaps` (2, g): places of the numbers and of their indicators. `filling` (g,): means of those
    released.
    """
    schema = view.schema
    if schema is None or not schema.has_gaps:
        return {}
    gaps = [(span.start, span.stop - 1) for column, span in schema.spans if column.gaps]
    known = [values for _, values in _known_numbers(view, _released_rows(view))]
    means = [values.mean(dtype=np.float64) if len(values) else 0.0 for values in known]
    return {"gaps": np.array(gaps).T, "filling": np.array(means, np.float32)}


def _released_rows(view: FullBlackBox) -> np.ndarray:
    return np.array(view.released[some_rows(len(view.released), LOOKED_AT)], np.float32)


def _known_numbers(view: FullBlackBox, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The place of each number that is missing in some rows, and those that are not missing."""
    assert view.schema is not None
    for column, span in view.schema.spans:
        if column.gaps:
            yield span.start, rows[rows[:, span.stop - 1] <= 0.5, span.start]


def fill_gaps(learnt: Learnt, records: Tensor) -> Tensor:
    """Records (n, d) in which a missing number is the mean of those released; differentiable.

    Beside it stands its indicator, as before: a missing number is 1 away from every other by that,
    and besides as far as the mean is. On average two numbers are as far from each other. It is the
    missing-indicator method, as in scikit-learn's SimpleImputer(add_indicator=True). Whatever else
    stands in that place, such as the 0 of `Schema`, would depend on the unit of the column.

    >>> learnt = {"gaps": np.array([[0], [1]]), "filling": np.array([5.0], np.float32)}
    >>> fill_gaps(learnt, torch.tensor([[7.0, 0.0], [0.0, 1.0]])).tolist()
    [[7.0, 0.0], [5.0, 1.0]]
    """
    if "gaps" not in learnt:
        return records
    numbers, indicators = torch.from_numpy(learnt["gaps"]).to(records.device)
    missing = records[:, indicators]
    change = missing * (torch.from_numpy(learnt["filling"]).to(records) - records[:, numbers])
    return records.index_add(1, numbers, change)


def scale_places(learnt: Learnt, records: Tensor) -> Tensor:
    """Records (n, *shape) as (n, d), gaps filled, each place multiplied by its factor."""
    return fill_gaps(learnt, records.flatten(1)) * torch.from_numpy(learnt["scale"]).to(
        records.device
    )


class OfColumns(Distance):
    """A distance of tables that first looks at the columns, see `of`."""

    choice: ClassVar[str]
    """What it is chosen by, `distance=...`."""

    def __init__(self) -> None:
        self.learnt: Learnt | None = None
        self.bound: tuple[Any, Distance] | None = None

    def compute_factors(self, view: FullBlackBox) -> Learnt:
        """The yardstick of a view's columns."""
        raise NotImplementedError

    def learn_factors(self, view: Any) -> Learnt:
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
            found.learnt = self.learn_factors(view)
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
        assert self.learnt is not None, "`of` comes first"
        return scale_places(self.learnt, x)


class Gower(OfColumns):
    """Mean over columns of |difference| / range for numbers, and of 0 or 1 for levels.

    Source: Gower 1971, Biometrics 27(4). Deviations: he leaves a missing cell out, which brings a
    record of many gaps close to all others; here it counts, see `fill_gaps`, and its indicator is a
    column. The range is that of the released samples.
    """

    choice = "gower"
    power = 1
    in_words = (
        "Gower's distance: numbers over their range among the released records, two categories 1 "
        "apart, the mean over all columns"
    )

    def compute_factors(self, view: FullBlackBox) -> Learnt:
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

    def compute_factors(self, view: FullBlackBox) -> Learnt:
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

    def learn_factors(self, view: FullBlackBox) -> Learnt | None:
        """The yardstick of a view's columns; None for records of one kind."""
        if self.distance is not None:
            return self.distance.learn_factors(view)
        return standardising_factors(view) if is_mixed(view) else None
