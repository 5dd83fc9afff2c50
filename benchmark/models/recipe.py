"""Models of a job: the victim and the reference models, trained once and kept in the store."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmark.config.build import Chosen, Factory
from benchmark.config.machine import Machine
from benchmark.data.dataset import Dataset
from benchmark.data.tiles import tile_images
from benchmark.models.memory import Fitting
from benchmark.models.release import Form, prior_codes, release_samples
from benchmark.store.entries import WORK, Store, key
from benchmark.store.keys import code_of_package
from benchmark.store.seeds import sub_seed
from victims.access import PartialBlackBox, View, parts_of_view
from victims.base import Victim
from victims.budget import SPENT, Ledger, Privacy
from victims.planted import GradientCanaries
from victims.training.train import Training, fit_victim, load_victim, skip_steps, training_bar

log = logging.getLogger(__name__)

GRID = 64
"""Samples in a victim's grid."""

RELEASED_TOGETHER = 256
"""Samples that are generated in one call."""


@dataclass(frozen=True)
class Blueprint:
    """How a model is built and trained, whatever its records.

    victim: makes its network. bank: how many samples it releases.
    dp: its private training, None for training without.
    precision: of training, see `Training`; other precisions end in other weights.
    """

    victim: Factory[Victim]
    bank: int
    dp: Chosen[Privacy] | None = None
    precision: str = "32-true"

    def key_part(self) -> dict[str, Any]:
        """What it adds to the keys of its models."""
        private = {"dp": self.dp.settings} if self.dp else {}
        aside = private | code_of_package(self.victim.settings)
        return {"victim": self.victim.settings, "precision": self.precision, **aside}

    def build_network(self, dataset: Dataset) -> Victim:
        """A fresh network; raises UserError where the records or the bank do not suit it.

        One that knows mixed columns is told what they are.
        """
        told = {"schema": dataset.schema} if self.victim.takes("schema") else {}
        network = self.victim.build(shape=dataset.shape, **told)
        network.refuse_bank(self.bank)
        if self.dp:
            network.make_private()
        return network


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a trained model and the samples it releases.

    rows: (n,) row numbers of its training records, in order.
    seed: for initial weights, batches and noise. title: what it is called while it is trained.
    canaries: (m,) row numbers of canaries that are gradients, in training or not; None without.
    """

    blueprint: Blueprint
    rows: np.ndarray
    seed: int
    title: str
    canaries: np.ndarray | None = None

    def filed_under(self, dataset: Dataset) -> dict[str, Any]:
        """What the trained model is filed under: the records by content, no place and no device."""
        return {
            **self.blueprint.key_part(),
            "shape": list(dataset.shape),
            "records": dataset.digest(self.rows),
            "count": len(self.rows),
            **self._columns_told(dataset),
            **self._canaries_planted(dataset),
            "seed": self.seed,
        }

    def _canaries_planted(self, dataset: Dataset) -> dict[str, Any]:
        """Canaries that are gradients: another training than one on the same records."""
        return {} if self.canaries is None else {"gradients": dataset.digest(self.canaries)}

    def _columns_told(self, dataset: Dataset) -> dict[str, Any]:
        """What a victim is told about the columns, if it listens."""
        if dataset.schema is None or not self.blueprint.victim.takes("schema"):
            return {}
        return {"schema": key({"columns": dataset.schema.as_plain()})}


@dataclass(frozen=True)
class Workshop:
    """Where models are made: of which data, for which store, on which machine.

    note: what stands beside them in the store; it is part of no key.
    """

    dataset: Dataset
    store: Store
    machine: Machine
    note: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A trained, frozen model with its released samples (k, *shape) and their codes (k, z_dim).

    parameters: how many numbers its training moves, in all networks together.
    draw_bank: the folder of the samples, which are drawn unless the store has them.
    """

    recipe: Recipe
    victim: Victim
    parameters: int
    config: dict[str, Any]
    folder: Path
    draw_bank: Callable[[], Path]

    @cached_property
    def bank_folder(self) -> Path:
        """Where the samples lie; a model of which nobody wants samples draws none."""
        return self.draw_bank()

    @cached_property
    def released(self) -> np.ndarray:
        """Released samples, memory-mapped; of tables they are records, see `Form`."""
        return np.load(self.bank_folder / "samples.npy", mmap_mode="r")

    @cached_property
    def outputs(self) -> np.ndarray:
        """What the network puts out at `codes`, memory-mapped: who chooses codes sees that."""
        path = self.bank_folder / "outputs.npy"
        return np.load(path, mmap_mode="r") if path.exists() else self.released

    @cached_property
    def codes(self) -> np.ndarray:
        """Latent codes of the released samples."""
        return np.load(self.bank_folder / "codes.npy")

    def bank_for(self, access: type[View]) -> tuple[np.ndarray, np.ndarray]:
        """Samples and codes as a view shows them; empty where it shows none."""
        if "released" not in parts_of_view(access):
            return np.empty(0), np.empty(0)
        released = self.outputs if issubclass(access, PartialBlackBox) else self.released
        return released, self.codes

    @cached_property
    def privacy(self) -> dict[str, Any] | None:
        """What private training has spent (see `Ledger`), or None for training without."""
        path = self.folder / SPENT
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def steps(self) -> float:
        """Training batches it took: fewer than asked for where its privacy budget was spent."""
        if not self.privacy:
            return self.victim.steps
        terms = self.victim.terms_of_steps(len(self.recipe.rows))
        return self.privacy["private_steps"] * terms.batches / terms.together


