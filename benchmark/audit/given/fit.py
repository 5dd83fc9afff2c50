"""A training of one's own: `fit(records, seed)` trains a generator and gives what it would release.

An audit calls it many times, each time on other records. What a call gave is kept in the store, so
that a stopped audit goes on, and several processes that run the same audit share the work.
"""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from torch import Tensor
from tqdm import tqdm

from benchmark.audit.given.columns import as_text
from benchmark.audit.given.inputs import Records, first_few, name_of
from benchmark.data.dataset import as_float, in_memory
from benchmark.store.entries import Store
from victims.errors import UserError
from victims.given.generators import as_records
from victims.given.networks import import_function
from victims.seeded import seeded_generators

Run = tuple[np.ndarray, int]
"""Row numbers of the records to train on, and a seed."""


class Fit:
    """A training function, the records that it may be given, and what its runs gave.

    source: `my_module:function`, or a callable. It takes records and a whole number, the seed.
    Tables are DataFrames with the columns of the members: numbers as float64 (int64 where all are
    whole and none is missing; dates in days), all else as text. Images are float32 (n, c, h, w) in
    [-1, 1]. It returns released records of the same form, an object with `sample(n)`, or a callable
    that takes n.
    given: the inputs; runs name their rows, members first, then non-members. size: how many records
    a run releases; what is asked of a generator. workers: how many runs at the same time.
    Raises UserError where the source cannot be called.
    """

    def __init__(
        self,
        source: Any,
        given: Mapping[str, Records],
        *,
        store: Store,
        size: int,
        workers: int = 1,
    ) -> None:
        self.store, self.size, self.workers = store, size, workers
        self.function: Callable[[Any, int], Any]
        self.named = isinstance(source, str | Path)
        if self.named:
            self.name = str(source)
            self.function = import_function("fit", self.name)
            self.code: str | None = _code_of(self.function)
        else:
            self.name, self.function, self.code = str(name_of(source)), source, None
        if not callable(self.function):
            raise UserError(f"fit={self.name}: a function fit(records, seed) is needed")
        self.given = given
        inputs = given["members"], given["non_members"]
        self.members, self.all = len(inputs[0]), len(inputs[0]) + len(inputs[1])
        if inputs[0].is_image:
            self.pool: Any = np.concatenate([np.array(part.images.values) for part in inputs])
            self.contents = np.concatenate([part.images.digests for part in inputs])
        else:
            table = pd.concat([part.table for part in inputs], ignore_index=True)
            self.pool = table.astype(
                {column: np.int64 for column in table if _is_whole(table[column])}
            )
            self.contents = pd.util.hash_pandas_object(table, index=False).to_numpy()

    def __getstate__(self) -> dict[str, Any]:
        """What a worker is handed: a function that has a name is found anew by it."""
        return {k: v for k, v in vars(self).items() if k != "function" or not self.named}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        if self.named:
            self.function = import_function("fit", self.name)

    # --- runs ---------------------------------------------------------------------------------

    def train_on_members(self, seed: int) -> Records:
        """What training on the members releases; later runs must give as many records."""
        found = self._train_or_load(np.arange(self.members), seed)
        self.size = len(found)
        return found

    def train_on(self, rows: np.ndarray, seed: int) -> Records:
        """What training on these rows (n,) releases, as many records as `size`.

        Raises UserError where there are fewer.
        """
        found = self._train_or_load(rows, seed)
        if len(found) < self.size:
            raise UserError(
                f"fit={self.name}: it gives {len(found)} records where {self.size} were released; "
                f"give as many whatever it is trained on, or return an object with sample(n)"
            )
        return found.take_rows(np.arange(self.size), "fit")

    def refuse_idle(self, first: Run, second: Run) -> None:
        """Raise UserError where the records, or the seed, change nothing: one more run tells."""
        other = self._train_or_load(first[0], second[1])
        if _are_equal(other, self._train_or_load(*first)):
            raise UserError(
                f"fit={self.name}: with two seeds it gives the same records; let the seed decide "
                f"what is drawn, and give as many records as will be released"
            )
        if _are_equal(other, self._train_or_load(*second)):
            raise UserError(
                f"fit={self.name}: trained on two different sets of records it gives the same; it "
                f"must be trained on the records that it is given"
            )

    def train_ahead(self, runs: Sequence[Run]) -> None:
        """Train what is not in the store yet, behind a bar, in an order of this process's own.

        Several workers are processes that divide the cores. Raises UserError for the run that
        fails; those before it are kept.
        """
        missing = [run for run in runs if not self.store.has("retrained", self._filed_under(*run))]
        random.Random(os.getpid()).shuffle(missing)
        workers = max(1, min(self.workers, len(missing)))
        threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None
        with parallel_config("loky" if threads else "sequential", inner_max_num_threads=threads):
            jobs = Parallel(workers, return_as="generator_unordered")
            done = jobs(delayed(self._train_and_keep)(*run) for run in missing)
            for _ in tqdm(done, desc="training anew", unit="run", total=len(missing), leave=False):
                pass

    def _train_and_keep(self, rows: np.ndarray, seed: int) -> None:
        self.train_on(rows, seed)

    def _train_or_load(self, rows: np.ndarray, seed: int) -> Records:
        """All that training on these rows (n,) gives: from the store, or made now."""
        filed = self._filed_under(rows, seed)

        def make(folder: Path) -> None:
            with seeded_generators(seed):
                _write_records(folder, self._call_function(rows, seed))

        found = _read_records(self.store.get("retrained", filed, make))
        return Records("fit", np.arange(len(found)).astype(str), _content_of(found))

    def _filed_under(self, rows: np.ndarray, seed: int) -> dict[str, Any]:
        """What determines a run; what one run gives stands for a function without a file."""
        if self.code is None:
            with seeded_generators(0):
                self.code = _hash_records(self._call_function(np.arange(self.members), 0))
        return {
            "fit": self.name,
            "code": self.code,
            "records": sha256(np.ascontiguousarray(self.contents[rows]).tobytes()).hexdigest(),
            "count": len(rows),
            "seed": seed,
            "size": self.size,
        }

    def _call_function(self, rows: np.ndarray, seed: int) -> pd.DataFrame | np.ndarray:
        """One call of the function, and its result in the audit's own form."""
        is_table = isinstance(self.pool, pd.DataFrame)
        records = self.pool.iloc[rows].reset_index(drop=True) if is_table else self.pool[rows]
        where = f"fit={self.name}, trained on {len(rows)} records with seed {seed}"
        try:
            found = self.function(records, seed)
            sample = getattr(found, "sample", None)
            if not isinstance(found, pd.DataFrame) and callable(sample or found):
                found = (sample or found)(self.size)
        except Exception as error:  # anyone's code
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{where}: it fails ({type(error).__name__}: {reason}); earlier runs are kept"
            ) from error
        found = found.detach().cpu().numpy() if isinstance(found, Tensor) else found
        if not isinstance(found, pd.DataFrame | np.ndarray) or len(found) == 0:
            raise UserError(
                f"{where}: it gives a {type(found).__name__}; records, an object with sample(n) or "
                f"a function of n are needed"
            )
        return self._as_table(where, found) if is_table else self._as_images(where, found)

    # --- what it gave -------------------------------------------------------------------------

    def _as_table(self, where: str, found: pd.DataFrame | np.ndarray) -> pd.DataFrame:
        columns = list(self.pool.columns)
        if isinstance(found, np.ndarray):
            if found.ndim != 2 or found.shape[1] != len(columns):
                raise UserError(
                    f"{where}: it gives an array of shape {found.shape}, (n, {len(columns)}) is "
                    f"needed"
                )
            found = pd.DataFrame(found, columns=columns)
        theirs = [str(column) for column in found.columns]
        missing, more = (
            [c for c in a if c not in b] for a, b in ((columns, theirs), (theirs, columns))
        )
        if missing or more or len(theirs) != len(columns):
            said = f"with {first_few(more or theirs)} besides"
            said = f"without {first_few(missing)}" if missing else said
            raise UserError(f"{where}: it gives other columns than it was given, {said}")
        found = found.set_axis(theirs, axis=1)[columns].reset_index(drop=True)
        return pd.DataFrame({column: self._as_column(where, found[column]) for column in columns})

    def _as_column(self, where: str, values: pd.Series) -> np.ndarray:
        """A column as numbers or text, as the inputs have it."""
        tables = [records.table[values.name] for records in self.given.values()]
        if not pd.api.types.is_numeric_dtype(self.pool[values.name]):
            text = as_text(values)
            known = set().union(*(part.unique() for part in tables))
            if odd := sorted(set(text.unique()) - known):
                raise UserError(
                    f"{where}: column {values.name!r} holds {first_few([repr(o) for o in odd])}, "
                    f"which no input has"
                )
            return text.to_numpy(object)
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        gone = np.isnan(numbers)
        if bad := values[(gone & values.notna().to_numpy()) | np.isinf(numbers)].tolist():
            raise UserError(
                f"{where}: column {values.name!r} holds {bad[0]!r}, finite numbers are needed"
            )
        if gone.any() and not any(part.isna().any() for part in tables):
            raise UserError(
                f"{where}: in column {values.name!r} numbers are missing, and in no input"
            )
        return numbers

    def _as_images(self, where: str, found: pd.DataFrame | np.ndarray) -> np.ndarray:
        shape = self.pool.shape[1:]
        if isinstance(found, np.ndarray) and found.dtype.kind in "fiu":
            found = as_records(as_float(found.astype(np.float32)), shape).numpy()
        if not isinstance(found, np.ndarray) or found.shape[1:] != shape:
            raise UserError(
                f"{where}: images (n, {', '.join(map(str, shape))}) in [-1, 1] are needed"
            )
        if not np.isfinite(found).all() or np.abs(found).max() > 1.001:
            raise UserError(f"{where}: its pixels must be finite and in [-1, 1]")
        return found.clip(-1, 1)


def _is_whole(values: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values) and (values % 1 == 0).all())


def _code_of(function: Any) -> str:
    """Hash of the file that a function stands in; what that imports does not count."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
        return sha256(Path(str(file)).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return ""


def _are_equal(one: Records, other: Records) -> bool:
    return _hash_records(one.content) == _hash_records(other.content)


def _hash_records(found: Any) -> str:
    """Hash of records, whatever form they have."""
    if isinstance(found, pd.DataFrame):
        return sha256(
            pd.util.hash_pandas_object(found, index=False).to_numpy().tobytes()
        ).hexdigest()
    values = getattr(found, "values", found)
    return sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _content_of(found: pd.DataFrame | np.ndarray) -> Any:
    return found if isinstance(found, pd.DataFrame) else in_memory(found)


def _write_records(folder: Path, found: pd.DataFrame | np.ndarray) -> None:
    if isinstance(found, pd.DataFrame):
        found.to_parquet(folder / "records.parquet", index=False)
    else:
        np.save(folder / "records.npy", found)


def _read_records(folder: Path) -> pd.DataFrame | np.ndarray:
    table = folder / "records.parquet"
    return pd.read_parquet(table) if table.exists() else np.load(folder / "records.npy")
