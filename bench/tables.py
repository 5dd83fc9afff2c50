"""How good generators of mixed tables are beside the package `ctgan`, on equal rows and epochs.

    python bench/tables.py ROWS EPOCHS

Needs the package `ctgan` (tried with 0.12.1), best in an environment of its own. All see the same
rows of `data=randhie_mixed` in the same numbers, without the columns in which numbers are missing
(the package refuses them). Compared are other rows: the error of a column is the Kolmogorov-Smirnov
or total variation distance, that of a pair of columns the total variation distance with numbers in
five bins. `real` is what as many other real rows have.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from defaults import compose_job, train_on_rows
from scipy.stats import ks_2samp

from benchmark.config.build import build
from benchmark.data.dataset import read_dataset
from benchmark.data.randhie import RandHieMixed
from victims.schema import Column, Schema

BINS = 5
OURS = "ctgan", "tvae", "tab_ddpm"
BATCH = 500


def table(folder: Path) -> tuple[Schema, np.ndarray]:
    """The columns without gaps, and all rows (n, d) in an order of chance."""
    RandHieMixed().prepare(folder)
    data = read_dataset(folder)
    assert data.schema is not None
    spans = [(column, span) for column, span in data.schema.spans if not column.gaps]
    rows = np.concatenate([data.values[:, span] for _, span in spans], 1)
    return Schema([c for c, _ in spans]), np.random.default_rng(0).permutation(rows)


def plain(schema: Schema, rows: np.ndarray) -> pd.DataFrame:
    """Rows as a table of levels and of numbers as they are stored, which all generators see."""
    found = {}
    for column, span in schema.spans:
        hot = column.kind == "category"
        levels = np.array(column.levels, object)
        found[column.name] = levels[rows[:, span].argmax(1)] if hot else rows[:, span.start]
    return pd.DataFrame(found)


def own(name: str, schema: Schema, rows: np.ndarray, epochs: int, folder: Path) -> np.ndarray:
    """As many released rows of one of our victims."""
    steps = epochs * (len(rows) // BATCH)
    config = compose_job(f"victim={name}", f"victim.steps={steps}", f"victim.batch_size={BATCH}")
    torch.manual_seed(0)
    data = torch.from_numpy(rows)
    victim = build(config.victim, "victim", shape=rows.shape[1:], schema=schema)
    victim = train_on_rows(victim, data, folder, seed=0)
    outputs = [victim.generate(torch.randn(500, victim.z_dim)) for _ in range(len(rows) // 500)]
    every = torch.cat(outputs)
    return schema.nearest_records(victim.publish(every, torch.rand(every.shape))).numpy()


def package(kind: str, schema: Schema, rows: np.ndarray, epochs: int) -> np.ndarray:
    """As many rows of the package's generator."""
    import ctgan

    frame = plain(schema, rows)
    discrete = [c.name for c in schema.columns if c.kind in ("category", "binary")]
    frame = frame.astype({c.name: str for c in schema.columns if c.kind == "binary"})
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  the package draws from it
    settings = {"epochs": epochs, "batch_size": BATCH}
    model = getattr(ctgan, kind)(**settings, **_on_cpu(getattr(ctgan, kind)))
    model.fit(frame, discrete)
    made = model.sample(len(rows))
    made = made.astype({c.name: float for c in schema.columns if c.kind == "binary"})
    stored = Schema([_as_stored(column) for column in schema.columns])
    return schema.nearest_records(torch.from_numpy(stored.rows_of_table(made))).numpy()


def _as_stored(column: Column) -> Column:
    """A column whose numbers are stored already."""
    kind = "numeric" if column.kind == "integer" else column.kind
    return Column(column.name, kind, column.levels)


def _on_cpu(kind: type) -> dict[str, bool]:
    names = inspect.signature(kind).parameters
    return {"enable_gpu": False} if "enable_gpu" in names else {"cuda": False}


def errors(schema: Schema, real: np.ndarray, made: np.ndarray) -> tuple[float, float]:
    """Mean error of columns and of pairs of columns."""
    tables = plain(schema, real), plain(schema, made)
    codes, columns = [], []
    for column in schema.columns:
        one, other = (t[column.name].to_numpy() for t in tables)
        if column.kind in ("category", "binary"):
            names = np.unique(np.concatenate([one, other]))
            coded = np.searchsorted(names, one), np.searchsorted(names, other)
            columns.append(_variation(*coded))
        else:
            columns.append(ks_2samp(one, other).statistic)
            edges = np.unique(np.quantile(one, np.arange(1, BINS) / BINS))
            coded = np.searchsorted(edges, one), np.searchsorted(edges, other)
        codes.append(coded)
    pairs = [_variation(a[0] * 1000 + b[0], a[1] * 1000 + b[1]) for a, b in combinations(codes, 2)]
    return float(np.mean(columns)), float(np.mean(pairs))


def _variation(one: np.ndarray, other: np.ndarray) -> float:
    """Total variation distance of two samples of codes."""
    every = np.concatenate([one, other])
    _, places = np.unique(every, return_inverse=True)
    shares = [
        np.bincount(p, minlength=places.max() + 1) / len(p)
        for p in (places[: len(one)], places[len(one) :])
    ]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def main(rows: int, epochs: int) -> None:
    """Train all, one after the other, and print errors and ratios."""
    with TemporaryDirectory() as work:
        schema, every = table(Path(work) / "data")
        train, held, other = (every[i * rows : (i + 1) * rows] for i in range(3))
        made: dict[str, Callable[[], np.ndarray]] = {"real": lambda: other}
        for name in OURS:
            folder = Path(work) / name
            folder.mkdir()
            made[name] = lambda n=name, f=folder: own(n, schema, train, epochs, f)  # type: ignore[misc]
        for kind in ("CTGAN", "TVAE"):
            made[f"package {kind}"] = lambda k=kind: package(k, schema, train, epochs)  # type: ignore[misc]
        found = {}
        for name, make in made.items():
            start = time.monotonic()
            found[name] = errors(schema, held, make())
            seconds = time.monotonic() - start
            text = " ".join(f"{value:.4f}" for value in found[name])
            print(f"{name:15} column and pair error {text}  {seconds:.0f} s", flush=True)
    for name in OURS:
        for kind in ("CTGAN", "TVAE"):
            peer = found[f"package {kind}"]
            ratios = [mine / theirs for mine, theirs in zip(found[name], peer, strict=True)]
            print(f"{name} / package {kind}: {ratios[0]:.2f} {ratios[1]:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
