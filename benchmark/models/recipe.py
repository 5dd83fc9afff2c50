"""Models of a job: the victim and the reference models, trained once and kept in the store."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from tqdm import tqdm

from benchmark.config.build import build, takes
from benchmark.config.machine import device_of
from benchmark.data.dataset import Dataset
from benchmark.data.tiles import tile
from benchmark.models.memory import Fitting
from benchmark.models.release import Form, prior, release
from benchmark.store.entries import WORK, Store, key, plain
from benchmark.store.seeds import sub_seed
from victims.access import View
from victims.base import Victim
from victims.budget import SPENT, Ledger
from victims.training.train import Training, fit, load, skip, training_bar

log = logging.getLogger(__name__)

GRID = 64
"""Samples in a victim's grid."""

RELEASED_TOGETHER = 256
"""Samples that are generated in one call."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a trained model and the samples it releases.

    victim: its config. rows: (n,) row numbers of its training records, in order.
    seed: for initial weights, batches and noise. bank: how many samples it releases.
    dp: the config of private training; empty or None for training without.
    precision: of training, see `Training`; other precisions end in other weights.
    """

    victim: DictConfig
    rows: np.ndarray
    seed: int
    bank: int
    title: str
    dp: DictConfig | None = None
    precision: str = "32-true"

    def config(self, dataset: Dataset) -> dict[str, Any]:
        """What the trained model is filed under: the records by content, no place and no device."""
        return {
            "victim": plain(self.victim),
            "shape": list(dataset.shape),
            "records": dataset.digest(self.rows),
            "count": len(self.rows),
            **self._columns(dataset),
            "seed": self.seed,
            "precision": self.precision,
            **({"dp": plain(self.dp)} if self.dp else {}),
        }

    def _columns(self, dataset: Dataset) -> dict[str, Any]:
        """What a victim is told about the columns, if it listens."""
        if dataset.schema is None or not takes(self.victim, "schema"):
            return {}
        return {"schema": key({"columns": dataset.schema.plain()})}


@dataclass(frozen=True)
class Model:
    """A trained, frozen model with its released samples (k, *shape) and their codes (k, z_dim).

    parameters: how many numbers its training moves, in all networks together.
    """

    recipe: Recipe
    victim: Victim
    parameters: int
    config: dict[str, Any]
    folder: Path
    bank_folder: Path

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
        terms = self.victim.terms(len(self.recipe.rows))
        return self.privacy["private_steps"] * terms.batches / terms.together


def obtain(
    recipe: Recipe,
    dataset: Dataset,
    store: Store,
    machine: DictConfig,
    note: dict[str, Any],
    bar: tqdm | None = None,
) -> Model:
    """The model of a recipe: from the store, or trained now; and its released samples likewise.

    bar: counts the training steps of several models; without it the training shows its own.
    """
    config = recipe.config(dataset)

    def train(folder: Path) -> None:
        victim = _initial(recipe, dataset, machine.accelerator)
        log.info("%s: training on %d records", recipe.title, len(recipe.rows))
        training = Training(machine.accelerator, recipe.precision, machine.checkpoint_every_s)
        ledger = _made_private(recipe, victim)
        fit(
            victim,
            lambda rows: dataset.records(recipe.rows[rows]),
            len(recipe.rows),
            folder,
            folder / WORK,
            sub_seed(recipe.seed, "training"),
            training,
            recipe.title,
            bar,
        )
        if ledger is not None:
            ledger.write(victim, folder)
        _write_grid(load(victim, folder), folder / "samples.png", recipe.seed)

    folder = store.get("victim", config, train, note)
    victim = _initial(recipe, dataset, machine.accelerator)
    parameters = sum(weight.numel() for weight in victim.parameters() if weight.requires_grad)
    victim = load(victim, folder).to(device_of(machine.accelerator))  # type: ignore[assignment]
    form = Form(dataset)
    bank = {"model": key(config), "size": recipe.bank, "seed": recipe.seed, **form.filed()}

    def sample(folder: Path) -> None:
        fitting, own = Fitting(View(victim.device, RELEASED_TOGETHER)), (recipe.bank, recipe.seed)
        fitting(lambda view: release(victim, form, folder, *own, view.batch_size))

    bank_folder = store.get("bank", bank, sample, note)
    filed = {**config, "bank": recipe.bank, **form.filed()}
    return Model(recipe, victim, parameters, filed, folder, bank_folder)


def network(config: DictConfig, dataset: Dataset, setting: str = "victim") -> Victim:
    """A victim's network for these records; one that knows mixed columns is told what they are."""
    known = {"schema": dataset.schema} if takes(config, "schema") else {}
    return build(config, setting, shape=dataset.shape, **known)


def untrained(recipe: Recipe, dataset: Dataset) -> Victim:
    """The network of a recipe before its first step, as it would be released."""
    return _initial(recipe, dataset).freeze_for_release()


def obtain_all(
    recipes: Sequence[Recipe],
    dataset: Dataset,
    store: Store,
    machine: DictConfig,
    note: dict[str, Any],
) -> list[Model]:
    """The models of several recipes of one victim config, in one go.

    One bar shows the steps of all that are still to be trained, and the time that these will take.
    """
    made = dataset, store, machine, note
    missing = [not store.has("victim", recipe.config(dataset)) for recipe in recipes]
    if not any(missing):
        return [obtain(recipe, *made) for recipe in recipes]
    steps = _initial(recipes[0], dataset).steps
    models = []
    with training_bar("reference models", steps * sum(missing)) as bar:
        for recipe, is_missing in zip(recipes, missing, strict=True):
            bar.set_description(recipe.title)
            before = bar.n
            models.append(obtain(recipe, *made, bar))
            if is_missing:  # unless it was trained here, another process made it meanwhile
                skip(bar, int(before + steps - bar.n))
    return models


def _initial(recipe: Recipe, dataset: Dataset, accelerator: str = "cpu") -> Victim:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sub_seed(recipe.seed, "weights"))
        victim = network(recipe.victim, dataset)
        if recipe.dp:
            victim.make_private()
    if accelerator == "cpu":  # its convolutions of few channels are up to 1.6 times as fast so
        victim.to(memory_format=torch.channels_last)
    return victim


def _made_private(recipe: Recipe, victim: Victim) -> Ledger | None:
    """Give a victim the mechanism of private training where its recipe asks for that."""
    if not recipe.dp:
        return None
    steps = victim.steps
    ledger = build(recipe.dp, "dp").attach(victim, len(recipe.rows))
    log.info("%s: private, noise multiplier %.3g", recipe.title, ledger.noise_multiplier)
    if victim.steps < steps:
        log.warning(
            "%s: training stops after %d of %d steps, where dp.epsilon=%g is spent",
            *(recipe.title, victim.steps, steps, recipe.dp.epsilon),
        )
    return ledger


def _write_grid(victim: Victim, path: Path, seed: int) -> None:
    """A picture of samples beside the weights, for a person who looks into the store."""
    if len(victim.shape) == 3:
        codes = torch.from_numpy(prior(seed, "grid", GRID, victim.z_dim))
        grid: Image.Image = tile(victim.generate(codes).cpu().numpy(), 8)
        grid.save(path)
