"""Whether audits that train the generator anew say what is true, where the truth is known.

    python bench/retrain.py [seeds, 20] [trial, ...]

Each seed draws its own records (`audit_level.people`), as many non-members as members: 300 where a
leak is to be found, 700 where none is (with fewer than some 600 none can be ruled out). The last
three trials have 1 000 members, one of which is planted far from all others. Trials:

- bootstrap: training rows with replacement (a leak);
- interpolator: points between a training row and one of its five nearest (a leak);
- independent: a sample of the truth, redrawn for other records (no leak);
- outlier: training rows a little moved; the planted record's AUROC must be 0.9 or more;
- private: histograms of single columns with Laplace noise, epsilon 1; no record may be recognised;
- dp_on: the victim tvae, trained with dp=on for epsilon 1; no record may be recognised.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from audit_level import people
from defaults import compose_job, train_on_rows
from omegaconf import DictConfig
from scipy.spatial import cKDTree

from benchmark.audit import Audit, audit
from benchmark.config.build import build
from victims.schema import Column, Schema

Frame = pd.DataFrame
RELEASED = 1000
OUTLIER = {"age": 119.0, "income": 400_000.0, "weight": 171.3, "smokes": 1, "town": "west"}
EPSILON = 1.0
EDGES = {
    "age": np.linspace(0, 120, 25),
    "income": np.geomspace(10, 1e6, 25),
    "weight": np.linspace(20, 180, 25),
    "smokes": np.array([-0.5, 0.5, 1.5]),
    "town": np.array(["north", "south", "west"]),
}
"""Bins that are public: they were chosen without the records."""


def bootstrap(records: Frame, seed: int) -> Frame:
    """Training rows with replacement."""
    return records.sample(RELEASED, replace=True, random_state=seed)


def interpolator(records: Frame, seed: int) -> Frame:
    """Points between a training row and one of its five nearest; categories are the row's own."""
    rng = np.random.default_rng(seed)
    names = ["age", "income", "weight"]
    numbers = records[names].to_numpy(float)
    scaled = numbers / numbers.std(0)
    _, near = cKDTree(scaled).query(scaled, 6)
    row = rng.integers(0, len(records), RELEASED)
    other = near[row, rng.integers(1, 6, RELEASED)]
    made = records.iloc[row].reset_index(drop=True)
    share = rng.random((RELEASED, 1))
    made[names] = (1 - share) * numbers[row] + share * numbers[other]
    return made


def independent(records: Frame, seed: int) -> Frame:
    """A sample of the truth; the records are no more than a second seed."""
    content = sha256(records.to_csv().encode()).digest()[:4]
    return people(np.random.default_rng([seed, int.from_bytes(content, "big")]), RELEASED)


def moved(records: Frame, seed: int) -> Frame:
    """Training rows, of which the continuous columns are moved by a twentieth of their spread."""
    rng = np.random.default_rng(seed)
    made = records.sample(3 * RELEASED, replace=True, random_state=seed).reset_index(drop=True)
    for name in ("age", "income", "weight"):
        made[name] += rng.normal(0, 0.05 * records[name].std(), len(made))
    return made


def private(records: Frame, seed: int) -> Frame:
    """Each column by itself from a histogram with Laplace noise: EPSILON for the whole record.

    Another record in one's place changes two counts of each histogram by one.
    """
    rng, made = np.random.default_rng(seed), {}
    for name, edges in EDGES.items():
        values = records[name]
        if name == "town":
            counts = np.array([(values == level).sum() for level in edges], float)
        else:
            counts = np.histogram(values.clip(edges[0], edges[-1]), edges)[0].astype(float)
        counts = (counts + rng.laplace(0, 2 * len(EDGES) / EPSILON, len(counts))).clip(0)
        place = rng.choice(len(counts), RELEASED, p=counts / counts.sum())
        if name in ("town", "smokes"):
            made[name] = edges[place] if name == "town" else place
        else:
            made[name] = rng.uniform(edges[place], edges[place + 1])
    return pd.DataFrame(made)[list(records.columns)]


