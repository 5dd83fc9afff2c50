"""Anybody's generator with fit(records) and sample(n): what it releases is all that is seen."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pkgutil import resolve_name
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import PositiveInt
from torch import Tensor

from victims.base import Victim
from victims.errors import UserError
from victims.given.networks import call_named
from victims.schema import Schema
from victims.seeded import seeded_generators
from victims.training.batches import Records, all_records

log = logging.getLogger(__name__)


class Package(Victim):
    """A generator of a package or of one's own, fitted once, with its samples kept.

    Attackers see its samples only: it is granted as a full black box. It is not resumable: fitting
    begins again where it was stopped. It cannot be trained with dp=on: what it spends is not known
    here.

    make: `module:name` of a class or function that gives an object with fit and sample. The seed is
    handed to it where it takes `random_state` or `seed`.
    arguments: what it is called with; None for nothing.
    samples: how many are drawn after fitting; it must be bank.size.
    records: `rows`, an array (n, d) as records are stored, or `table`, a pandas table with numbers
    in their units and levels as text.
    discrete: name of fit's argument that takes the names of columns of levels; None where it takes
    none.
    schema: what the columns are.
    Raises UserError where fit or sample fail.

    `sample(n)` gives n rows, a table with the same columns, or a tuple that begins with one of
    them. Where fit was given a table, it gives one too.
    """

    family = "package"

    grants = ()

    drawn: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        make: str,
        arguments: Mapping[str, Any] | None,
        samples: PositiveInt,
        records: Literal["rows", "table"] = "rows",
        discrete: str | None = None,
        schema: Schema | None = None,
    ) -> None:
        super().__init__(shape, 1, 1, 1)
        if records == "table" and schema is None:
            raise UserError(
                "victim.records=table: the data do not say what their columns are; use rows"
            )
        self.make, self.arguments = make, dict(arguments or {})
        self.records, self.discrete, self.columns = records, discrete, schema
        self.register_buffer("drawn", torch.zeros(samples, *shape))

    def begin(self, records: Records, size: int, seed: int) -> None:
        """Fit the generator to all training records and keep its samples."""
        log.info("%s: fitting %d records; this cannot be interrupted and resumed", self.make, size)
        with seeded_generators(seed), self._errors_in_one_line("fit"):
            generator = self._make_generator(seed)
            generator.fit(
                self._records_as_asked(all_records(records, size)), **self._discrete_columns()
            )
        with seeded_generators(seed + 1), self._errors_in_one_line("sample"):
            rows = self._rows_of_sample(generator.sample(len(self.drawn)))
        self.drawn.copy_(torch.from_numpy(rows))

    def configure_optimizers(self) -> None:
        """There is nothing to optimise."""

    def training_step(self, real: Tensor, _: int) -> None:
        """There is nothing to do after `begin`."""

    def decode(self, z: Tensor) -> Tensor:
        """A sample (n, *shape) for each code (n, 1), drawn with replacement."""
        at = (torch.special.ndtr(z[:, 0]) * len(self.drawn)).long()
        return self.drawn[at.clamp(0, len(self.drawn) - 1)]

    def emit(self, codes: Tensor, start: int) -> Tensor:
        """The samples from number `start` on, each once."""
        self.refuse_bank(start + len(codes))
        return self.drawn[start : start + len(codes)]

    def refuse_bank(self, size: int) -> None:
        """Raise UserError where fewer samples are kept."""
        if size > len(self.drawn):
            raise UserError(
                f"victim.samples={len(self.drawn)}: fewer than bank.size; leave it at bank.size"
            )

    # --- what is handed over ------------------------------------------------------------------

    def _make_generator(self, seed: int) -> Any:
        made = call_named("victim.make", self.make, **(self._seed_argument(seed) | self.arguments))
        for method in ("fit", "sample"):
            if not callable(getattr(made, method, None)):
                raise UserError(f"victim.make={self.make}: it has no method {method}")
        return made

    def _seed_argument(self, seed: int) -> dict[str, int]:
        """The seed, under the name by which the constructor takes one."""
        with suppress(Exception):  # named says what is wrong
            known = inspect.signature(resolve_name(self.make)).parameters
            return {name: seed % 2**32 for name in ("random_state", "seed") if name in known}
        return {}

    def _records_as_asked(self, rows: np.ndarray) -> np.ndarray | pd.DataFrame:
        if self.records == "rows":
            return rows.astype(np.float64)
        assert self.columns is not None
        return self.columns.table_of_rows(rows)

    def _discrete_columns(self) -> dict[str, list[str]]:
        if self.discrete is None or self.columns is None:
            return {}
        kinds = ("category", "binary")
        return {self.discrete: [c.name for c in self.columns.columns if c.kind in kinds]}

    def _rows_of_sample(self, found: Any) -> np.ndarray:
        """What sample gave as rows (samples, *shape) float32."""
        found = found[0] if isinstance(found, tuple) else found
        if self.records == "table" and not isinstance(found, pd.DataFrame):
            raise UserError(
                f"victim.make={self.make}: sample gives a {type(found).__name__}; with "
                f"victim.records=table a pandas table is needed, with the columns of the records"
            )
        if len(found) != len(self.drawn):
            raise UserError(
                f"victim.make={self.make}: sample gives {len(found)} records, it was asked for "
                f"{len(self.drawn)}"
            )
        if isinstance(found, pd.DataFrame) and self.columns is not None:
            names = [column.name for column in self.columns.columns]
            if missing := [name for name in names if name not in found]:
                raise UserError(f"victim.make={self.make}: sample gives no column {missing[0]!r}")
            try:
                found = self.columns.rows_of_table(found)
            except UserError as error:
                raise UserError(
                    f"victim.make={self.make}: sample gives what no record holds: {error}"
                ) from error
        rows = np.asarray(found, np.float32)
        if rows.shape != self.drawn.shape:
            raise UserError(
                f"victim.make={self.make}: sample gives {rows.shape}, "
                f"{tuple(self.drawn.shape)} is needed"
            )
        if not np.isfinite(rows).all():
            raise UserError(f"victim.make={self.make}: sample gives numbers that are not finite")
        return rows

    @contextmanager
    def _errors_in_one_line(self, method: str) -> Iterator[None]:
        """Errors of anyone's code in one line."""
        try:
            yield
        except KeyboardInterrupt:
            log.warning("%s: %s was stopped; the fit begins again next time", self.make, method)
            raise
        except UserError:
            raise
        except Exception as error:  # whatever a package raises
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"victim.make={self.make}: {method} fails ({reason})") from error
