"""A small job, what it leaves in the store when nothing happens, and processes that may be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import composed
from omegaconf import DictConfig

from benchmark.data.mnist5k import Mnist5k
from benchmark.job import run
from benchmark.scores import scoring
from benchmark.store.entries import Store

FORK = multiprocessing.get_context("fork")
SMALL = ["attack=[discriminator,white_box]", "distance=l2", "victim.steps=12"]
SMALL += ["machine.threads=1", "machine.checkpoint_every_s=0"]

Contents = dict[str, dict[str, str]]


def small(folder: Path, *overrides: str) -> DictConfig:
    """The config of a job with two models and four sets of scores, about a second's work."""
    return composed(folder, *SMALL, *overrides)


def contents(folder: Path) -> Contents:
    """kind/key -> file -> sha256 of everything whole in the store: models, samples, scores."""
    store = Store(folder / "store")
    kinds = ("data", "victim", "bank", "learnt", "scores", "strip")
    return {
        f"{kind}/{path.name}": {name: known["sha256"] for name, known in meta["files"].items()}
        for kind in kinds
        for path, meta in store.find(kind)
    }


def child(work: Callable[[], Any]) -> Any:
    """Start a process that does some work and ends; it shares nothing with this one."""
    process = FORK.Process(target=work)
    process.start()
    return process


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def two_parts(patch: pytest.MonkeyPatch) -> None:
    """Scores are kept in two parts, so that there is something between them."""
    patch.setattr(scoring, "chunk", lambda attack: 24)


@pytest.fixture(autouse=True)
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    two_parts(monkeypatch)
    monkeypatch.setattr(Mnist5k, "prepare", Mnist5k.prepare.__wrapped__)  # its writes count


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """What the small job leaves in the store when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        two_parts(patch)
        run.run(small(folder))
    return contents(folder)