COLUMNS = Schema(
    [
        Column("age", "numeric", high=120.0),
        Column("income", "numeric", log=True, low=float(np.log1p(10)), high=float(np.log1p(1e6))),
        Column("weight", "numeric", low=20.0, high=180.0),
        Column("smokes", "binary"),
        Column("town", "category", ("north", "south", "west")),
    ]
)
"""As public as EDGES are."""


@cache
def private_job() -> DictConfig:
    """The victim of the last trial, and its promise."""
    small = "victim.steps=100", "victim.batch_size=100", "victim.width=32", "victim.z_dim=16"
    promise = f"dp.epsilon={EPSILON}", "dp.accountant=rdp", "dp.micro_batch=100"
    return compose_job("victim=tvae", "dp=on", *small, *promise)


def dp_on(records: Frame, seed: int) -> Frame:
    """What a victim of this benchmark releases that was trained privately."""
    rows, config = torch.from_numpy(COLUMNS.rows_of_table(records)), private_job()
    victim = build(config.victim, "victim", shape=rows.shape[1:], schema=COLUMNS)
    victim.make_private()
    build(config.dp, "dp").attach_mechanism(victim, len(rows))
    with tempfile.TemporaryDirectory() as name:
        victim = train_on_rows(victim, rows, Path(name), seed)
    outputs = victim.generate(torch.randn(RELEASED, victim.z_dim))
    drawn = victim.publish(outputs, torch.rand(outputs.shape))
    made = COLUMNS.table_of_rows(COLUMNS.nearest_records(drawn).numpy())
    return made.astype({"smokes": int})[list(records.columns)]


TRIALS: dict[str, tuple[Callable[[Frame, int], Frame], int, bool]] = {
    "bootstrap": (bootstrap, 300, False),
    "interpolator": (interpolator, 300, False),
    "independent": (independent, 700, False),
    "outlier": (moved, 1000, True),
    "private": (private, 1000, True),
    "dp_on": (dp_on, 1000, True),
}
"""Name -> the training, how many members there are, and whether one of them is planted."""
BUDGET = "fit.references=8", "fit.runs=40", "fit.records=6"


def run(fit: Callable[[Frame, int], Frame], size: int, planted: bool, seed: int) -> Audit:
    """One audit; the planted record is the last member."""
    rng = np.random.default_rng([3, seed])
    members, others = people(rng, size), people(rng, size)
    if planted:
        members.loc[size - 1] = pd.Series(OUTLIER)
        members = members.astype(others.dtypes)
    with tempfile.TemporaryDirectory() as store:
        words = [f"machine.store={store}", "machine.progress=false", f"seed={seed}", *BUDGET]
        return audit(members, others, fit=fit, settings=words)


def main(seeds: int, names: list[str]) -> None:
    """Print each verdict, what is said of the planted record, and how often each was given."""
    for name in names:
        fit, size, planted = TRIALS[name]
        words: Counter[str] = Counter()
        for seed in range(seeds):
            start = time.monotonic()
            found = run(fit, size, planted, seed)
            words[f"{found.verdict.word}, {min(1, len(found.verdict.recognised))} recognised"] += 1
            told = found.worst.list_told(found.verdict.level)
            last = [t for t in told if planted and t.id == "999" and t.by.startswith("closest")]
            shown = f"planted {last[0].auroc:.3f} [{last[0].low:.3f}, " if last else ""
            print(
                f"{name} seed {seed}: {found.verdict.word}, recognised "
                f"{len(found.verdict.recognised)} of {len(found.worst.games)}, best "
                f"{told[0].auroc:.3f} {shown} {time.monotonic() - start:.0f} s",
                flush=True,
            )
        print(f"{name}: {dict(words)} of {seeds}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20, sys.argv[2:] or list(TRIALS))
