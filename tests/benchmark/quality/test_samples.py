"""Samples against held-out records: who is compared, what is stored, what is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from conftest import names
from omegaconf import DictConfig

from attacks.base import some_rows
from benchmark.data.dataset import Dataset
from benchmark.data.split import Split
from benchmark.job.request import open_request
from benchmark.models.recipe import Model, Recipe, Workshop, build_untrained, obtain_model
from benchmark.quality.features import Columns, ImageNet
from benchmark.quality.samples import SampleQuality
from benchmark.store.entries import Store

Config = Callable[..., DictConfig]
DISTANCE = "Frechet distance (AlexNet)"


@dataclass(frozen=True)
class Made:
    """A small victim with everything that judging its samples takes."""

    quality: SampleQuality
    workshop: Workshop
    split: Split
    model: Model

    @property
    def dataset(self) -> Dataset:
        return self.workshop.dataset

    def judge(self, batch: int = 4, size: int | None = None) -> dict[str, float]:
        quality = self.quality if size is None else SampleQuality(size, self.quality.measures)
        machine = replace(self.workshop.machine, batch_size=batch)
        workshop = replace(self.workshop, machine=machine)
        return quality.judge_samples(self.model, workshop=workshop, split=self.split, seed=0)


def data(values: np.ndarray) -> Dataset:
    digests = [list(sha256(row.tobytes()).digest()[:16]) for row in values]
    return Dataset(values, np.array(digests, np.uint8))


@pytest.fixture
def make(config: Config) -> Callable[..., Made]:
    def made(values: np.ndarray, *overrides: str) -> Made:
        request = open_request(config(*overrides))
        workshop = Workshop(data(values), Store(request.machine.store), request.machine)
        rows = np.arange(len(values))
        split = Split(rows[:8], rows[8:12], rows[12:20], rows[:4], 0)
        recipe = Recipe(replace(request.victim, bank=30), split.members, 1, "victim")
        return Made(request.quality, workshop, split, obtain_model(recipe, workshop))

    return made


@pytest.fixture
def images(make) -> Made:
    """48 images: 16 members and reference, 4 copies of members at the end, 28 others."""
    values = np.random.default_rng(0).integers(0, 256, (48, 1, 32, 32), np.uint8)
    values[44:] = values[:4]
    return make(values)


def held_out(made: Made) -> set[bytes]:
    rows = [*range(8, 12), *range(20, 44)]  # neither members nor reference, without the duplicates
    return {record.numpy().tobytes() for record in made.dataset.records(np.array(rows))}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Every batch whose features were asked for."""
    batches: list[torch.Tensor] = []
    describe = ImageNet.describe

    def noted(self: ImageNet, records: torch.Tensor) -> torch.Tensor:
        batches.append(records)
        return describe(self, records)

    monkeypatch.setattr(ImageNet, "describe", noted)
    return batches


def test_four_sets_of_one_size_and_nobody_s_training_record_among_them(images, seen):
    images.judge()
    n = 14  # half of the 28 held-out records
    assert [len(batch) for batch in seen] == [4, 4, 4, 2] * 4
    real, samples, before, others = torch.cat(seen).split(n)
    drawn = [record.numpy().tobytes() for record in torch.cat([real, others])]
    assert len(set(drawn)) == 2 * n
    assert set(drawn) == held_out(images)
    np.testing.assert_array_equal(samples, images.model.released[some_rows(30, n)])
    fresh = build_untrained(images.model.recipe, images.dataset)
    torch.testing.assert_close(before, fresh.generate(torch.from_numpy(images.model.codes[:n])))
    assert not torch.allclose(before, samples)


def test_each_number_compares_its_set_with_the_held_out_one(images, seen):
    numbers, measure = images.judge(), ImageNet()
    sets = [measure.describe(part).numpy() for part in torch.cat(seen).split(14)]
    for suffix, other in zip(("", ", untrained", ", real"), sets[1:], strict=True):
        for name, value in measure.compare(sets[0], other).items():
            assert numbers[name + suffix] == pytest.approx(value, rel=1e-4), name + suffix


