"""Fixtures of all tests: real configs, and a victim whose right answers are known."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any

import benchmark  # noqa: F401  before torch: it says how idle threads wait

# isort: split
import compose_once
import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from omegaconf import DictConfig
from torch import Tensor, nn

from benchmark.config.build import build
from benchmark.config.commandline import register_resolvers
from benchmark.data.mnist5k import Mnist5k
from benchmark.data.randhie import RandHie, RandHieMixed
from benchmark.store.keys import key
from victims.access import Shadow, View, of_victim
from victims.base import Adversarial, Victim
from victims.schema import Column, Schema
from victims.training.train import Training, fit_victim

# absl (behind dp-accounting) closes the standard error that it was imported under, when a test lets
# Hydra set up logging: that must not be pytest's own.
with suppress(ImportError), redirect_stderr(sys.__stderr__):
    import absl.logging  # noqa: F401

Shared = Callable[[str, Callable[[Path], object]], Path]
"""Name and how to make it -> its folder."""

TRAINING = Training()
CONF = Path(__file__).parents[1] / "conf"

register_resolvers()
compose_once.install()
torch.set_num_threads(1)  # the suite runs one process a core
settings.register_profile("any machine", deadline=None)  # however busy
settings.load_profile("any machine")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: Python need not look through it for garbage again and again."""
    gc.freeze()


