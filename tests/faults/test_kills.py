"""kill -9 at the worst moments: nothing is lost, and the scores in the end are the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults.conftest import Contents, child, contents, die, small
from omegaconf import DictConfig

from benchmark.job import attack, record, run, strips
from benchmark.job.filing import Filing
from benchmark.scores import scoring
from benchmark.show import output
from benchmark.store import entries
from victims.dcgan import DCGAN

pytestmark = pytest.mark.slow


def dying(place: Any, name: str, nth: int, after: bool) -> Callable[[], None]:
    """A job whose process is killed at the nth call of a function, before or after its work."""

    def work(config: DictConfig) -> None:
        original, calls = getattr(place, name), count(1)

        def fatal(*args: Any, **more: Any) -> Any:
            last = next(calls) == nth
            if last and not after:
                die()
            found = original(*args, **more)
            if last:
                die()
            return found

        setattr(place, name, fatal)
        run.run(config)

    return work


MOMENTS = {
    "in the third step of training": (DCGAN, "training_step", 3, True),
    "in the reference model's training": (DCGAN, "training_step", 15, False),
    "while a checkpoint is written": (torch, "save", 4, False),
    "when a checkpoint is written but not yet in its place": (torch, "save", 4, True),
    "after training, before the weights are written": (entries, "write_meta", 2, False),
    "when the victim is described but not yet published": (entries, "write_meta", 2, True),
    "before the victim is published": (entries.os, "rename", 2, False),
    "after the victim is published": (entries.os, "rename", 2, True),
    "while samples are released": (np, "save", 4, False),
    "before an attack": (scoring, "_score_block", 1, False),
    "in the midst of an attack": (scoring, "_keep_scores", 2, True),
    "before scores are published": (entries.os, "rename", 4, False),
    "when a strip is kept": (strips, "strip_of_attack", 1, True),
    "when scores with a strip are kept": (attack, "scores_with_strip", 1, True),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_job_goes_on_to_the_same_bits(
    moment: str, undisturbed: Contents, tmp_path: Path
) -> None:
    config = small(tmp_path)
    killed = child(partial(dying(*MOMENTS[moment]), config))
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    before = contents(tmp_path)
    assert before != undisturbed
    run.run(config)
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert after == undisturbed


def test_two_processes_that_want_one_job_train_each_model_once(
    undisturbed: Contents, tmp_path: Path
) -> None:
    def work() -> None:
        train = DCGAN.training_step

        def counted(self: DCGAN, *batch: Any) -> None:
            with (tmp_path / "steps").open("a") as file:
                file.write(f"{os.getpid()}\n")
            train(self, *batch)

        DCGAN.training_step = counted  # type: ignore[method-assign]
        run.run(small(tmp_path))

    workers = [child(work) for _ in range(2)]
    for worker in workers:
        worker.join(300)
        assert worker.exitcode == 0
    assert len((tmp_path / "steps").read_text().split()) == 12 + 12  # victim, reference
    assert contents(tmp_path) == undisturbed


def test_a_waiting_process_takes_over_from_a_killed_one(
    undisturbed: Contents, tmp_path: Path
) -> None:
    def slow() -> None:
        train = DCGAN.training_step

        def patient(self: DCGAN, *batch: Any) -> None:
            train(self, *batch)
            time.sleep(0.3)

        DCGAN.training_step = patient  # type: ignore[method-assign]
        run.run(small(tmp_path))

    first = child(slow)
    end = time.monotonic() + 60
    while not list(tmp_path.glob("store/victim/*.partial/work/last.ckpt")):
        assert time.monotonic() < end
        time.sleep(0.05)
    second = child(lambda: run.run(small(tmp_path)))
    time.sleep(1)
    first.kill()
    second.join(300)
    assert second.exitcode == 0
    assert contents(tmp_path) == undisturbed


# --- soak -----------------------------------------------------------------------------------------

SIZES = ("split.members=16", "split.members=24", "split.members=24 seed=1")
KILLS = int(os.environ.get("SOAK_KILLS", "12"))


def sweep(folder: Path, order: int) -> None:
    """The jobs of a small sweep one after the other, as the command does them, in one process."""
    for size in SIZES[::order]:
        config = small(folder, "victim.steps=60", *size.split())
        found = record.obtain_record(Filing(config), partial(run.run, config))
        output.write_folder(found.result, folder / "outputs" / f"{os.getpid()}")


def stage(folder: Path) -> str:
    """What the processes were at, for the tally."""
    kinds = sorted({p.parent.name for p in folder.glob("store/*/*.partial")} - {"result"})
    return "+".join(kinds) or "between"


def test_random_kills_of_two_processes_end_in_the_uninterrupted_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes run the same sweep from both ends; either is killed at random moments.

    SOAK_KILLS: how many kills, SOAK_SEED: of their moments (both in the environment). A sweep that
    gets through is compared and started again from an empty store.
    """
    monkeypatch.setattr("benchmark.show.page.render_job", lambda result: "drawn elsewhere")
    seed = int(os.environ.get("SOAK_SEED", time.time_ns() % 2**32))
    print(f"\nSOAK_SEED={seed} SOAK_KILLS={KILLS}", flush=True)
    rng = np.random.default_rng(seed)
    start = time.monotonic()
    sweep(tmp_path / "whole", 1)
    expected, whole = contents(tmp_path / "whole"), time.monotonic() - start
    kills, finished, tally = 0, 0, Counter[str]()
    folder = tmp_path / "killed"
    while kills < KILLS or finished == 0:
        workers = [child(partial(sweep, folder, order)) for order in (1, -1)]
        while any(worker.is_alive() for worker in workers) and kills < KILLS:
            time.sleep(rng.uniform(0, whole / 4))
            victim = workers[rng.integers(2)]
            if victim.is_alive():
                tally[stage(folder)] += 1
                victim.kill()
                victim.join()
                kills += 1
                workers[workers.index(victim)] = child(partial(sweep, folder, rng.choice([1, -1])))
        for worker in workers:
            worker.join(600)
            assert worker.exitcode == 0
        assert contents(folder) == expected
        assert not list(folder.glob("store/*/*.partial"))
        shutil.rmtree(folder)
        finished += 1
    print(f"{kills} kills, {finished} sweeps finished; killed at: {dict(tally)}", flush=True)
