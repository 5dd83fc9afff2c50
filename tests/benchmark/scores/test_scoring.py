"""An attack at work: memory that runs out, parts that are kept, parts that are damaged."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import names
from omegaconf import DictConfig
from torch import Tensor

from attacks.base import Learns, Learnt
from benchmark.job import run
from benchmark.models.memory import Fitting
from benchmark.scores.scoring import BadScores, chunk, ready_to_score, score_all
from benchmark.store.entries import Store
from victims.access import FullBlackBox, View
from victims.errors import UserError
from victims.vaegan import VAEGAN

VIEW = View(torch.device("cpu"), 64)
QUERIES = torch.arange(25.0)[:, None]


def blocks() -> Iterator[tuple[int, Tensor]]:
    return ((start, QUERIES[start : start + 10]) for start in range(0, 25, 10))


def doubled(view: View, queries: Tensor) -> np.ndarray:
    return 2.0 * queries[:, 0].numpy()


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_when_memory_runs_out_every_attack_goes_on_with_half_the_batch(
    config: Callable[..., DictConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = [
        "victim=vaegan",
        "attack=[full_black_box,partial_black_box,white_box,discriminator,encoder]",
    ]
    settings += ["calibration=none", "distance=l2", "machine.batch_size=40"]
    composed = config(*settings)
    whole = run.run(composed).scores
    for kind in ("bank", "scores", "strip"):
        shutil.rmtree(Path(composed.machine.store) / kind)
    for name in ("decode", "discriminate", "reconstruct"):
        limited(monkeypatch, VAEGAN, name, 12)
    with caplog.at_level(logging.WARNING):
        short = run.run(composed).scores
    assert "going on with batch size 10" in caplog.text  # 40, 20, 10
    # Searches of the latent space enlarge what networks round by the size of the batch.
    np.testing.assert_allclose(short["score"], whole["score"], rtol=1e-3, atol=1e-5)


def limited(monkeypatch: pytest.MonkeyPatch, victim: type, name: str, most: int) -> None:
    """The method fails like a GPU does when it is given more than `most` records."""
    original = getattr(victim, name)

    def guarded(self: Any, x: Tensor, *rest: Any) -> Tensor:
        if len(x) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(self, x, *rest)

    monkeypatch.setattr(victim, name, guarded)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
        MemoryError(),
    ],
)
def test_every_kind_of_lack_of_memory_is_known(error: Exception) -> None:
    asked = []

    def work(view: View) -> int:
        asked.append(view.batch_size)
        if view.batch_size > 9:
            raise error
        return view.batch_size

    fitting = Fitting(VIEW)
    assert fitting(work) == 8
    assert fitting(work) == 8  # it remembers
    assert asked == [64, 32, 16, 8, 8]


def test_other_errors_are_passed_on() -> None:
    def broken(view: View) -> None:
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        Fitting(VIEW)(broken)


def test_a_record_that_does_not_fit_is_one_clear_line() -> None:
    def greedy(view: View) -> None:
        raise MemoryError

    with pytest.raises(UserError, match=r"machine\.batch_size=1: even a single record"):
        Fitting(VIEW)(greedy)


# --- parts ----------------------------------------------------------------------------------------


def test_a_damaged_part_is_scored_again_and_the_others_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = tmp_path / "work"
    np.testing.assert_array_equal(score_all(doubled, VIEW, blocks()), 2.0 * np.arange(25))
    whole = score_all(doubled, VIEW, blocks(), work)
    np.testing.assert_array_equal(whole, 2.0 * np.arange(25))
    cut, flipped = work / "0.npz", work / "10.npz"
    cut.write_bytes(cut.read_bytes()[:100])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    asked = []

    def counted(view: View, queries: Tensor) -> np.ndarray:
        asked.append(int(queries[0]))
        return doubled(view, queries)

    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(score_all(counted, VIEW, blocks(), work), whole)
    assert asked == [0, 10]
    assert caplog.text.count("is damaged") == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda q: np.full(len(q), np.nan), "10 of 10 scores that are not finite"),
        (lambda q: np.zeros((len(q), 1)), r"shape \(10, 1\) for 10 queries; \(10,\) is wanted"),
        (lambda q: None, r"scores of shape \(\)"),
    ],
)
def test_scores_that_are_none_are_refused(
    bad: Callable[[Tensor], np.ndarray], message: str
) -> None:
    with pytest.raises(BadScores, match=message):
        score_all(lambda view, queries: bad(queries), VIEW, blocks())


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_a_part_takes_no_more_than_minutes(config: Callable[..., DictConfig], scale: str) -> None:
    attacks = names("attack")
    every = config(f"attack=[{','.join(attacks)}]", f"scale={scale}").attack
    for name in attacks:
        spent = every[name].get("max_evals", 1)
        rows = chunk(SimpleNamespace(evaluations=spent))
        assert 64 <= rows <= 512, name
        assert rows * spent <= max(2**18, 64 * spent), name


class Columns(Learns):
    """Learns an array that lies column by column, as scikit-learn's components do."""

    access = FullBlackBox

    def learn(self, view: Any, work: Path) -> Learnt:
        return {"axes": np.asfortranarray(np.arange(6.0).reshape(2, 3))}

    def judge(self, learnt: Learnt, view: Any, queries: Tensor) -> np.ndarray:
        return learnt["axes"].sum(1)


def test_what_is_learnt_comes_back_from_the_store_as_it_was(tmp_path: Path) -> None:
    view, note = FullBlackBox(torch.device("cpu"), 4, np.zeros((1, 3))), {"attack": "c", "code": ""}
    score, _ = ready_to_score(Store(tmp_path), {"attack": "c"}, note, Columns(), view)
    assert score(view, torch.zeros(2, 3)).tolist() == [3.0, 12.0]


class Forgetful(Columns):
    """Keeps on itself what it should return: a later job would not find it there."""

    def learn(self, view: Any, work: Path) -> Learnt:
        self.own = super().learn(view, work)["axes"]
        return {}

    def judge(self, learnt: Learnt, view: Any, queries: Tensor) -> np.ndarray:
        return self.own.sum(1)


def test_what_learn_puts_on_the_attack_is_missing_the_first_time_too(tmp_path: Path) -> None:
    view, note = FullBlackBox(torch.device("cpu"), 4, np.zeros((1, 3))), {"attack": "c", "code": ""}
    score, _ = ready_to_score(Store(tmp_path), {"attack": "c"}, note, Forgetful(), view)
    for judged in (score, Forgetful().score):
        with pytest.raises(AttributeError, match="own"):
            judged(view, torch.zeros(2, 3))
