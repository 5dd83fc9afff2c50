"""What the columns of a table are, and how a record of mixed columns is one row of numbers.

A number, an integer and a 0/1 column take one place; a category has a place for each level, of
which one holds 1. Where numbers are missing in a column, a place after it holds 1 for the missing
ones, which are 0 themselves; a missing category is a level of its own, "".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from victims.errors import UserError

if TYPE_CHECKING:  # who reads a data set's identity needs no torch, which takes seconds
    from torch import Tensor

KINDS = ("numeric", "integer", "binary", "category")
MAX_LEVELS = 500
"""Levels of a category; more is free text, a date or an identifier."""

LARGEST = 80.0
"""A logarithm beyond it would be of a number that float32 cannot hold."""


@dataclass(frozen=True)
class Column:
    """One column. A number v is stored as (v - low) / (high - low), or log(1 + v) in its place.

    kind: one of KINDS; binary holds 0 and 1 and is stored as it is. levels: of a category, text.
    gaps: whether numbers are missing in places.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    gaps: bool = False
    log: bool = False
    low: float = 0.0
    high: float = 1.0

    @property
    def places(self) -> int:
        """How many numbers of a record it takes."""
        return len(self.levels) if self.kind == "category" else 1 + self.gaps

    def to_stored(self, values: np.ndarray) -> np.ndarray:
        """Numbers (n,) as they are stored; NaN stays. Before a logarithm negative ones are 0."""
        values = np.log1p(np.maximum(values, 0)) if self.log else values
        return (values - self.low) / (self.high - self.low)

    def to_natural(self, values: np.ndarray) -> np.ndarray:
        """Stored numbers (n,) in their own unit, whole where the column is, finite.

        A logarithm is of none that is negative.
        """
        values = values * (self.high - self.low) + self.low
        values = np.expm1(values.clip(0, LARGEST)) if self.log else values
        return np.round(values) if self.kind == "integer" else values


