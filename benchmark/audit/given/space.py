"""The space in which an audit compares records: pixels in [-1, 1], or what `Schema` stores.

What the columns of a table are is decided as for jobs (`benchmark.data.columns`), from all inputs
together. A number is stored standardised by what was released, never by members, so that nothing
about them enters the yardstick. Attacks then compare columns by `attacks.mixed`, as those of jobs.
A category that was never released is as far from all others as they are from each other. A number
that is missing counts as the mean, and as 1 away from all that are not missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmark.audit.given.columns import as_text
from benchmark.audit.given.far import code_in_words, is_far, suspected_codes
from benchmark.audit.given.inputs import Records, first_few
from benchmark.config.quoting import pasted
from benchmark.data.columns import column_of_values
from benchmark.data.dataset import Dataset, in_memory
from benchmark.data.files import merged_by_float32
from victims.errors import UserError
from victims.schema import MAX_LEVELS, Column, Schema

ROW_NUMBERS = 20
"""So many whole numbers without a repetition can be."""
INDEX = ("index", "id", "row", "row_id", "")
"""Names of columns that number rows."""
UNITS = 1000.0
"""Ratio of two inputs' spreads of a column that different units explain, a bad generator hardly."""


@dataclass(frozen=True)
class ImageSpace:
    """Pixels in [-1, 1]; a model of this audit works with pixels in [low, high]."""

    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0

    def records(self, given: Records) -> Dataset:
        """The images as they were read."""
        return given.images

    def from_model(self, x: Tensor) -> Tensor:
        """A model's output (n, *shape) in [low, high] to [-1, 1]; differentiable."""
        return (x - self.low) * (2 / (self.high - self.low)) - 1

    def to_model(self, x: Tensor) -> Tensor:
        """The inverse of `from_model`."""
        return (x + 1) * ((self.high - self.low) / 2) + self.low


