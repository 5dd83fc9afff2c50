"""Time and memory of every attack on one release of a mixed table.

    python bench/mixed.py [threads]

2 000 members and 2 000 others are queries, 2 000 more records are the attacker's own. 20 000
samples were released, of 30 columns: numbers, half of them skewed, whole numbers with gaps, 0/1,
and categories of up to 20 levels. Attacks that train a network of their own are left out: their
budget of steps is a setting.
"""

from __future__ import annotations

import sys
import time
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import pandas as pd
import torch
from defaults import compose_job

from attacks.base import Attack
from benchmark.config.build import build_all
from victims.access import FullBlackBoxWithReference, grant_view
from victims.schema import Column, Schema

SIDE, RELEASED, NUMBERS, COUNTS, SWITCHES, CATEGORIES = 2000, 20_000, 12, 4, 4, 10
ATTACKS = (
    *("full_black_box", "closest_record", "closest_record_ratio", "monte_carlo_values"),
    *("monte_carlo_pca", "domias_kde", "neighbour_density", "ept"),
    *("closest_record_gower", "monte_carlo_gower", "neighbour_density_gower"),
)


def table(n: int, seed: int) -> dict[str, Any]:
    """Columns that hang together by five hidden numbers of each record."""
    rng, mix = np.random.default_rng(seed), np.random.default_rng(0)
    hidden = rng.standard_normal((n, 5))

    def column() -> np.ndarray:
        return hidden @ mix.standard_normal(5) + 0.7 * rng.standard_normal(n)

    found: dict[str, Any] = {}
    for i in range(NUMBERS):
        found[f"number {i}"] = np.exp(column()).round(2) if i % 2 else column()
    for i in range(COUNTS):
        counts = np.maximum(0, 3 * column()).round()
        found[f"count {i}"] = np.where(rng.random(n) < 0.1, np.nan, counts)
    found |= {f"switch {i}": (column() > 0.5).astype(int) for i in range(SWITCHES)}
    for i in range(CATEGORIES):
        levels, place = 2 + 2 * i, column()
        codes = np.clip((place + 3) / 6 * levels, 0, levels - 1).astype(int)
        found[f"category {i}"] = np.array(levels_of(levels), object)[codes]
    return found


def schema() -> Schema:
    """What the columns are."""
    columns = [Column(f"number {i}", "numeric") for i in range(NUMBERS)]
    columns += [Column(f"count {i}", "integer", gaps=True) for i in range(COUNTS)]
    columns += [Column(f"switch {i}", "binary") for i in range(SWITCHES)]
    for i in range(CATEGORIES):
        columns.append(Column(f"category {i}", "category", levels_of(2 + 2 * i)))
    return Schema(columns)


def levels_of(count: int) -> tuple[str, ...]:
    """Names of so many levels."""
    return tuple(f"level {code}" for code in range(count))


def selected(distance: str, *names: str) -> dict[str, Attack]:
    """Attacks as a job at laptop scale has them."""
    config = compose_job(f"attack=[{','.join(names)}]", f"distance={distance}")
    return build_all(config.attack, "attack")


def main(threads: int) -> None:
    """Score all queries by each attack; print its time, that of all, and the largest memory."""
    torch.set_num_threads(threads)
    columns = schema()
    parts = [(SIDE, 1), (SIDE, 2), (SIDE, 3), (RELEASED - SIDE, 4)]
    members, others, own, made = (columns.rows_of_table(table(*part)) for part in parts)
    released = np.concatenate([made, members[: SIDE // 2], others[: SIDE // 2]])  # copies, of both
    queries = torch.from_numpy(np.concatenate([members, others]))
    known = {"released": released, "reference": own, "schema": columns}
    view = grant_view(
        known | {"device": torch.device("cpu"), "batch_size": 256}, FullBlackBoxWithReference
    )
    attacks = selected("gower", *ATTACKS)
    attacks |= {"full_black_box, standardised": selected("standardised", ATTACKS[0])[ATTACKS[0]]}
    rows = {}
    for name, attack in attacks.items():
        wall, cpu = time.monotonic(), time.process_time()
        assert np.isfinite(attack.score(view, queries)).all()
        rows[name] = {"wall": time.monotonic() - wall, "processor": time.process_time() - cpu}
        print("{:30} {wall:6.1f} s, of processors {processor:6.1f} s".format(name, **rows[name]))
    total = pd.DataFrame(rows).T.sum()
    memory = getrusage(RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'all':30} {total['wall']:6.1f} s, of processors {total['processor']:6.1f} s")
    print(f"{memory:.2f} GiB at most, {queries.shape[1]} numbers a record")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 2)
