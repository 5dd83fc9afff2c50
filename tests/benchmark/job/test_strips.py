"""Strips of reconstructions: which queries, what is found for them, and who makes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import composed
from omegaconf import DictConfig
from torch import Tensor

from attacks.latent_search import LatentSearch
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.job.run import run
from benchmark.job.strips import _find_among
from benchmark.job.workers import do_what_is_free
from benchmark.store.entries import Store


@pytest.fixture
def without_strips(done: Path, tmp_path: Path) -> DictConfig:
    """The config of a job that is done but for its strips."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "store" / "strip")
    return composed(tmp_path)


def test_workers_make_missing_strips_that_the_job_finds(
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
        for part in vars(strip):  # other queries in a batch: other rounding
            ours, theirs = (getattr(own[name], part) for own in (together, alone))
            np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_scores_of_the_victim_and_its_strip_come_from_one_search(
    without_strips: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(Path(without_strips.machine.store) / "scores")
    search, sizes = LatentSearch.reconstruct, []

    def counted(self: LatentSearch, view: object, queries: Tensor) -> object:
        sizes.append(len(queries))
        return search(self, view, queries)

    monkeypatch.setattr(LatentSearch, "reconstruct", counted)
    result = run(without_strips)
    assert len(sizes) == 4  # two attacks, victim and reference model
    for name in ("partial_black_box", "white_box"):
        assert set(-result.strips[name].losses) <= set(result.scores["score"])


def test_a_resumed_attack_whose_first_queries_are_kept_searches_for_its_strip() -> None:
    known, other = torch.rand(4, 1, 2, 2), torch.rand(1, 1, 2, 2)
    found = np.arange(4.0), torch.rand(4, 1, 2, 2)
    losses, images = _find_among(known, found, known[[2, 1]])
    assert losses.tolist() == [2.0, 1.0]
    assert torch.equal(images, found[1][[2, 1]])
    assert _find_among(known, found, torch.cat([known, other])) is None


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
