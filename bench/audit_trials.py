"""Verdicts of audits where the truth is known, on real records: false alarms and misses.

    python bench/audit_trials.py [seeds, 5] [generator ...] [setting=value ...]

Each generator is fitted to the members, and once more to other records of the same kind: the second
time it cannot leak anything about the members, whatever it does. `resampler` leaks everything,
`truth` (an independent sample of the real table) nothing. Those that begin with "mixed" are fitted
to columns of every kind. `ctgan` and `dcgan` need the packages `ctgan` and `torchgan`, which this
project does not depend on. Settings are those of every audit, such as distance=gower.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.utils import shuffle

from benchmark.audit import Generator, audit
from benchmark.data.dataset import read_dataset
from benchmark.data.mnist5k import Mnist5k
from benchmark.data.randhie import RandHie, RandHieMixed
from benchmark.data.table import Table
from benchmark.show.texts import row_name

RELEASED, DCGAN_STEPS = 2000, 1000
Given = dict[str, Any]


def resampler(train: pd.DataFrame, rest: pd.DataFrame, seed: int, folder: Path) -> Given:
    """Rows of the training data with replacement."""
    return {"samples": train.sample(RELEASED, replace=True, random_state=seed)}


def truth(train: pd.DataFrame, rest: pd.DataFrame, seed: int, folder: Path) -> Given:
    """Other rows of the real table."""
    return {"samples": rest.sample(RELEASED, random_state=seed)}


def kernels(train: pd.DataFrame, rest: pd.DataFrame, seed: int, folder: Path) -> Given:
    """Gaussian kernels, half a standard deviation wide."""
    return _scaled(train, lambda x: KernelDensity(bandwidth=0.5).fit(x).sample(RELEASED, seed))


def mixture(train: pd.DataFrame, rest: pd.DataFrame, seed: int, folder: Path) -> Given:
    """Ten Gaussians with full covariances."""
    model = GaussianMixture(10, reg_covar=1e-3, random_state=seed)
    return _scaled(train, lambda x: model.fit(x).sample(RELEASED)[0])


def ctgan(train: pd.DataFrame, rest: pd.DataFrame, seed: int, folder: Path) -> Given:
    """CTGAN (package `ctgan`) with its defaults but smaller batches, 300 epochs."""
    import torch
    from ctgan import CTGAN

    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    few = [column for column in train if train[column].nunique() <= 2]
    model = CTGAN(epochs=300, batch_size=100, enable_gpu=False)
    model.fit(train, few)
    return {"samples": model.sample(RELEASED)}


def dcgan(train: np.ndarray, rest: np.ndarray, seed: int, folder: Path) -> Given:
    """TorchScript files of torchgan's DCGAN, by its losses and training steps, on real digits."""
    import torch
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import DCGANDiscriminator, DCGANGenerator

    torch.manual_seed(seed)
    size = {"step_channels": 16}
    g = DCGANGenerator(encoding_dims=64, out_size=32, out_channels=1, **size)
    d = DCGANDiscriminator(in_size=32, in_channels=1, **size)
    g_step, d_step = MinimaxGeneratorLoss().train_ops, MinimaxDiscriminatorLoss().train_ops
    g_adam, d_adam = (torch.optim.Adam(m.parameters(), 2e-4, betas=(0.5, 0.999)) for m in (g, d))
    images, cpu = torch.from_numpy(train), torch.device("cpu")
    for _ in range(DCGAN_STEPS):
        d_step(g, d, d_adam, images[torch.randperm(len(images))[:64]], cpu)
        g_step(g, d, g_adam, cpu, 64)
    g_file, d_file = folder / "generator.pt", folder / "discriminator.pt"
    torch.jit.trace(g.eval(), torch.randn(2, 64)).save(str(g_file))
    torch.jit.trace(d.eval(), images[:2]).save(str(d_file))
    return {"generator": Generator(g_file, z=64), "discriminator": d_file}


def interpolator(train: pd.DataFrame, rest: pd.DataFrame, seed: int, folder: Path) -> Given:
    """Points between a row and one of its five nearest by numbers; categories are the row's own.

    Whole numbers stay whole.
    """
    rng = np.random.default_rng(seed)
    numbers = train.select_dtypes("number")
    scaled = ((numbers - numbers.mean()) / numbers.std().replace(0, 1)).fillna(0).to_numpy()
    near = NearestNeighbors(n_neighbors=6).fit(scaled).kneighbors(return_distance=False)
    row = rng.integers(0, len(train), RELEASED)
    other = near[row, rng.integers(0, 5, RELEASED)]
    made, share = train.iloc[row].reset_index(drop=True), rng.random((RELEASED, 1))
    values = numbers.to_numpy()
    between = (1 - share) * values[row] + share * values[other]
    whole = np.nanmax(values % 1, axis=0) == 0
    made[numbers.columns] = np.where(whole, between.round(), between)
    return {"samples": made}


