"""Verdicts of audits where the truth is known, on a real table: false alarms and misses.

    python bench/audit_trials.py [seeds, 5] [generator ...]

Each generator is fitted to the members, and once more to other records of the same kind: the second
time it cannot leak anything about the members, whatever it does. `resampler` leaks everything,
`truth` (an independent sample of the real table) nothing.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from benchmark.audit import audit
from benchmark.data.randhie import RandHie

SIZE, RELEASED = 500, 2000
Fit = Callable[[pd.DataFrame, pd.DataFrame, int], pd.DataFrame]


def resampler(train: pd.DataFrame, rest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Rows of the training data with replacement."""
    return train.sample(RELEASED, replace=True, random_state=seed)


def truth(train: pd.DataFrame, rest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Other rows of the real table."""
    return rest.sample(RELEASED, random_state=seed)


def kernels(train: pd.DataFrame, rest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Gaussian kernels, half a standard deviation wide."""
    return _scaled(train, lambda x: KernelDensity(bandwidth=0.5).fit(x).sample(RELEASED, seed))


def mixture(train: pd.DataFrame, rest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Ten Gaussians with full covariances."""
    model = GaussianMixture(10, reg_covar=1e-3, random_state=seed)
    return _scaled(train, lambda x: model.fit(x).sample(RELEASED)[0])


def ctgan(train: pd.DataFrame, rest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """CTGAN (package `ctgan`) with its defaults but smaller batches, 300 epochs."""
    import torch
    from ctgan import CTGAN

    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    few = [column for column in train if train[column].nunique() <= 2]
    model = CTGAN(epochs=300, batch_size=100, enable_gpu=False)
    model.fit(train, few)
    return model.sample(RELEASED)


def _scaled(train: pd.DataFrame, draw: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
    scale = train.std().replace(0, 1)
    return pd.DataFrame(draw((train / scale).to_numpy()), columns=train.columns) * scale


GENERATORS: dict[str, Fit] = {f.__name__: f for f in (resampler, truth, kernels, mixture, ctgan)}


def trial(name: str, seed: int, table: pd.DataFrame, store: str) -> dict[str, dict[str, object]]:
    """Audits of one generator fitted to the members, and to others."""
    shuffled = table.sample(frac=1, random_state=seed).reset_index(drop=True)
    parts = [shuffled[i * SIZE : (i + 1) * SIZE] for i in range(4)]
    members, non_members, reference, others = parts
    found = {}
    for fitted, train in {"members": members, "others": others}.items():
        released = GENERATORS[name](train, shuffled[4 * SIZE :], seed)
        settings = [f"machine.store={store}", "machine.progress=false", f"seed={seed}"]
        verdict = audit(
            members, non_members, samples=released, reference=reference, settings=settings
        ).verdict
        best = verdict.strongest
        found[fitted] = {
            "word": verdict.word, "best": best.name, "auroc": best.auroc, "low": best.low,
            "high": best.high, "upper": verdict.upper, "found": verdict.sharpest.found,
        }  # fmt: skip
    return found


def main(seeds: int, names: list[str]) -> None:
    """Print a line a trial, then counts."""
    columns, values, _, _ = RandHie("none")._read()
    table = pd.DataFrame(values, columns=columns)
    counts: Counter[tuple[str, str, str]] = Counter()
    with tempfile.TemporaryDirectory() as store:
        for name in names:
            for seed in range(seeds):
                for fitted, row in trial(name, seed, table, store).items():
                    counts[name, fitted, str(row["word"])] += 1
                    numbers = " ".join(
                        f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}"
                        for k, v in row.items()
                    )
                    print(name, f"fitted to {fitted}", f"seed={seed}", numbers, flush=True)
    for (name, fitted, word), count in sorted(counts.items()):
        print(f"{name}, fitted to {fitted}: {word} in {count} of {seeds}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5, sys.argv[2:] or list(GENERATORS)[:4])