class TableSpace:
    """Columns of a table as numbers, laid out by `schema`.

    given: all inputs, by name, with equal columns; basis: the one that standardises.
    order: all columns. constants: those with one value in the basis, and that; they are left out.
    Raises UserError for columns that cannot be compared.
    """

    def __init__(self, given: Mapping[str, Records], basis: str):
        frames = {name: records.table for name, records in given.items()}
        own = frames[basis]
        self.order = [str(column) for column in own.columns]
        self.constants = {
            c: own[c].iloc[0] for c in self.order if own[c].nunique(dropna=False) == 1
        }
        kept = [c for c in self.order if c not in self.constants]
        if not kept:
            raise UserError(f"{basis}: every column is constant, there is nothing to compare")
        self.schema = Schema([_column_of_inputs(c, given, basis) for c in kept])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (d,) of one encoded record."""
        return (self.schema.width,)

    @property
    def categories(self) -> list[str]:
        """Names of the columns that hold categories."""
        return [c.name for c in self.schema.columns if c.kind == "category"]

    def records(self, given: Records) -> Dataset:
        """A table's rows as (n, d) float32."""
        columns = {
            c.name: as_text(given.table[c.name]) if c.kind == "category" else given.table[c.name]
            for c in self.schema.columns
        }
        return in_memory(self.schema.rows_of_table(columns))

    def from_model(self, x: Tensor) -> Tensor:
        """A model's rows (n, columns), in the order of the columns, encoded; differentiable."""
        kept = torch.tensor([c not in self.constants for c in self.order], device=x.device)
        low, width = self._scale_of_numbers(x)
        return (x[:, kept] - low) / width

    def to_model(self, x: Tensor) -> Tensor:
        """Encoded rows as a model knows them; columns that were left out get their constant."""
        rows = x.new_zeros(len(x), len(self.order))
        low, width = self._scale_of_numbers(x)
        rows[:, [c not in self.constants for c in self.order]] = x * width + low
        for column, value in self.constants.items():
            rows[:, self.order.index(column)] = float(value)
        return rows

    def _scale_of_numbers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of columns without categories: what is taken from each, and what it is divided by."""
        low, high = np.array([(c.low, c.high) for c in self.schema.columns]).T
        return torch.from_numpy(low).to(x), torch.from_numpy(high - low).to(x)

    def refuse_categories(self, what: str) -> None:
        """Raise UserError where a network cannot know the columns: it sees numbers only."""
        if self.categories:
            raise UserError(
                f"{what}: a network sees numbers, but {first_few(self.categories)} hold "
                "categories; encode the data as the network sees it, or hand in its samples "
                "instead"
            )
        if texts := [c for c, value in self.constants.items() if not _is_number(value)]:
            raise UserError(
                f"{what}: a network sees numbers, but {first_few(texts)} holds one value that is "
                f"none; {pasted('records.ignore', texts[0])} leaves it out"
            )
        if gaps := [c.name for c in self.schema.columns if c.gaps]:
            raise UserError(
                f"{what}: a network sees numbers, but in {first_few(gaps)} values are "
                f"missing; fill them as the network sees them, or hand in its samples instead"
            )


def _is_number(value: Any) -> bool:
    return bool((pd.api.types.is_number(value) or pd.api.types.is_bool(value)) and value == value)


def agree_on_columns(given: Mapping[str, Records]) -> dict[str, Records]:
    """The inputs, tables with their columns in one order; raises UserError where they differ."""
    names = list(given)
    first = given[names[0]]
    for name in names[1:]:
        if given[name].is_image != first.is_image:
            kinds = ["images" if given[n].is_image else "a table" for n in (names[0], name)]
            raise UserError(f"{names[0]} holds {kinds[0]} but {name} holds {kinds[1]}")
    if first.is_image:
        for name in names[1:]:
            if not all(isinstance(given[n].content, Dataset) for n in (names[0], name)):
                continue  # not settled yet
            shapes = [given[n].images.shape for n in (names[0], name)]
            if shapes[0] != shapes[1]:
                text = ["x".join(map(str, shape)) for shape in shapes]
                raise UserError(
                    f"images of {names[0]} are {text[0]} (channels x height x width), those of "
                    f"{name} {text[1]}; they must be equal (records.channels=1 or 3 reads all "
                    f"as grey or colour)"
                )
        return dict(given)
    for name in names[1:]:
        _same_columns(first, given[name])
    order = list(first.table.columns)
    return {
        name: replace(records, name=name, content=records.table[order])
        for name, records in given.items()
    }


def _same_columns(first: Records, other: Records) -> None:
    ours, theirs = list(first.table.columns), list(other.table.columns)
    missing, extra = [c for c in ours if c not in theirs], [c for c in theirs if c not in ours]
    if missing or extra:
        parts = [f"{other.name} has no column {first_few(missing)}"] if missing else []
        parts += [f"{first.name} has no column {first_few(extra)}"] if extra else []
        raise UserError(
            f"columns differ: {' and '.join(parts)}; records.ignore=[...] leaves columns out"
        )


def _column_of_inputs(name: str, given: Mapping[str, Records], basis: str) -> Column:
    """What a column is, by all inputs together; numbers are standardised by the basis."""
    frames = {n: records.table for n, records in given.items()}
    parts = [frame[name] for frame in frames.values()]
    numbers = all(pd.api.types.is_numeric_dtype(part) for part in parts)
    pooled = [np.asarray(part, np.float64) if numbers else as_text(part) for part in parts]
    column = column_of_values(name, np.concatenate(pooled))
    if column.kind == "category":
        if len(column.levels) > MAX_LEVELS:
            raise UserError(
                f"column {name!r} has {len(column.levels)} different values, more than "
                f"{MAX_LEVELS}: is it text, a date or an identifier? "
                f"{pasted('records.ignore', name)} leaves it out"
            )
        return column
    _refuse_row_numbers(name, frames)
    _check_units(name, given, basis)
    return column if column.kind == "binary" else _standardised(column, pooled, frames[basis][name])


def _standardised(column: Column, pooled: Sequence[Any], basis: pd.Series) -> Column:
    """A column of numbers whose mean is stored as 0, and its deviation as 1.

    Raises UserError where numbers so stored do not fit into float32.
    """
    with np.errstate(over="ignore"):
        low, spread = float(basis.mean()), float(basis.std(ddof=0))
    if spread == 0 and column.gaps:  # one value: only whether it is missing tells records apart
        return replace(column, low=low, high=low + 1e300)
    column = replace(column, low=low, high=low + spread)
    if not np.isfinite(column.high) or column.high == column.low:
        raise UserError(
            f"column {column.name!r}: its values are too large, or too close to each other, to be "
            f"standardised; {pasted('records.ignore', column.name)} leaves it out"
        )
    values = np.concatenate([part[:2000] for part in pooled])
    values = values[~np.isnan(values)]
    if merged_by_float32(values, column.to_stored(values)):
        raise UserError(
            f"column {column.name!r}: a few extreme values hide the differences among the others; "
            f"take logarithms, or {pasted('records.ignore', column.name)}"
        )
    return column


def _refuse_row_numbers(column: str, frames: Mapping[str, pd.DataFrame]) -> None:
    """Raise UserError where a column counts the rows of every input, or is named as if it did."""
    columns = [np.sort(frame[column].to_numpy(np.float64)) for frame in frames.values()]
    if any(np.isnan(v).any() for v in columns):
        return
    if any(len(v) < ROW_NUMBERS or (v % 1).any() or not np.diff(v).all() for v in columns):
        return
    counts = all(v[-1] - v[0] == len(v) - 1 for v in columns)
    if counts or column.startswith("Unnamed:") or column.strip().lower() in INDEX:
        raise UserError(
            f"column {column!r} looks like row numbers, all different in every input: it says "
            f"nothing about the rows; {pasted('records.ignore', column)} leaves it out"
        )


def _check_units(column: str, given: Mapping[str, Records], basis: str) -> None:
    """Raise UserError where the basis and another input hardly have the same unit.

    Suspected codes do not count, and ranges must differ with and without far values: a quantile
    may land on one by chance.
    """
    present = {n: g.table[column].dropna().to_numpy(np.float64) for n, g in given.items()}
    codes = suspected_codes(list(present.values()))
    rest = {n: values[~np.isin(values, list(codes))] for n, values in present.items()}
    every = {n: _ends(values) for n, values in rest.items() if len(values)}
    if basis not in every:
        return
    near = {n: _ends(rest[n][~is_far(rest[n])]) for n in every}
    for name, (a, b) in every.items():
        if _differ(every[name], every[basis]) and _differ(near[name], near[basis]):
            low, high = every[basis]
            more = f" Beside these, {code_in_words(column, given.values(), codes)}" if codes else ""
            raise UserError(
                f"column {column!r}: 98% of {name} lie in [{a:.4g}, {b:.4g}], of {basis} in "
                f"[{low:.4g}, {high:.4g}]; is the unit or the scaling another?{more}"
            )


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Between which 98% of the numbers lie."""
    low, high = np.quantile(values, (0.01, 0.99))
    return float(low), float(high)


def _differ(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two ranges do not meet, or one is far wider."""
    (a, b), (low, high) = one, other
    if b == a or high == low:  # nearly always the same value: no spread to compare
        return False
    return a > high or b < low or not 1 / UNITS <= (high - low) / (b - a) <= UNITS