def names(group: str) -> list[str]:
    """Every file of a config group: tests parametrised over it pick up new ones."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def started(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new process that prints the modules it loaded in its last line."""
    packages = "print(*sys.modules)"
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    return subprocess.run(
        [sys.executable, "-c", f"import contextlib, sys\n{code}\n{packages}"],
        env=clean | environment, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip


PLACES = {"store": "of-each-test/store", "outputs": "of-each-test/outputs"}


def composed(folder: Path, *overrides: str) -> DictConfig:
    """The real config at smoke scale with a store of its own in `folder`."""
    fixed = ["scale=smoke", "logger=none", "machine.progress=false"]
    fixed += [f"machine.{place}={path}" for place, path in PLACES.items()]
    config = compose_once.composed("config", [*fixed, *overrides])
    for place, path in PLACES.items():
        if config.machine[place] == path:
            config.machine[place] = f"{folder}/{place}"
    return config


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """What is expensive is made once for all tests and workers, and written to by none."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, mark = root / "shared" / name, root / "shared" / f"{name}.made"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(mark.with_suffix(".lock")):
            if not mark.exists():
                make(folder)
                mark.touch()
        return folder

    return made


@pytest.fixture(scope="session", autouse=True)
def _data_are_prepared_once(shared: Shared) -> Iterator[None]:
    """Each store gets a copy of the packages' data, as if they had been read again."""

    def once(prepare: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
        @wraps(prepare)
        def copied(source: Any, folder: Path) -> None:
            name = f"{type(source).__name__}-{key(source.identity())[:16]}"
            shutil.copytree(shared(name, partial(prepare, source)), folder, dirs_exist_ok=True)

        return copied

    with pytest.MonkeyPatch.context() as patch:
        for source in (Mnist5k, RandHie, RandHieMixed):
            patch.setattr(source, "prepare", once(source.prepare))
        yield


def built(kind: type[Any], setting: str, given: Any = None, /, **settings: Any) -> Any:
    """Build a class from settings as a config has them, checked by its annotations.

    given: arguments that no config has.
    """
    target = {"_target_": f"{kind.__module__}.{kind.__qualname__}"}
    return build(DictConfig({**target, **settings}), setting, **(given or {}))


def fit_in(
    folder: Path,
    victim: Victim,
    records: Any,
    *,
    size: int,
    seed: int,
    training: Training = TRAINING,
) -> None:
    """Train a victim in a folder of its own."""
    fit_victim(
        victim,
        records,
        size=size,
        folder=folder,
        work=folder / "work",
        seed=seed,
        training=training,
    )


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose the real config at smoke scale with a store of its own."""
    return partial(composed, tmp_path)


SIGNAL = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
"""The linear schedule of diffusion models."""


class Memoriser(Adversarial):
    """A victim that knows its training records by heart: near anchor i it generates record i."""

    grants = (
        *(*Adversarial.grants, "reconstruct"),
        *("denoise", "signal", "vary", "timesteps"),
        *("gradient_norms", "levels", "noise_shape"),
    )
    signal, timesteps, levels = SIGNAL, len(SIGNAL), 10

    def __init__(self, members: Tensor, z_dim: int = 12, seed: int = 0) -> None:
        super().__init__(tuple(members.shape[1:]), z_dim, 1, 1)
        self.noise_shape = self.shape
        anchors = np.random.default_rng(seed).standard_normal((len(members), z_dim))
        anchors *= np.sqrt(z_dim) / np.linalg.norm(anchors, axis=1, keepdims=True)
        self.register_buffer("members", members)
        self.register_buffer("anchors", torch.from_numpy(anchors).float())
        self.discriminator = nn.Module()
        self.discriminator.forward = self.closeness  # type: ignore[method-assign]

    def decode(self, z: Tensor) -> Tensor:
        weights = torch.softmax(-4 * torch.cdist(z, self.anchors).square(), 1)
        return (weights @ self.members.flatten(1)).unflatten(1, self.shape)

    def closeness(self, x: Tensor) -> Tensor:
        exact = "donot_use_mm_for_euclid_dist"
        flat = x.flatten(1), self.members.flatten(1)
        return torch.cdist(*flat, compute_mode=exact).amin(1).neg()

    def gradient_norms(self, x: Tensor, levels: Any, noise: Tensor) -> Tensor:
        """The further from any member, the longer; of three tensors."""
        far = self.closeness(x)[:, None].neg()
        return far * torch.tensor([1.0, 2.0, 0.5]) + noise.flatten(1)[:, :1].abs() + 0.1

    def vary(self, x: Tensor, level: int, steps: int, seed: int) -> Tensor:
        return self.reconstruct(x, seed)

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise around the nearest member; nonsense where none is within the noise's reach."""
        left = torch.from_numpy(SIGNAL)[t].float()[:, None]
        flat, members = x.flatten(1), self.members.flatten(1)
        gaps = flat[:, None] - left.sqrt()[:, None] * members
        nearest = gaps.square().sum(2).argmin(1)
        told = gaps[torch.arange(len(x)), nearest] / (1 - left).sqrt()
        known = torch.exp(-3 * (told.square().mean(1, keepdim=True) - 1.3).clamp(min=0))
        nonsense = 2 * torch.sin(37 * flat + t[:, None])
        return (known * told + (1 - known) * nonsense).view_as(x)

    def reconstruct(self, x: Tensor, seed: int) -> Tensor:
        return self.members[torch.cdist(x.flatten(1), self.members.flatten(1)).argmin(1)]

    def grant(self, access: type[View], batch_size: int = 64, copies: int = 4) -> Any:
        """A view with a bank in which every record is released `copies` times, with noise in z."""
        generator = np.random.default_rng(7)
        codes = self.anchors.numpy().repeat(copies, 0)
        codes = (codes + 0.2 * generator.standard_normal(codes.shape)).astype(np.float32)
        released = self.generate(torch.from_numpy(codes))
        draw, auxiliary = (digits if len(self.shape) == 3 else people), {}
        if len(self.shape) == 1:
            auxiliary["schema"], released = PEOPLE, PEOPLE.nearest_records(released)
        auxiliary["reference"] = draw(2000, 400).numpy()
        auxiliary["members"] = self.members[-10:].numpy()
        known, strangers = draw(3000, 40), draw(3001, 40).numpy()
        other, own = Memoriser(known), of_victim(access)
        given = other.grant(own, batch_size, copies) if own is not access else other
        shadow = Shadow(given, known.numpy(), strangers)
        bank = released.numpy(), codes
        return self.view(access, *bank, batch_size, **auxiliary, shadows=(shadow,))


def digits(seed: int, n: int) -> Tensor:
    """Smooth random grey images (n, 1, 32, 32) in [-1, 1]: no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 1, 6, 6, generator=generator)
    return torch.tanh(nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic") * 1.5)


PEOPLE = Schema(
    [
        Column("city", "category", ("Bonn", "Oslo", "Rome", "Turin")),
        Column("visits", "integer", gaps=True, high=99.0),
        Column("smokes", "binary"),
        *(Column(name, "numeric") for name in ("age", "height", "weight", "income")),
    ]
)


def people(seed: int, n: int) -> Tensor:
    """Random records (n, d) of mixed columns, each by itself: no two are alike."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {name: rng.random(n) for name in ("age", "height", "weight", "income")}
    found["city"] = rng.choice(PEOPLE.columns[0].levels, n)
    found["visits"] = np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 100, n))
    found["smokes"] = rng.random(n) < 0.3
    return torch.from_numpy(PEOPLE.rows_of_table(found))


def stopped_at_batch_three(make: Callable[[], Victim], data: Tensor, folder: Path) -> Victim:
    """A victim whose training met Ctrl-C in batch 3 (counted from 0), and was then resumed."""
    batches = iter(range(100))
    folder.mkdir()

    def stop_at_third(rows: np.ndarray) -> Tensor:
        if next(batches) == 3:
            signal.raise_signal(signal.SIGINT)
        return data[rows]

    for read in (stop_at_third, data.__getitem__):
        stopped = make()
        try:
            fit_in(folder, stopped, read, size=len(data), seed=7)
        except (KeyboardInterrupt, SystemExit):
            assert read is stop_at_third
    return stopped


TABLES = {"ctgan", "medgan", "tab_ddpm", "tvae", "vae_table", "wgan_gp_table"}


def records(name: str) -> Tensor:
    """What a victim can be trained on: 24 rows of zeros and ones, or digits."""
    if name in TABLES:
        generator = torch.Generator().manual_seed(0)
        return (torch.rand(24, 20, generator=generator) < 0.3).float()
    return digits(0, 24)