def test_size_caps_every_set(images, seen):
    images.judge(batch=99, size=5)
    assert [len(batch) for batch in seen] == [5] * 4


def test_an_interrupted_comparison_goes_on_where_it_stopped(images, monkeypatch):
    describe, calls = ImageNet.describe, []

    def stopped(self: ImageNet, records: torch.Tensor) -> torch.Tensor:
        calls.append(len(records))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return describe(self, records)

    monkeypatch.setattr(ImageNet, "describe", stopped)
    with pytest.raises(KeyboardInterrupt):
        images.judge(batch=14)
    resumed = images.judge(batch=14)
    assert len(calls) == 3 + 2
    assert images.judge() == resumed
    assert len(calls) == 3 + 2  # the last one was read from the store
    store = Store(images.workshop.store.root / "another")
    other = replace(images, workshop=replace(images.workshop, store=store))
    assert other.judge(batch=14) == pytest.approx(resumed)


def test_what_is_compared_enters_the_key_and_the_batch_size_does_not(images):
    images.judge(batch=4)
    images.judge(batch=7)
    assert len(list(images.workshop.store.find("quality"))) == 1
    images.judge(size=5)
    assert len(list(images.workshop.store.find("quality"))) == 2


def test_none_measures_nothing(images, seen, config):
    assert replace(images, quality=open_request(config("quality=none")).quality).judge() == {}
    assert seen == []


@pytest.mark.parametrize(("left", "compared"), [(0, False), (1, False), (2, True)])
def test_few_held_out_records_mean_fewer_are_compared_and_none_means_no_number(
    images, left, compared
):
    rows = np.arange(44)
    split = Split(rows[: 22 - left], rows[:0], rows[22:], rows[:0], 0)
    numbers = replace(images, split=split).judge()
    assert (DISTANCE in numbers) == compared
    if compared:
        assert np.isnan(numbers["precision"])


def test_tables_are_compared_by_columns_and_need_no_weights(make, monkeypatch):
    monkeypatch.setattr(ImageNet, "load", lambda _: pytest.fail("weights for a table"))
    rows = np.random.default_rng(0).random((60, 5)).astype(np.float32)
    made = make(rows, "victim=wgan_gp_table", "distance=l2")
    made.quality.load_measure(made.dataset)
    numbers = made.judge()
    for name in Columns().compare(rows, rows):
        values = [numbers[name + suffix] for suffix in ("", ", untrained", ", real")]
        assert 0 <= min(values) <= max(values) <= 2
    assert numbers["marginal error, real"] < numbers["marginal error"]


@dataclass
class Sorted:
    """A model whose release is sorted by a column, as a conditional generator's by its class."""

    model: Model
    released: np.ndarray

    def __getattr__(self, name: str) -> object:
        return getattr(self.model, name)


def test_the_order_of_a_release_does_not_matter(make):
    """The first samples of a sorted one are all of one kind."""
    rng = np.random.default_rng(0)
    rows = rng.random((400, 2)).astype(np.float32)
    made, found = make(rows, "victim=wgan_gp_table", "distance=l2"), []
    release = rng.random((4000, 2)).astype(np.float32)
    for order in (release, release[release[:, 0].argsort()]):
        model = Sorted(made.model, order)
        workshop = replace(made.workshop, store=Store(made.workshop.store.root / str(len(found))))
        other = replace(
            made, model=model, workshop=workshop, quality=SampleQuality(100, made.quality.measures)
        )
        found.append(other.judge()["marginal error"])
    assert max(found) < 0.2, found


def test_parameters_are_those_that_training_moves(images, make):
    every = sum(weight.numel() for weight in images.model.victim.parameters())
    assert images.model.parameters == every > 0
    grown = make(images.dataset.values, "victim=pggan").model
    average = sum(weight.numel() for weight in grown.victim.average.parameters())
    assert grown.parameters == sum(w.numel() for w in grown.victim.parameters()) - average


@pytest.mark.parametrize("choice", names("quality"))
@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_every_choice_builds(config: Config, choice: str, scale: str):
    built = open_request(config(f"quality={choice}", f"scale={scale}")).quality
    assert set(built.measures) == (set() if choice == "none" else {"images", "tables"})