class Schema:
    """The columns of a table, in order; a record (d,) holds their places one after the other.

    Raises UserError for a category of more than MAX_LEVELS levels, or none.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        for column in self.columns:
            if column.kind == "category" and not 1 <= len(column.levels) <= MAX_LEVELS:
                raise UserError(
                    f"column {column.name!r} has {len(column.levels)} different values, allowed "
                    f"are 1 to {MAX_LEVELS}: is it text, a date or an identifier? Leave it out"
                )

    @classmethod
    def of_numbers(cls, d: int) -> Schema:
        """The schema of d columns of which nothing is known: numbers as they are."""
        return cls([Column(str(i), "numeric") for i in range(d)])

    # --- layout -------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """d, how many numbers a record is."""
        return sum(column.places for column in self.columns)

    @property
    def spans(self) -> Iterator[tuple[Column, slice]]:
        """Each column and where its places are."""
        start = 0
        for column in self.columns:
            yield column, slice(start, start + column.places)
            start += column.places

    @property
    def numbers(self) -> list[int]:
        """Places of numbers and integers."""
        return [s.start for c, s in self.spans if c.kind in ("numeric", "integer")]

    @property
    def switches(self) -> list[int]:
        """Places that hold 0 or 1 on their own: binary columns, and whether a number is missing."""
        found = [s.start for c, s in self.spans if c.kind == "binary"]
        return sorted(found + [s.stop - 1 for c, s in self.spans if c.gaps])

    @property
    def categories(self) -> list[slice]:
        """Places of each category."""
        return [span for column, span in self.spans if column.kind == "category"]

    @property
    def levels(self) -> list[int]:
        """How many states each discrete column has: 2 of a 0/1 place, then the categories'."""
        return [2] * len(self.switches) + [span.stop - span.start for span in self.categories]

    def one_hot(self, rows: Tensor) -> Tensor:
        """The discrete columns of records (n, d), in the order of `levels`, one-hot."""
        import torch

        on = rows[:, self.switches]
        states = torch.stack([1 - on, on], -1).flatten(1)
        return torch.cat([states, *(rows[:, span] for span in self.categories)], 1)

    @property
    def mixed(self) -> bool:
        """Whether there is more than numbers and 0/1 columns, stored as they are."""
        return any(c.kind in ("category", "integer") or c.gaps for c in self.columns)

    @property
    def has_gaps(self) -> bool:
        """Whether numbers are missing in a column."""
        return any(column.gaps for column in self.columns)

    # --- records ------------------------------------------------------------------------------

    def rows_of_table(self, table: Mapping[str, Any] | pd.DataFrame) -> np.ndarray:
        """A table (columns by name; NaN is missing, of categories "") as records (n, d) float32."""
        return np.concatenate([_places_of_column(c, table[c.name]) for c in self.columns], 1)

    def table_of_rows(self, rows: np.ndarray) -> pd.DataFrame:
        """Records (n, d) as a table with numbers in their own units; NaN or "" is missing."""
        made: dict[str, Any] = {}
        for column, span in self.spans:
            part = np.asarray(rows[:, span], np.float64)
            if column.kind == "category":
                made[column.name] = np.array(column.levels, object)[part.argmax(1)]
                continue
            values = column.to_natural(part[:, 0])
            made[column.name] = (
                np.where(part[:, 1] > 0.5, np.nan, values) if column.gaps else values
            )
        return pd.DataFrame(made)

    def nearest_records(self, rows: Tensor) -> Tensor:
        """The records (n, d) that outputs (n, d) come closest to: one level, whole numbers, 0/1."""
        import torch

        found = rows.clone()
        for span in self.categories:
            found[:, span] = one_hot(rows[:, span].argmax(1), span.stop - span.start).to(rows)
        found[:, self.switches] = (rows[:, self.switches] > 0.5).to(rows)
        for column, span in self.spans:
            if column.kind == "integer":
                whole = column.to_natural(rows[:, span.start].double().cpu().numpy())
                found[:, span.start] = torch.from_numpy(column.to_stored(whole)).to(rows)
            if column.gaps:
                found[:, span.start] *= 1 - found[:, span.stop - 1]
        return found

    def draw_levels(self, rows: Tensor, chances: Tensor) -> Tensor:
        """Outputs (n, d) with levels and 0/1 drawn by the probabilities they hold in their places.

        chances: (n, d) uniform in [0, 1); a category uses that of its first place.
        """
        found = rows.clone()
        for span in self.categories:
            level = pick_places(rows[:, span], chances[:, span.start])
            found[:, span] = one_hot(level, span.stop - span.start).to(rows)
        found[:, self.switches] = (chances < rows)[:, self.switches].to(rows)
        return found

    # --- kept ---------------------------------------------------------------------------------

    def as_plain(self) -> list[dict[str, Any]]:
        """As lists and texts, for JSON and keys."""
        return [asdict(column) | {"levels": list(column.levels)} for column in self.columns]

    @classmethod
    def of_plain(cls, columns: Sequence[Mapping[str, Any]]) -> Schema:
        """What `as_plain` gave."""
        return cls([Column(**{**column, "levels": tuple(column["levels"])}) for column in columns])


def one_hot(level: Tensor, levels: int) -> Tensor:
    """Levels (n,) int64 as (n, levels) with a single 1 a row."""
    from torch.nn.functional import one_hot as torch_one_hot

    return torch_one_hot(level, levels)


def pick_places(probabilities: Tensor, chances: Tensor) -> Tensor:
    """A place (n,) for each row of probabilities (n, k), drawn by a chance (n,) in [0, 1)."""
    sums = probabilities.cumsum(1)
    return (sums <= chances[:, None] * sums[:, -1:]).sum(1).clamp(max=probabilities.shape[1] - 1)


def _places_of_column(column: Column, values: Any) -> np.ndarray:
    """One column of a table as its places (n, k) float32."""
    if column.kind == "category":
        codes = pd.Index(column.levels).get_indexer(pd.Index(np.asarray(values, object)))
        if (codes < 0).any():
            odd = np.asarray(values, object)[codes < 0][0]
            raise UserError(f"column {column.name!r}: {odd!r} is none of its levels")
        return np.eye(len(column.levels), dtype=np.float32)[codes]
    numbers = np.asarray(values, np.float64)
    missing = np.isnan(numbers)
    if missing.any() and not column.gaps:
        raise UserError(f"column {column.name!r}: a number is missing")
    found = np.where(missing, 0.0, column.to_stored(np.where(missing, 0.0, numbers)))
    parts = [found, missing] if column.gaps else [found]
    return np.stack(parts, 1).astype(np.float32)
