"""Of tables a victim releases records; who chooses codes sees what its network puts out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import names
from omegaconf import DictConfig

from benchmark.config.machine import machine_of
from benchmark.data.dataset import Dataset, in_memory
from benchmark.job.request import open_request
from benchmark.models.recipe import Model, Recipe, Workshop, obtain_model
from benchmark.models.release import Form
from benchmark.scores.target import Trained
from benchmark.store.entries import Store
from victims.access import FullBlackBox, PartialBlackBox
from victims.errors import UserError
from victims.schema import Column, Schema

Config = Callable[..., DictConfig]


def table(kind: str) -> Dataset:
    rng = np.random.default_rng(0)
    values = {
        "binary": rng.integers(0, 2, (40, 6)),
        "counts": rng.poisson(3.0, (40, 6)),
        "mixed": np.hstack([rng.integers(0, 2, (40, 3)), rng.random((40, 3))]),
    }[kind]
    return in_memory(values.astype(np.float32))


def workshop(settings: DictConfig, dataset: Dataset) -> Workshop:
    return Workshop(dataset, Store(settings.machine.store), machine_of(settings.machine))


def model(config: Config, victim: str, dataset: Dataset, bank: int = 50) -> Model:
    changed = (
        ["victim.kind=count"]
        if victim == "medgan" and not Form(dataset).binary_columns.all()
        else []
    )
    gaussian = not Form(dataset).binary_columns.all() and victim == "vae_table"
    changed += ["victim.likelihood=gaussian"] if gaussian else []
    settings = config(f"victim={victim}", "data=randhie_binary", "distance=l2", *changed)
    blueprint = dataclasses.replace(open_request(settings).victim, bank=bank)
    try:
        return obtain_model(
            Recipe(blueprint, np.arange(20), 1, "victim"), workshop(settings, dataset)
        )
    except UserError as error:
        pytest.skip(str(error))  # it makes images


def mixed() -> Dataset:
    rng = np.random.default_rng(0)
    schema = Schema(
        [
            Column("city", "category", ("", "Oslo", "Rome")),
            Column("visits", "integer", gaps=True, low=0.0, high=9.0),
            Column("smokes", "binary"),
            Column("income", "numeric"),
        ]
    )
    table = {
        "city": rng.choice(["", "Oslo", "Rome"], 40),
        "visits": np.where(rng.random(40) < 0.2, np.nan, rng.integers(0, 10, 40)),
        "smokes": rng.integers(0, 2, 40),
        "income": rng.lognormal(size=40),
    }
    return dataclasses.replace(in_memory(schema.rows_of_table(table)), schema=schema)


@pytest.mark.parametrize("victim", ["ctgan", "tab_ddpm", "tvae", "vae_table", "wgan_gp_table"])
def test_of_mixed_columns_whole_records_are_released(config: Config, victim: str) -> None:
    """Also by a victim that knows nothing of categories."""
    dataset = mixed()
    made = model(config, victim, dataset)
    released = torch.from_numpy(np.array(made.released))
    assert dataset.schema is not None
    assert torch.equal(dataset.schema.nearest_records(released), released)
    again = dataset.schema.rows_of_table(dataset.schema.table_of_rows(released.numpy()))
    np.testing.assert_allclose(again, released, atol=1e-6)
    assert Form(dataset).key_part() != Form(in_memory(dataset.values)).key_part()


@pytest.mark.parametrize("kind", ["binary", "counts", "mixed"])
@pytest.mark.parametrize("victim", [name for name in names("victim") if name != "package"])
def test_released_are_records_of_the_datas_kind(config: Config, victim: str, kind: str) -> None:
    dataset = table(kind)
    made = model(config, victim, dataset)
    form, records, outputs = Form(dataset), np.array(made.released), np.array(made.outputs)
    assert (records[:, form.whole_columns] == np.round(records[:, form.whole_columns])).all()
    assert np.isin(records[:, form.binary_columns], (0, 1)).all()
    if victim != "tvae":  # whose likelihood adds noise
        np.testing.assert_array_equal(
            records[:, ~form.whole_columns], outputs[:, ~form.whole_columns]
        )
    codes = torch.from_numpy(made.codes)
    torch.testing.assert_close(made.victim.generate(codes), torch.from_numpy(outputs))
    assert victim == "tab_ddpm" or not np.array_equal(records, outputs)  # whose quantiles are whole


def test_views_with_codes_see_outputs_and_the_others_records(config: Config) -> None:
    made = model(config, "vae_table", table("binary"))
    split = SimpleNamespace(members=np.arange(2), queried=np.arange(2), reference=np.arange(2))
    target = Trained(made, split, table("binary"), 4)  # type: ignore[arg-type]
    black, partial = target.view(FullBlackBox), target.view(PartialBlackBox)
    np.testing.assert_array_equal(black.released, made.released)
    np.testing.assert_array_equal(partial.released, made.outputs)


def test_a_vae_draws_with_its_probabilities_whatever_the_batch(config: Config) -> None:
    made = model(config, "vae_table", table("binary"), 4000)
    few = model(config, "vae_table", table("binary"), 300)
    np.testing.assert_array_equal(few.released, made.released[:300])
    error = (made.released - made.outputs).mean(0)
    assert np.abs(error).max() < 4 * 0.5 / 4000**0.5
    assert np.abs(made.released - made.outputs).mean() > 0.1  # drawn, not rounded


def test_the_form_of_the_whole_table_is_part_of_the_key(config: Config) -> None:
    whole = table("mixed")
    other = np.array(whole.values)
    other[30, 0] = 0.5  # no training record
    with_half = in_memory(other)
    keys = [model(config, "vae_table", data).config for data in (whole, with_half)]
    assert keys[0] != keys[1]
    assert {**keys[0], "released": ""} == {**keys[1], "released": ""}


def test_images_are_released_as_before(config: Config) -> None:
    images = in_memory(np.random.default_rng(0).integers(0, 256, (9, 1, 32, 32)).astype(np.uint8))
    assert Form(images).key_part() == {}
    settings = config("victim=dcgan")
    recipe = Recipe(open_request(settings).victim, np.arange(8), 1, "victim")
    made = obtain_model(recipe, workshop(settings, images))
    assert made.outputs is made.released
    assert "released" not in made.config
