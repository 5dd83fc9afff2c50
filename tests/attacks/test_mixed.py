"""Distances of mixed columns, against their definitions written out column by column."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.impute import SimpleImputer

from attacks.distances import L2
from attacks.features import PrincipalComponents, Values
from attacks.full_black_box import NearestSample
from attacks.latent_search import start_nearest
from attacks.mixed import ByKind, Gower, Standardised
from attacks.monte_carlo import CLOSEST, MonteCarlo
from attacks.nearest_record import ClosestRecord, ClosestRecordRatio, NeighbourDensity
from victims.access import (
    AccessibleEncoder,
    FullBlackBox,
    FullBlackBoxWithReference,
    PartialBlackBox,
)
from victims.errors import Unsuited, UserError
from victims.schema import Column, Schema

SCHEMA = Schema(
    [
        Column("city", "category", ("Bonn", "Oslo", "Rome")),
        Column("age", "integer", gaps=True),
        Column("smokes", "binary"),
        Column("income", "numeric"),
    ]
)


def rows(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return SCHEMA.rows_of_table(
        {
            "city": rng.choice(["Bonn", "Oslo", "Rome"], n),
            "age": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 90, n)),
            "smokes": rng.integers(0, 2, n),
            "income": rng.lognormal(8, 1, n),
        }
    )


def view(n: int = 300) -> FullBlackBox:
    return FullBlackBox(torch.device("cpu"), 64, rows(n, 0), schema=SCHEMA)


def by_hand(one: np.ndarray, other: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """Gower's and the standardised distance of two records."""
    parts = []
    for column, span in SCHEMA.spans:
        if column.kind == "category":
            parts.append((float((one[span] != other[span]).any()),) * 2)
            continue
        if column.gaps:
            number, flag = span.start, span.stop - 1
            known = samples[samples[:, flag] == 0, number].astype(float)
            years = [known.mean() if own[flag] else own[number] for own in (one, other)]
            apart = abs(years[0] - years[1])
            parts += [(apart / np.ptp(known), apart / known.std())]
            parts += [(abs(one[flag] - other[flag]),) * 2]
            continue
        for place in range(span.start, span.stop):
            apart, known = abs(one[place] - other[place]), samples[:, place].astype(float)
            is_number = place == span.start and column.kind != "binary"
            ranged = apart / np.ptp(known) if is_number else apart
            parts.append((ranged, apart / known.std() if is_number else apart))
    gower, standard = np.array(parts).T
    return gower.mean(), np.sqrt((standard**2).sum())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_distances_are_those_of_the_columns(seed: int) -> None:
    one, other = rows(1, seed), rows(1, seed + 1)
    expected = by_hand(one[0], other[0], view().released)
    for distance, wanted in zip((Gower(), Standardised()), expected, strict=True):
        own = distance.of(view())
        found = own(own.targets(torch.from_numpy(one)), torch.from_numpy(other))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_closest_records_are_those_of_standardised_columns() -> None:
    queries, given = rows(40, 1), view()
    own = Standardised().of(given)
    scaled = [own.scaled(torch.from_numpy(x)).numpy() for x in (queries, given.released)]
    expected = cdist(*scaled).min(1)
    found = -ClosestRecord().score(given, torch.from_numpy(queries))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    attack = NearestSample(Standardised(), 3)
    np.testing.assert_allclose(-attack.score(given, torch.from_numpy(queries)), expected, rtol=1e-4)


