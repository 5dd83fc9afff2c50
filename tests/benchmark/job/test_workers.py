"""A job's models made by several processes: nobody waits, nothing differs, nothing is orphaned."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import composed
from filelock import FileLock, Timeout
from omegaconf import DictConfig

from benchmark.job.prepare import Prepared, prepare
from benchmark.job.request import open_request
from benchmark.job.run import run
from benchmark.job.workers import do_what_is_free, workers
from benchmark.store.entries import Store

Config = Callable[..., DictConfig]
CHEAP = ["distance=l2", "quality=none", "attack=[full_black_box,white_box]"]
HALVES = [*CHEAP, "reference=halves", "reference.count=2"]


def trained(job: Prepared) -> list[bool]:
    return [job.store.has("victim", recipe.filed_under(data)) for recipe, data in job.models]


def test_what_another_process_makes_is_left_to_it(config: Config) -> None:
    job = prepare(open_request(config(*HALVES)))
    recipe, data = job.models[1]
    folder = job.store.folder("victim", recipe.filed_under(data))
    folder.parent.mkdir(parents=True)
    with FileLock(f"{folder}.lock"):
        do_what_is_free(job, first=1)
        assert trained(job) == [True, False, True]
        assert len(list(job.store.find("scores"))) == 4  # two attacks on each of two models
    do_what_is_free(job, first=1)
    assert trained(job) == [True, True, True]
    assert len(list(job.store.find("scores"))) == 6


def test_all_models_are_trained_before_the_first_attack(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, then = prepare(open_request(config(*HALVES))), []
    monkeypatch.setattr(
        "benchmark.job.workers.scores_under", lambda *of: then.append(trained(of[0]))
    )
    do_what_is_free(job, first=2)
    assert then == [[True] * 3] * 6  # two attacks on each of three models


def test_workers_judge_the_victim_s_samples_once(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    (earlier,) = (json.loads((folder / "quality.json").read_text()) for folder in judged(tmp_path))
    shutil.rmtree(tmp_path / "store" / "quality")
    for first in (1, 0):
        do_what_is_free(prepare(open_request(composed(tmp_path))), first=first)
    (now,) = (json.loads((folder / "quality.json").read_text()) for folder in judged(tmp_path))
    assert now == pytest.approx(earlier, rel=1e-4)


def judged(place: Path) -> list[Path]:
    return [folder for folder, _ in Store(place / "store").find("quality")]


def test_how_many_pay(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(missing: int, *words: str) -> int:
        return workers(open_request(config(*CHEAP, *words)).machine, missing)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr("benchmark.job.workers._memory", lambda: 3 * 2**30)
    assert count(8) == 1  # scale=smoke
    assert count(8, "machine.workers=null") == 2  # as memory allows
    assert count(1, "machine.workers=null") == 1
    assert count(8, "machine.workers=3") == 3
    monkeypatch.setattr("benchmark.job.workers._memory", lambda: 2.0**40)
    assert count(8, "machine.workers=null") == 4  # a core each


def weights(root: Path) -> dict[str, bytes]:
    """Of every model and attack in a store, what it is made of, byte by byte."""
    store, files = Store(root), {"victim": "weights.safetensors", "scores": "scores.npy"}
    return {
        folder.name: (folder / file).read_bytes()
        for kind, file in files.items()
        for folder, _ in store.find(kind)
    }


@pytest.mark.slow
def test_workers_end_in_the_weights_and_scores_of_one(
    config: Config,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [*HALVES, "reference.count=2", "victim.steps=40"]
    caplog.set_level(logging.INFO)
    found = []
    for count in (2, 1):
        caplog.clear()
        root = tmp_path / str(count)

        def once_the_other_trains(
            job: Prepared, first: int, victims: Path = root / "victim"
        ) -> None:
            end = time.monotonic() + 240
            while not list(victims.glob("*")):
                assert time.monotonic() < end, "the worker trains nothing"
                time.sleep(0.05)
            do_what_is_free(job, first)

        monkeypatch.setattr("benchmark.job.workers.do_what_is_free", once_the_other_trains)
        own = [f"machine.store={root}", f"machine.workers={count}"]
        run(config(*words, *own, f"machine.threads={count}"))
        found.append((weights(root), caplog.text.count("training on")))
    (together, by_this_process), (alone, every) = found
    assert together == alone
    assert len(alone) == 9  # three models, two attacks on each
    assert by_this_process < every == 3


@pytest.mark.slow
def test_workers_end_when_their_job_is_killed_and_keep_what_they_did(tmp_path: Path) -> None:
    words = [*CHEAP, "scale=smoke", "logger=none", "machine.progress=false", "machine.workers=2"]
    words += ["victim.steps=1000000", "machine.threads=2", "machine.checkpoint_every_s=1"]
    words += [f"machine.store={tmp_path}/store", f"machine.outputs={tmp_path}/out"]
    job = subprocess.Popen([sys.executable, "-m", "benchmark", *words])
    try:
        end = time.monotonic() + 240
        while len(kept := list(tmp_path.glob("store/victim/*/work/last.ckpt"))) < 2:
            assert time.monotonic() < end, "no two models in training"
            time.sleep(0.2)
    finally:
        os.kill(job.pid, signal.SIGKILL)
    job.wait()
    for checkpoint in kept:
        place = checkpoint.parents[1].with_suffix(".lock")
        try:
            FileLock(place, timeout=60).acquire().lock.release()
        except Timeout:
            pytest.fail("a worker outlived its job")
        assert checkpoint.exists()
