"""A signal during training: the step is finished and kept, then the signal does its work."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import digits, fit_in
from omegaconf import DictConfig
from torch import Tensor

from benchmark.config.build import build
from victims.base import Victim
from victims.training.interrupt import NAMES, HeldSignals
from victims.training.train import CHECKPOINT, Training, load_victim

DATA = digits(0, 24)
SELDOM = Training(checkpoint_every_s=1e9)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Whatever a test does to the handlers, the next one finds them as they were."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in NAMES}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.fixture
def fresh(config: Callable[..., DictConfig]) -> Callable[[], Victim]:
    settings = config("victim=dcgan").victim

    def make() -> Victim:
        torch.manual_seed(1)
        return build(settings, "victim", shape=(1, 32, 32))

    return make


def train(victim: Victim, folder: Path) -> Tensor:
    folder.mkdir(exist_ok=True)
    fit_in(folder, victim, DATA.__getitem__, size=len(DATA), seed=5, training=SELDOM)
    codes = torch.randn(6, victim.z_dim, generator=torch.Generator().manual_seed(2))
    return load_victim(victim, folder).generate(codes)


def told_between_the_networks(victim: Victim, signum: int, step: int) -> Victim:
    """The signal comes when, in step `step`, the discriminator is new and the generator old."""
    descend: Any = victim.descend
    calls = []

    def noting(optimizer: Any, loss: Tensor, name: str) -> None:
        descend(optimizer, loss, name)
        calls.append(name)
        if len(calls) == 2 * step + 1:
            signal.raise_signal(signum)

    victim.descend = noting  # type: ignore[method-assign]
    return victim


def requeue(*_: object) -> None:
    raise SystemExit(-1)


@pytest.mark.parametrize(
    ("name", "step"), [("SIGINT", 1), ("SIGTERM", 2), ("SIGUSR1", 0), ("SIGUSR2", 3)]
)
def test_a_signal_in_the_middle_of_a_step_costs_nothing(
    fresh: Callable[[], Victim], tmp_path: Path, name: str, step: int
) -> None:
    whole = train(fresh(), tmp_path / "whole")
    signum = getattr(signal, name)
    if signum != signal.SIGINT:
        signal.signal(signum, requeue)
    before = signal.getsignal(signum)
    with pytest.raises(KeyboardInterrupt if signum == signal.SIGINT else SystemExit):
        train(told_between_the_networks(fresh(), signum, step), tmp_path / "halves")
    assert signal.getsignal(signum) == before
    kept = torch.load(tmp_path / "halves" / "work" / CHECKPOINT, weights_only=True)
    assert kept["done"] == step + 1
    assert torch.equal(train(fresh(), tmp_path / "halves"), whole)


def test_a_signal_that_the_process_outlives_does_not_end_training(
    fresh: Callable[[], Victim], tmp_path: Path
) -> None:
    seen = []
    signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    victim = told_between_the_networks(fresh(), signal.SIGTERM, 1)
    assert torch.equal(train(victim, tmp_path / "told"), train(fresh(), tmp_path / "quiet"))
    assert seen == [1]


def test_a_second_ctrl_c_does_not_wait() -> None:
    held = HeldSignals()
    held.hold_signals()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    held.release_signals()


def test_weights_that_were_trained_but_not_yet_written_are_not_lost(
    fresh: Callable[[], Victim], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the last step's checkpoint, before the weights were published."""
    whole = train(fresh(), tmp_path / "whole")
    signal.signal(signal.SIGTERM, requeue)
    steps = fresh().steps
    with pytest.raises(SystemExit):
        train(told_between_the_networks(fresh(), signal.SIGTERM, steps - 1), tmp_path / "halves")
    assert not (tmp_path / "halves" / "weights.safetensors").exists()
    assert torch.equal(train(fresh(), tmp_path / "halves"), whole)
