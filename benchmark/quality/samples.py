"""A victim's samples against held-out records, beside an untrained network's and real ones."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from attacks.base import some_rows
from benchmark.config.build import Chosen
from benchmark.data.dataset import Dataset
from benchmark.data.split import Split
from benchmark.measures.result import REAL, UNTRAINED
from benchmark.models.recipe import Model, Workshop, build_untrained
from benchmark.models.release import Form
from benchmark.quality.features import Measure
from benchmark.store.entries import WORK
from benchmark.store.seeds import sub_seed
from victims.errors import UserError

log = logging.getLogger(__name__)

Read = Callable[[slice], Tensor]
HELD_OUT, SAMPLES = "held-out", "samples"


class SampleQuality:
    """How samples are judged: the config group `quality`.

    size: records in each set, at most.
    measures: by what they judge, images or tables.
    Raises UserError for a size at which nothing can be measured.
    """

    def __init__(self, size: int, measures: Mapping[str, Chosen[Measure]]) -> None:
        if measures and size < 1:
            raise UserError(
                f"quality.size={size}: at least 1 is needed; quality=none measures nothing"
            )
        self.size, self.measures = size, measures

    def load_measure(self, dataset: Dataset) -> None:
        """Get what the measure for this data needs; raises UserError where it cannot be had."""
        if measure := self.measures.get(_kind_of_records(dataset)):
            measure.made.load()

    def judge_samples(
        self, model: Model, *, workshop: Workshop, split: Split, seed: int
    ) -> dict[str, float]:
        """Numbers by name, from the store or measured now; none where nothing is to be measured.

        Beside each number stand, as "NAME, untrained" and "NAME, real", what the same network
        before its first step and real records get. Records come from `split.held_out`, half of
        them to compare with, half as the real ones, and all sets have one size: a distance depends
        on it. workshop: where the model was made. seed: the job's.
        """
        dataset = workshop.dataset
        kind, held_out = _kind_of_records(dataset), split.held_out(dataset)
        n = min(self.size, len(held_out) // 2, len(model.released))
        if kind not in self.measures or n < 1:
            return {}
        rows = np.random.default_rng(sub_seed(seed, "quality")).permutation(held_out)[: 2 * n]
        config = {
            "measure": self.measures[kind].settings,
            "model": model.config,
            "records": dataset.digest(rows),
        }

        def make(folder: Path) -> None:
            log.info("quality: comparing samples with %d held-out records", n)
            sets = _sets_compared(model, dataset, rows)
            measure, device = self.measures[kind].made, model.victim.device
            described = {}
            with tqdm(total=n * len(sets), desc="quality", unit="record", mininterval=1.0) as bar:
                for name, read in sets.items():
                    blocks = (
                        read(at).to(device)
                        for at in _counted_slices(n, workshop.machine.batch_size, bar)
                    )
                    described[name] = _features_of_set(
                        measure, blocks, folder / WORK / f"{name}.npy"
                    )
            (folder / "quality.json").write_text(json.dumps(_compare_sets(measure, described)))

        found = workshop.store.get("quality", config, make) / "quality.json"
        numbers: dict[str, float] = json.loads(found.read_text())
        return numbers


def _sets_compared(model: Model, dataset: Dataset, rows: np.ndarray) -> dict[str, Read]:
    """The sets that are compared, by name; half of the rows (2n,) are the real ones."""
    network = build_untrained(model.recipe, dataset).to(model.victim.device)
    form, n = Form(dataset), len(rows) // 2
    chances = form.draw_chances(model.recipe.seed)
    drawn = some_rows(len(model.released), n)  # the first ones may be of one class

    def untrained_samples(at: slice) -> Tensor:
        outputs = network.generate(torch.from_numpy(model.codes[at]))  # type: ignore[operator]
        return form.records_from(network, outputs, chances.random(outputs.shape))  # type: ignore[arg-type]

    return {
        HELD_OUT: lambda at: dataset.records(rows[:n][at]),
        SAMPLES: lambda at: torch.from_numpy(np.array(model.released[drawn[at]])),
        UNTRAINED: untrained_samples,
        REAL: lambda at: dataset.records(rows[n:][at]),
    }


def _kind_of_records(dataset: Dataset) -> str:
    return "images" if dataset.is_image else "tables"


def _counted_slices(n: int, size: int, bar: tqdm) -> Iterator[slice]:
    """Yield consecutive slices of n records, and count them when they are done."""
    for start in range(0, n, size):
        at = slice(start, min(start + size, n))
        yield at
        bar.update(at.stop - at.start)


def _features_of_set(measure: Measure, blocks: Iterator[Tensor], path: Path) -> np.ndarray:
    """Features (n, d) of one set, from the file that an interrupted run left, or found now."""
    if not path.exists():
        found = [measure.describe(records).cpu().numpy() for records in blocks]
        partial = path.with_suffix(".new.npy")
        np.save(partial, np.concatenate(found))
        os.replace(partial, path)
    return np.load(path)


def _compare_sets(measure: Measure, described: dict[str, np.ndarray]) -> dict[str, float]:
    """Each set's numbers; the samples' own have no suffix."""
    numbers: dict[str, float] = {}
    for name in (SAMPLES, UNTRAINED, REAL):
        suffix = "" if name == SAMPLES else f", {name}"
        compared = measure.compare(described[HELD_OUT], described[name])
        numbers |= {f"{what}{suffix}": value for what, value in compared.items()}
    return numbers
