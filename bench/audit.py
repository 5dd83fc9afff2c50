"""Time and memory of a full black box audit of a large table, and its agreement with brute force.

    python bench/audit.py [threads]

10 000 members, 10 000 non-members and 50 000 synthetic rows of 100 columns, as CSV files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

COLUMNS, SIDE, RELEASED, CHECKED = 100, 10_000, 50_000, 2_000


def table(rng: np.random.Generator, mix: np.ndarray, n: int) -> pd.DataFrame:
    """Correlated columns: 80 numeric, 10 of them with long tails, and 10 binary."""
    x = rng.standard_normal((n, COLUMNS)) @ mix + 0.5 * rng.standard_normal((n, COLUMNS))
    x[:, 10:20] = np.exp(x[:, 10:20]).round(2)
    frame = pd.DataFrame(x, columns=[f"c{i}" for i in range(COLUMNS)])
    return frame.assign(**{f"c{i}": (x[:, i] > 0).astype(int) for i in range(10)})


def brute_force(members: pd.DataFrame, samples: pd.DataFrame) -> np.ndarray:
    """Minus the mean squared difference to the nearest sample, by all distances in float64."""
    numeric = np.arange(COLUMNS) >= 10
    mean = np.where(numeric, samples.mean(), 0)
    scale = np.where(numeric, samples.std(ddof=0), 1)
    ours, theirs = ((f.to_numpy(np.float64) - mean) / scale for f in (members, samples))
    blocks = [cdist(block, theirs, "sqeuclidean").min(1) for block in np.array_split(ours, 50)]
    return -np.concatenate(blocks) / COLUMNS


def main(threads: int) -> None:
    """Make the files, audit them in a process of its own, compare."""
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((COLUMNS, COLUMNS)) / 10
    members, others = table(rng, mix, SIDE), table(rng, mix, SIDE)
    samples = pd.concat([table(rng, mix, RELEASED - 1000), members[:1000]])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = {"members": members, "non_members": others, "samples": samples}
        for setting, frame in inputs.items():
            frame.to_csv(folder / f"{setting}.csv", index=False)
        command = [sys.executable, "-m", "benchmark.audit", f"machine.store={folder}/store"]
        command += [f"{setting}={folder}/{setting}.csv" for setting in inputs]
        command += [f"hydra.run.dir={folder}/out", f"machine.threads={threads}"]
        start = time.monotonic()
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        wall, used = time.monotonic() - start, getrusage(RUSAGE_CHILDREN)
        scores = pd.read_parquet(folder / "out" / "scores.parquet")
    cpu = used.ru_utime + used.ru_stime
    print(f"{wall:.0f} s wall, {cpu:.0f} s of CPU, {used.ru_maxrss / 2**20:.2f} GiB at most")
    ours = scores.query("attack == 'full_black_box' and member").set_index("id")["score"]
    expected = brute_force(members[:CHECKED], samples)
    found = ours[[str(i) for i in range(CHECKED)]].to_numpy()
    print(f"largest difference to brute force: {np.abs(found - expected).max():.1e}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 2)
