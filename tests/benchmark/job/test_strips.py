"""Strips of reconstructions: which queries, what is found for them, and who makes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import composed
from omegaconf import DictConfig

from attacks.latent_search import LatentSearch
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.job.run import run
from benchmark.job.workers import do_what_is_free
from benchmark.store.entries import Store


@pytest.fixture
def without_strips(done: Path, tmp_path: Path) -> DictConfig:
    """The config of a job that is done but for its strips."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "store" / "strip")
    return composed(tmp_path)


def test_workers_make_the_strips_that_the_job_makes_alone(
    done: Path, without_strips: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run(composed(done)).strips
    do_what_is_free(prepare(open_request(without_strips)), first=0)
    assert len(list(Store(without_strips.machine.store).find("strip"))) == len(alone) == 3

    def refuse(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(LatentSearch, "reconstruct", refuse)
    together = run(without_strips).strips
    for name, strip in alone.items():
        for part in vars(strip):
            np.testing.assert_array_equal(getattr(together[name], part), getattr(strip, part))


def test_a_strip_shows_the_first_queries_of_each_kind_with_their_scores(done: Path) -> None:
    result = run(composed(done))
    queries = prepare(open_request(composed(done))).trial.queries
    places = [np.flatnonzero(queries.is_member == kind)[:8] for kind in (True, False)]
    for name, strip in result.strips.items():
        ours = (result.scores["attack"] == name) & (result.scores["calibrated"] == "none")
        scores = result.scores[ours].set_index("query")["score"][
            queries.numbers[np.concatenate(places)]
        ]
        np.testing.assert_allclose(-strip.losses, scores, atol=1e-4)
        np.testing.assert_array_equal(
            strip.queries, queries.records(np.concatenate(places)).numpy()
        )
