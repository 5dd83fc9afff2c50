"""One way to score for jobs and audits: stored under the target, renewed where code was edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from benchmark.data.dataset import in_memory
from benchmark.data.queries import Queries
from benchmark.scores.target import Attacker, scores_of
from benchmark.store.entries import Store
from victims.access import FullBlackBox, View, grant_view
from victims.errors import NoAccess

RECORDS = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)


class Mean:
    access = FullBlackBox

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score(self, view: FullBlackBox, queries: torch.Tensor) -> np.ndarray:
        self.asked.append(len(queries))
        return queries.mean(1).double().numpy()


class Samples:
    kind: ClassVar[str] = "scores"

    def __init__(self, filed: dict[str, Any]) -> None:
        self.filed = filed

    def view(self, access: type[View]) -> Any:
        return grant_view(
            {"device": torch.device("cpu"), "batch_size": 4, "released": RECORDS}, access
        )

    def filed_under(self, access: type[View]) -> dict[str, Any]:
        return self.filed


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def attacker(attack: Any, code: str = "a", renew: bool = False) -> Attacker:
    return Attacker("mean", attack, {"attack": "mean"}, {"attack": "mean", "code": code}, renew)


QUERIES = Queries(in_memory(RECORDS), np.arange(10)[::-1], np.arange(10) < 5, np.arange(10))


def test_scores_are_made_once_for_a_target_and_its_queries(store: Store) -> None:
    attack = Mean()
    for _ in range(2):
        found, _ = scores_of(attacker(attack), Samples({"model": 1}), QUERIES, store, together=4)
        np.testing.assert_array_equal(found, RECORDS[::-1].mean(1))
    assert attack.asked == [4, 4, 2]
    scores_of(attacker(attack), Samples({"model": 2}), QUERIES, store)
    scores_of(attacker(attack), Samples({"model": 1}), QUERIES.take(np.arange(7)), store)
    assert attack.asked == [4, 4, 2, 10, 7]


def test_what_nothing_stands_for_is_not_stored(store: Store) -> None:
    attack = Mean()
    for _ in range(2):
        scores_of(attacker(attack), Samples({}), QUERIES, store)
    assert attack.asked == [10, 10]


@pytest.mark.parametrize(
    ("code", "renew", "times"), [("b", True, 2), ("a", True, 1), ("b", False, 1)]
)
def test_only_edited_code_is_run_again_where_that_is_asked(
    store: Store, code: str, renew: bool, times: int
) -> None:
    attack = Mean()
    scores_of(attacker(attack), Samples({"model": 1}), QUERIES, store)
    scores_of(attacker(attack, code, renew), Samples({"model": 1}), QUERIES, store)
    assert len(attack.asked) == times


def test_a_view_is_its_fields_or_nothing() -> None:
    parts = {"device": torch.device("cpu"), "batch_size": 4, "released": RECORDS, "secret": 1}
    given = {"device", "batch_size", "released", "schema"}  # a schema tells what records look like
    assert set(vars(grant_view(parts, FullBlackBox))) == given
    del parts["released"]
    with pytest.raises(NoAccess, match="no released is given"):
        grant_view(parts, FullBlackBox)
    with pytest.raises(NoAccess, match="because"):
        grant_view(parts, FullBlackBox, {"released": "because"})