def obtain_model(recipe: Recipe, workshop: Workshop, bar: tqdm | None = None) -> Model:
    """The model of a recipe: from the store, or trained now; its samples likewise, once wanted.

    bar: counts the training steps of several models; without it the training shows its own.
    """
    dataset, store, machine = workshop.dataset, workshop.store, workshop.machine
    config, bank = recipe.filed_under(dataset), recipe.blueprint.bank

    train = partial(_train_model, recipe, workshop, bar=bar)
    folder = store.get("victim", config, train, workshop.note)
    victim = _build_initial(recipe, dataset, machine.accelerator)
    parameters = sum(weight.numel() for weight in victim.parameters() if weight.requires_grad)
    victim = load_victim(victim, folder).to(machine.device)  # type: ignore[assignment]
    form = Form(dataset)

    def sample(folder: Path) -> None:
        fitting, own = Fitting(View(victim.device, RELEASED_TOGETHER)), (bank, recipe.seed)
        fitting(lambda view: release_samples(victim, form, folder, *own, view.batch_size))

    samples = {"model": key(config), "size": bank, "seed": recipe.seed, **form.key_part()}
    return Model(
        recipe=recipe,
        victim=victim,
        parameters=parameters,
        config={**config, "bank": bank, **form.key_part()},
        folder=folder,
        draw_bank=lambda: store.get("bank", samples, sample, workshop.note),
    )


def _train_model(recipe: Recipe, workshop: Workshop, folder: Path, bar: tqdm | None) -> None:
    """Train a recipe's model and write its weights, and what its privacy cost, into `folder`."""
    dataset, machine = workshop.dataset, workshop.machine
    victim = _build_initial(recipe, dataset, machine.accelerator)
    log.info("%s: training on %d records", recipe.title, len(recipe.rows))
    precision = recipe.blueprint.precision
    training = Training(machine.accelerator, precision, machine.checkpoint_every_s)
    ledger = _made_private(recipe, victim)
    fit_victim(
        victim,
        lambda rows: dataset.records(recipe.rows[rows]),
        size=len(recipe.rows),
        folder=folder,
        work=folder / WORK,
        seed=sub_seed(recipe.seed, "training"),
        training=training,
        title=recipe.title,
        bar=bar,
    )
    if ledger is not None:
        ledger.write_spent(victim, folder)
    _write_grid(load_victim(victim, folder), folder / "samples.png", recipe.seed)


def build_untrained(recipe: Recipe, dataset: Dataset) -> Victim:
    """The network of a recipe before its first step, as it would be released."""
    return _build_initial(recipe, dataset).freeze_for_release()


def obtain_all(recipes: Sequence[Recipe], workshop: Workshop) -> list[Model]:
    """The models of several recipes of one blueprint, in one go.

    One bar shows the steps of all that are still to be trained, and the time that these will take.
    """
    dataset, store = workshop.dataset, workshop.store
    missing = [not store.has("victim", recipe.filed_under(dataset)) for recipe in recipes]
    if not any(missing):
        return [obtain_model(recipe, workshop) for recipe in recipes]
    steps = _build_initial(recipes[0], dataset).steps
    models = []
    with training_bar("reference models", steps * sum(missing)) as bar:
        for recipe, is_missing in zip(recipes, missing, strict=True):
            bar.set_description(recipe.title)
            before = bar.n
            models.append(obtain_model(recipe, workshop, bar))
            if is_missing:  # unless it was trained here, another process made it meanwhile
                skip_steps(bar, int(before + steps - bar.n))
    return models


def _build_initial(recipe: Recipe, dataset: Dataset, accelerator: str = "cpu") -> Victim:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sub_seed(recipe.seed, "weights"))
        victim = recipe.blueprint.build_network(dataset)
    if recipe.canaries is not None:
        victim.canaries = _make_canaries(recipe.rows, recipe.canaries, recipe.seed)
    if accelerator == "cpu":  # its convolutions of few channels are up to 1.6 times as fast so
        victim.to(memory_format=torch.channels_last)
    return victim


def _make_canaries(rows: np.ndarray, canaries: np.ndarray, seed: int) -> GradientCanaries:
    known = {int(row): number for number, row in enumerate(canaries)}
    numbers = np.array([known.get(int(row), -1) for row in rows])
    return GradientCanaries(numbers, len(canaries), sub_seed(seed, "canaries", "weights"))


def _made_private(recipe: Recipe, victim: Victim) -> Ledger | None:
    """Give a victim the mechanism of private training where its recipe asks for that."""
    if recipe.blueprint.dp is None:
        return None
    privacy, steps = recipe.blueprint.dp.made, victim.steps
    ledger = privacy.attach_mechanism(victim, len(recipe.rows))
    log.info("%s: private, noise multiplier %.3g", recipe.title, ledger.noise_multiplier)
    if victim.steps < steps:
        log.warning(
            "%s: training stops after %d of %d steps, where dp.epsilon=%g is spent",
            *(recipe.title, victim.steps, steps, privacy.epsilon),
        )
    return ledger


def _write_grid(victim: Victim, path: Path, seed: int) -> None:
    """A picture of samples beside the weights, for a person who looks into the store."""
    if len(victim.shape) == 3:
        codes = torch.from_numpy(prior_codes(seed, "grid", GRID, victim.z_dim))
        tile_images(victim.generate(codes).cpu().numpy(), 8).save(path)