def _scaled(train: pd.DataFrame, draw: Callable[[np.ndarray], np.ndarray]) -> Given:
    scale = train.std().replace(0, 1)
    drawn = pd.DataFrame(draw((train / scale).to_numpy()), columns=train.columns)
    return {"samples": drawn * scale}


@dataclass(frozen=True)
class Kind:
    """Records, how many of them make each part of a trial, and the generators tried on them.

    A generator takes training records, records that nothing else uses, a seed and a folder, and
    returns what its owner hands to the audit. settings: of the audit.
    """

    records: Callable[[Path], Any]
    size: int
    generators: Mapping[str, Callable[[Any, Any, int, Path], Given]]
    settings: tuple[str, ...] = ()


def table(folder: Path) -> pd.DataFrame:
    """The RAND experiment's visits to doctors."""
    return _frame_of(RandHie("none"))


def mixed(folder: Path) -> pd.DataFrame:
    """The same with its categories and its gaps."""
    return _frame_of(RandHieMixed("none"))


def _frame_of(data: Table) -> pd.DataFrame:
    cells = data._read_table()[0]
    return pd.DataFrame({c.name: c.texts if c.numbers is None else c.numbers for c in cells})


def digits(folder: Path) -> np.ndarray:
    """MNIST digits, (5000, 1, 32, 32) in [-1, 1]."""
    Mnist5k().prepare(folder)
    return read_dataset(folder).records(np.arange(5000)).numpy()


TABLES = {f.__name__: f for f in (resampler, truth, kernels, mixture, ctgan)}
MIXED = {f"mixed_{f.__name__}": f for f in (resampler, interpolator)}
WITH_MIXED = (
    "attack=[full_black_box,closest_record,closest_record_ratio,monte_carlo_values,"
    "neighbour_density,domias_kde]",
    "records.categorical=[site,year,plan]",
)
KINDS = [
    Kind(table, 500, TABLES),
    Kind(mixed, 500, MIXED, WITH_MIXED),
    Kind(digits, 256, {"dcgan": dcgan}, ("searched=64",)),
]
DEFAULT = list(TABLES)[:4]


def trial(
    kind: Kind, name: str, seed: int, records: Any, folder: Path, words: list[str]
) -> dict[str, dict]:
    """Audits of one generator fitted to the members, and to others; words: more settings."""
    shuffled = shuffle(records, random_state=seed)
    parts = [shuffled[i * kind.size : (i + 1) * kind.size] for i in range(4)]
    members, non_members, reference, others = parts
    places = [f"machine.store={folder}", "machine.progress=false", f"seed={seed}"]
    found = {}
    for fitted, train in {"members": members, "others": others}.items():
        given = kind.generators[name](train, shuffled[4 * kind.size :], seed, folder)
        settings = [*places, *kind.settings, *words]
        done = audit(members, non_members, reference=reference, settings=settings, **given)
        verdict = done.verdict
        best = verdict.strongest
        found[fitted] = {
            "word": verdict.word, "best": best.name, "auroc": best.auroc, "low": best.low,
            "high": best.high, "upper": verdict.upper, "found": verdict.sharpest.found,
        }  # fmt: skip
        for _, row in done.result.ok.iterrows():
            found[fitted][row_name(row).replace(" ", "_")] = row["auroc"]
    return found


def main(seeds: int, names: list[str]) -> None:
    """Print a line a trial, then counts."""
    counts: Counter[tuple[str, str, str]] = Counter()
    words = [name for name in names if "=" in name]
    names = [name for name in names if "=" not in name] or DEFAULT
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            kind = next(kind for kind in KINDS if name in kind.generators)
            records = kind.records(Path(folder) / kind.records.__name__)
            for seed in range(seeds):
                for fitted, row in trial(kind, name, seed, records, Path(folder), words).items():
                    counts[name, fitted, str(row["word"])] += 1
                    numbers = " ".join(
                        f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}"
                        for k, v in row.items()
                    )
                    print(name, f"fitted to {fitted}", f"seed={seed}", numbers, flush=True)
    for (name, fitted, word), count in sorted(counts.items()):
        print(f"{name}, fitted to {fitted}: {word} in {count} of {seeds}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5, sys.argv[2:])