def every_gower(queries: np.ndarray, others: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Gower's distances of all pairs, one by one."""
    return np.array([[by_hand(one, other, samples)[0] for other in others] for one in queries])


def test_attacks_by_gower_are_those_of_a_loop() -> None:
    """Two of the queries were released."""
    samples, reference, queries = (
        rows(60, 0),
        rows(24, 1),
        np.concatenate([rows(60, 0)[:2], rows(8, 2)]),
    )
    own = FullBlackBoxWithReference(torch.device("cpu"), 7, samples, reference, schema=SCHEMA)
    asked, by = torch.from_numpy(queries), Gower()
    to_samples = every_gower(queries, samples, samples)
    to_reference = every_gower(queries, reference, samples)
    near = {"samples": np.sort(to_samples, 1), "reference": np.sort(to_reference, 1)}

    def same(found: np.ndarray, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)

    same(-ClosestRecord(by).score(own, asked), near["samples"][:, 0])
    same(-NearestSample(by, 1).score(own, asked), near["samples"][:, 0])
    ratio = near["samples"][:, 0] / near["samples"][:, 1]
    same(-ClosestRecordRatio(by).score(own, asked), ratio)
    means = [near[name][:, :5].mean(1) for name in ("reference", "samples")]
    same(NeighbourDensity(5, by).score(own, asked), np.log(means[0] / means[1]))
    between = every_gower(reference, samples, samples)
    epsilon = np.median(between.min(1)) * (1 + 1e-6)
    logs = np.where(to_samples <= epsilon, -np.log(np.maximum(to_samples / epsilon, CLOSEST)), 0)
    same(MonteCarlo(Values(by), "median").score(own, asked), logs.mean(1))
    same(MonteCarlo(Values(by), "median", "share").score(own, asked), (logs > 0).mean(1))
    assert 0 < np.count_nonzero(logs.mean(1)) < len(queries)


def test_the_closest_sample_by_gower_need_not_be_close_by_euclid() -> None:
    """Three small differences are further apart than one large one, but not by Euclid."""
    columns = Schema([Column(name, "numeric") for name in "abc"])
    released = np.array([[0.4, 0.4, 0.4], [0, 0, 1], [1, 1, 0]], np.float32)
    own = FullBlackBox(torch.device("cpu"), 8, released, schema=columns)
    losses, found = NearestSample(Gower(), 1).reconstruct(own, torch.zeros(1, 3))
    assert found.tolist() == [[0, 0, 1]]
    assert losses == pytest.approx(1 / 3)
    assert NearestSample(L2(), 1).reconstruct(own, torch.zeros(1, 3))[1][0, 0] == pytest.approx(0.4)
    codes = np.arange(3, dtype=np.float32)[:, None]  # searches of the latent space begin there, too
    chosen = PartialBlackBox(own.device, 8, released, codes, lambda z: z, schema=columns)
    for distance, nearest in ((Gower(), 1), (L2(), 0)):
        assert start_nearest(chosen, torch.zeros(1, 3), 1, distance).tolist() == [[[nearest]]]


@pytest.mark.parametrize("distance", [Standardised(), Gower()])
def test_missing_numbers_are_those_of_scikit_learn(distance: Standardised | Gower) -> None:
    """Its imputer fills them by the mean, and adds a column that says which they are."""
    tables = [SCHEMA.table_of_rows(own) for own in (rows(300, 0), rows(40, 1))]
    fitted = SimpleImputer(add_indicator=True).fit(tables[0][["age"]])
    ages, wealth = tables[0]["age"].dropna(), tables[0]["income"]
    is_gower = isinstance(distance, Gower)
    spread = [np.ptp(own) if is_gower else own.std(ddof=0) for own in (ages, wealth)]

    def lay_out(table: pd.DataFrame) -> np.ndarray:
        age, missing = fitted.transform(table[["age"]]).T
        cities = pd.get_dummies(table["city"]).to_numpy(float) * (0.5 if is_gower else 0.5**0.5)
        numbers = age / spread[0], missing, table["smokes"], table["income"] / spread[1]
        return np.column_stack([cities, *numbers])

    wanted = cdist(*map(lay_out, tables), "cityblock" if is_gower else "euclidean")
    own = distance.of(view())
    found = [own.scaled(torch.from_numpy(x)) for x in (rows(300, 0), rows(40, 1))]
    found = cdist(*found, "cityblock" if is_gower else "euclidean")
    np.testing.assert_allclose(found, wanted / (5 if is_gower else 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("feature", [Values(), Values(Gower()), PrincipalComponents(3)])
def test_no_unit_matters_where_numbers_are_missing(feature: Values) -> None:
    """Ages in days since another year are the same ages, as those of an audit are."""
    columns = [replace(c, low=50.0, high=60.0) if c.gaps else c for c in SCHEMA.columns]
    other = Schema(columns)
    moved = [other.rows_of_table(SCHEMA.table_of_rows(own)) for own in (rows(300, 0), rows(9, 1))]
    there = FullBlackBox(torch.device("cpu"), 64, moved[0], schema=other)
    found = feature(feature.learn(there), torch.from_numpy(moved[1]))
    wanted = feature(feature.learn(view()), torch.from_numpy(rows(9, 1)))
    between = [cdist(own, own) for own in (found, wanted)]
    np.testing.assert_allclose(*between, rtol=1e-3, atol=1e-4)


def test_a_column_that_is_missing_throughout_says_only_that() -> None:
    released = view().released.copy()
    released[:, 3:5] = (0, 1)
    given = FullBlackBox(torch.device("cpu"), 64, released, schema=SCHEMA)
    one, other = rows(1, 0), rows(1, 0)
    one[:, 3:5], other[:, 3:5] = (44, 0), (0, 1)
    for distance, wanted in ((Standardised(), 1), (Gower(), 1 / 5)):
        own = distance.of(given)
        found = own(own.targets(torch.from_numpy(one)), torch.from_numpy(other))
        assert found.item() == pytest.approx(wanted)


def test_gradients_pass_where_a_number_may_be_missing() -> None:
    """A search of the latent space moves the chance that one is missing, too."""
    own, outputs = Standardised().of(view()), torch.from_numpy(rows(3, 1))
    outputs[:, 4] = 0.3
    outputs.requires_grad_()
    own(own.targets(torch.from_numpy(rows(3, 2))), outputs).sum().backward()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad[:, 3:5] != 0).all()


def test_the_distance_follows_the_kind_of_records() -> None:
    queries, given = torch.from_numpy(rows(9, 1)), view()
    np.testing.assert_array_equal(
        NearestSample(ByKind(), 3).score(given, queries),
        NearestSample(Standardised(), 3).score(given, queries),
    )
    plain = FullBlackBox(given.device, 64, given.released)
    np.testing.assert_array_equal(
        NearestSample(ByKind(), 3).score(plain, queries),
        NearestSample(L2(), 3).score(plain, queries),
    )


def test_features_are_standardised_and_no_unit_matters(tmp_path: Path) -> None:
    given, queries = view(), torch.from_numpy(rows(20, 1))
    cents, factor = view(), np.ones(SCHEMA.width, np.float32)
    factor[-1] = 100
    cents = FullBlackBox(given.device, 64, given.released * factor, schema=SCHEMA)
    for feature in (Values(), PrincipalComponents(3)):
        one = feature(feature.learn(given), queries)
        other = feature(feature.learn(cents), queries * torch.from_numpy(factor))
        np.testing.assert_allclose(one.abs(), other.abs(), rtol=1e-2, atol=1e-2)
    # Of a table of which nothing is known the columns stay as they are.
    plain = FullBlackBox(given.device, 64, given.released)
    assert torch.equal(Values()(Values().learn(plain), queries), queries)


def test_a_column_that_is_released_with_one_value_is_left_out() -> None:
    released = view().released.copy()
    released[:, -1] = 7
    given, queries = FullBlackBox(torch.device("cpu"), 64, released, schema=SCHEMA), rows(9, 1)
    for feature in (Values(), PrincipalComponents(3)):
        found = feature(feature.learn(given), torch.from_numpy(queries))
        other = queries.copy()
        other[:, -1] += 100
        assert torch.isfinite(found).all()
        assert torch.equal(feature(feature.learn(given), torch.from_numpy(other)), found)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(UserError, match="compares tables"):
        Gower().refuse((1, 8, 8))
    for attack in (
        ClosestRecord(Gower()),
        NeighbourDensity(3, Gower()),
        MonteCarlo(Values(Gower())),
    ):
        with pytest.raises(UserError, match="compares tables"):
            attack.refuse((1, 8, 8))
    with pytest.raises(Unsuited, match="what the columns are is not known"):
        ClosestRecord(Gower()).score(
            FullBlackBox(torch.device("cpu"), 8, rows(9, 0)), torch.from_numpy(rows(2, 1))
        )
    encoder = AccessibleEncoder(torch.device("cpu"), 8, lambda x, seed: x)
    with pytest.raises(Unsuited, match="distance=l2"):
        Gower().of(encoder)
    assert isinstance(L2().of(encoder), L2)
