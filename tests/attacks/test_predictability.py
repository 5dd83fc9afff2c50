"""Forests as arrays against scikit-learn's own answers, and what columns are foretold by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PEOPLE, people
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from attacks.forests import SHARE, ask_forest, grow_forest
from attacks.predictability import ErrorPrediction
from victims.access import FullBlackBox
from victims.errors import UserError
from victims.schema import Column, Schema


def attack(columns: int = 99) -> ErrorPrediction:
    return ErrorPrediction(trees=8, samples=1000, columns=columns, seed=3)


def view(rows: np.ndarray, schema: Schema | None = PEOPLE) -> FullBlackBox:
    return FullBlackBox(torch.device("cpu"), 64, rows, schema=schema)


def test_a_forest_of_arrays_says_what_scikit_learn_says() -> None:
    rng = np.random.default_rng(0)
    x, asked = rng.normal(size=(300, 6)).astype("f"), rng.normal(size=(200, 6)).astype("f")
    y = x[:, 0] - x[:, 1] ** 2 + 0.1 * rng.normal(size=300)
    model = RandomForestRegressor(7, max_features=SHARE, min_samples_leaf=3, random_state=1)
    found = ask_forest(grow_forest(x, y, trees=7, seed=1, least=3), asked)
    np.testing.assert_allclose(found.mean(1), model.fit(x, y).predict(asked), rtol=1e-5, atol=1e-6)
    level = np.where(y > 0, 5, 2) + (x[:, 3] > 1)
    peer = RandomForestClassifier(7, random_state=1).fit(x, level)
    found = ask_forest(grow_forest(x, level, trees=7, seed=1, levels=True), asked)
    expected = [peer.classes_[tree.predict(asked).astype(int)] for tree in peer.estimators_]
    np.testing.assert_array_equal(found, np.stack(expected, 1))


def test_columns_that_follow_from_others_are_foretold_and_others_are_not(tmp_path: Path) -> None:
    schema = Schema(
        [
            Column("colour", "category", ("red", "green", "blue")),
            Column("size", "numeric"),
            Column("price", "numeric"),
            Column("luck", "numeric"),
        ]
    )

    def rows(seed: int, n: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        size = rng.random(n)
        colour = np.array(["red", "green", "blue"], object)[(3 * size).astype(int)]
        table = {"colour": colour, "size": size, "price": np.exp(9 * size), "luck": rng.random(n)}
        return schema.rows_of_table(table)

    given = view(rows(0, 900), schema)
    learnt, asked = attack().learn(given, tmp_path), rows(1, 100)
    held, errors = attack().foretell_columns(learnt, given, torch.from_numpy(asked))
    assert (errors.mean(0)[:3] < 0.03).all()
    assert 0.25 < errors.mean(0)[3] < 0.45  # two random ranks are a third apart
    np.testing.assert_array_equal(held[:, 0], asked[:, :3].argmax(1))
    np.testing.assert_allclose(held[:, 2], held[:, 1], atol=1e-6)  # ranks know no unit
    scores = attack().judge(learnt, given, torch.from_numpy(asked))
    np.testing.assert_allclose(scores, -errors.mean(1))


def test_what_stands_for_a_missing_number_changes_nothing() -> None:
    """Jobs store 0 there, which another unit moves among the known numbers."""
    moved = [replace(c, low=c.low - 50) if c.gaps else c for c in PEOPLE.columns]
    other = Schema(moved)
    assert other.has_gaps
    tables = [PEOPLE.table_of_rows(people(*own).numpy()) for own in ((0, 300), (1, 50))]
    found = []
    for schema in (PEOPLE, other):
        released, asked = (schema.rows_of_table(table) for table in tables)
        found.append(attack().score(view(released, schema), torch.from_numpy(asked)))
    np.testing.assert_allclose(*found, atol=0.02)  # rounding moves a few thresholds


def test_fewer_columns_are_drawn_and_images_are_refused(tmp_path: Path) -> None:
    given = view(people(0, 200).numpy())
    learnt = attack(columns=3).learn(given, tmp_path)
    assert len({name.split(".")[0] for name in learnt if "." in name}) == 3
    with pytest.raises(UserError, match="foretells columns of tables"):
        attack().refuse((1, 8, 8))
    plain: Any = view(given.released, None)
    assert np.isfinite(attack().score(plain, people(1, 5))).all()
