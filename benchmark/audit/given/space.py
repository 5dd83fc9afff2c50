"""The space in which an audit compares records: pixels in [-1, 1], or standardised columns.

Tables: a numeric column is standardised by the reference or synthetic records, never by members, so
that nothing about them enters the yardstick; a binary column is 0 or 1; a category is one-hot over
1 / sqrt(2), so that two different categories are 1 apart. A category that was never released gets a
place of its own: it is as far from all others as they are from each other. A number that is missing
counts as the mean, and as 1 away from all that are not missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmark.audit.given.columns import as_text
from benchmark.audit.given.inputs import Records, first_few
from benchmark.config.quoting import pasted
from benchmark.data.dataset import Dataset, in_memory
from benchmark.data.files import merged_by_float32
from victims.errors import UserError
from victims.schema import MAX_LEVELS

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
    """Columns of a table as numbers whose squared differences add up to a fair distance.

    given: all inputs, by name, with equal columns; basis: the one that standardises.
    kinds: column -> numeric, binary, category, or constant (left out). gaps: numeric columns in
    which values are missing.
    Raises UserError for columns that cannot be compared.
    """

    def __init__(self, given: Mapping[str, Records], basis: str):
        frames = {name: records.table for name, records in given.items()}
        columns = list(frames[basis].columns)
        self.kinds = {c: _kind_of_column(c, frames, basis) for c in columns}
        self.levels = {
            c: _levels_of_column(c, frames) for c, kind in self.kinds.items() if kind == "category"
        }
        numeric = [c for c, kind in self.kinds.items() if kind in ("numeric", "binary")]
        for column in numeric:
            _refuse_row_numbers(column, frames)
            _check_units(column, frames, basis)
        values = frames[basis][numeric].astype(np.float64)
        scaled = np.array([self.kinds[c] == "numeric" for c in numeric], bool)
        self.numeric = numeric
        self.gaps = [c for c in numeric if any(f[c].isna().any() for f in frames.values())]
        with np.errstate(over="ignore"):
            spread = values.std(ddof=0).to_numpy()
        # One value beside missing ones: only whether it is missing tells records apart.
        spread = np.where((spread == 0) & np.isin(numeric, self.gaps), 1e300, spread)
        self.mean = np.where(scaled, values.mean().fillna(0).to_numpy(), 0.0)
        self.scale = np.where(scaled, spread, 1.0)
        _refuse_merged(numeric, frames, self.mean, self.scale)
        self.constants = {
            c: frames[basis][c].iloc[0] for c, kind in self.kinds.items() if kind == "constant"
        }
        if not numeric and not self.levels:
            raise UserError(f"{basis}: every column is constant, there is nothing to compare")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (d,) of one encoded record."""
        return (len(self.numeric) + len(self.gaps) + sum(map(len, self.levels.values())),)

    def records(self, given: Records) -> Dataset:
        """A table's rows as (n, d) float32."""
        numbers = given.table[self.numeric].to_numpy(np.float64)
        parts = [np.nan_to_num((numbers - self.mean) / self.scale, nan=0.0)]
        parts.append(given.table[self.gaps].isna().to_numpy(np.float64))
        for column, levels in self.levels.items():
            codes = pd.Index(levels).get_indexer(pd.Index(as_text(given.table[column])))
            parts.append(np.eye(len(levels), dtype=np.float32)[codes] * 0.5**0.5)
        return in_memory(np.concatenate(parts, axis=1).astype(np.float32))

    def from_model(self, x: Tensor) -> Tensor:
        """A model's rows (n, columns), in the order of the columns, encoded; differentiable."""
        kept = torch.tensor([c in self.numeric for c in self.kinds], device=x.device)
        mean, scale = (torch.from_numpy(part).to(x) for part in (self.mean, self.scale))
        return (x[:, kept] - mean) / scale

    def to_model(self, x: Tensor) -> Tensor:
        """Encoded rows as a model knows them; columns that were left out get their constant."""
        rows = x.new_zeros(len(x), len(self.kinds))
        mean, scale = (torch.from_numpy(part).to(x) for part in (self.mean, self.scale))
        places = {c: i for i, c in enumerate(self.kinds)}
        rows[:, [places[c] for c in self.numeric]] = x * scale + mean
        for column, value in self.constants.items():
            rows[:, places[column]] = float(value)
        return rows

    def refuse_categories(self, what: str) -> None:
        """Raise UserError where a network cannot know the columns: it sees numbers only."""
        if self.levels:
            raise UserError(
                f"{what}: a network sees numbers, but {first_few(list(self.levels))} hold "
                "categories; encode the data as the network sees it, or hand in its samples "
                "instead"
            )
        if texts := [c for c, value in self.constants.items() if not _is_number(value)]:
            raise UserError(
                f"{what}: a network sees numbers, but {first_few(texts)} holds one value that is "
                f"none; {pasted('records.ignore', texts[0])} leaves it out"
            )
        if self.gaps:
            raise UserError(
                f"{what}: a network sees numbers, but in {first_few(self.gaps)} values are "
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


def _kind_of_column(column: str, frames: Mapping[str, pd.DataFrame], basis: str) -> str:
    if frames[basis][column].nunique(dropna=False) == 1:
        return "constant"
    if not all(pd.api.types.is_numeric_dtype(frame[column]) for frame in frames.values()):
        return "category"
    if all(frame[column].isin((0, 1)).all() for frame in frames.values()):
        return "binary"
    two = all(
        (frame[column].isin((0, 1)) | frame[column].isna()).all() for frame in frames.values()
    )
    return "category" if two else "numeric"  # no, yes or missing


def _levels_of_column(column: str, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """All values of a category, sorted; more than MAX_LEVELS are none."""
    levels = sorted(set().union(*(as_text(frame[column]).unique() for frame in frames.values())))
    if len(levels) > MAX_LEVELS:
        raise UserError(
            f"column {column!r} has {len(levels)} different values, more than {MAX_LEVELS}: is "
            f"it text, a date or an identifier? {pasted('records.ignore', column)} leaves it out"
        )
    return levels


def _refuse_merged(
    numeric: list[str], frames: Mapping[str, pd.DataFrame], mean: np.ndarray, scale: np.ndarray
) -> None:
    """Raise UserError where standardised numbers do not fit into float32."""
    for column, m, s in zip(numeric, mean, scale, strict=True):
        if not np.isfinite(s) or s == 0 or not np.isfinite(m):
            raise UserError(
                f"column {column!r}: its values are too large, or too close to each other, to be "
                f"standardised; {pasted('records.ignore', column)} leaves it out"
            )
        if s == 1e300:
            continue
        values = np.concatenate([f[column].to_numpy(np.float64)[:2000] for f in frames.values()])
        values = values[~np.isnan(values)]
        if merged_by_float32(values, (values - m) / s):
            raise UserError(
                f"column {column!r}: a few extreme values hide the differences among the others; "
                f"take logarithms, or {pasted('records.ignore', column)}"
            )


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


def _check_units(column: str, frames: Mapping[str, pd.DataFrame], basis: str) -> None:
    """Raise UserError where the basis and another input hardly have the same unit."""
    present = {n: f[column].dropna().to_numpy(np.float64) for n, f in frames.items()}
    ends = {n: np.quantile(values, (0.01, 0.99)) for n, values in present.items() if len(values)}
    if basis not in ends:
        return
    low, high = ends[basis]
    for name, (a, b) in ends.items():
        if b == a or high == low:  # nearly always the same value: no spread to compare
            continue
        if a > high or b < low or not 1 / UNITS <= (high - low) / (b - a) <= UNITS:
            raise UserError(
                f"column {column!r}: 98% of {name} lie in [{a:.4g}, {b:.4g}], of {basis} in "
                f"[{low:.4g}, {high:.4g}]; is the unit or the scaling another?"
            )
