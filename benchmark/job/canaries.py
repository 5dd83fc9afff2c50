"""Canaries: records that a coin puts into a training run or not, so that guesses can be counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from benchmark.data.dataset import Dataset, in_memory
from benchmark.data.joined import join_datasets
from benchmark.data.split import Split
from benchmark.measures import epsilon, gaussian
from benchmark.store.seeds import sub_seed
from victims.errors import UserError


class OneRun:
    """An audit of a private victim by one training run (see `benchmark.measures.epsilon.p_value`).

    Coins decide which canaries are trained on. Whoever tells their sides better than by chance
    shows how much the training gives away at least.

    count: how many canaries, 2 or more.
    kind: `noise` for pixels that are uniform, or table columns that are drawn independently from
    the non-members' values. `spliced` for the left half of one non-member with the right half of
    another, or the first half of its columns. `records` for the split's non-members. `gradient` for
    records of noise whose gradients are made up, see `victims.planted`. Their attacker sees the
    noised gradient of every private step; other attacks could find nothing.

    Spliced ones stand for the mislabelled records of Nasr et al. 2023, arXiv 2302.07956, where
    there are no labels: each part is ordinary, the two together are not.
    """

    def __init__(
        self,
        count: Annotated[int, Field(ge=2)],
        kind: Literal["noise", "spliced", "records", "gradient"],
    ) -> None:
        self.count, self.kind = count, kind

    @property
    def are_gradients(self) -> bool:
        """Whether canaries are gradients instead of records."""
        return self.kind == "gradient"

    def check(self, split: Split) -> None:
        """Raise UserError where the split has too few records for canaries."""
        if self.kind == "records" and self.count > len(split.non_members):
            raise UserError(
                f"canaries.count={self.count}: with canaries.kind=records at most "
                f"{len(split.non_members)}, the non-members that split.queries leaves; "
                "lower it or choose canaries.kind=noise"
            )

    def plant(self, dataset: Dataset, split: Split, seed: int) -> tuple[Dataset, Split]:
        """The data with canaries behind it, and the split in which coins made some of them members.

        Canaries are the only queries: those inside are queried members, the others non-members.
        """
        rows = split.non_members[: self.count]
        if self.kind != "records":
            spliced = self.kind == "spliced"
            made = self._spliced_records if spliced else self._noise_records
            rows = np.arange(self.count) + len(dataset.digests)
            dataset = join_datasets(dataset, in_memory(made(dataset, split, seed)))
        coins = np.random.default_rng(sub_seed(seed, "canaries", "coins")).random(self.count) < 0.5
        members = np.concatenate([split.members, rows[coins]])
        planted = dataclasses.replace(
            split, members=members, queried=rows[coins], non_members=rows[~coins]
        )
        return dataset, planted

    def _noise_records(self, dataset: Dataset, split: Split, seed: int) -> np.ndarray:
        generator = np.random.default_rng(sub_seed(seed, "canaries", "noise"))
        shape = (self.count, *dataset.shape)
        if dataset.is_image:
            return generator.integers(0, 256, shape).astype(np.uint8)
        known = dataset.values[split.non_members]
        rows = generator.integers(0, len(known), shape)
        for _, span in dataset.schema.spans if dataset.schema else ():  # a column's places together
            rows[:, span] = rows[:, span.start : span.start + 1]
        return np.take_along_axis(known, rows, 0)

    def _spliced_records(self, dataset: Dataset, split: Split, seed: int) -> np.ndarray:
        generator = np.random.default_rng(sub_seed(seed, "canaries", "spliced"))
        known = split.non_members
        one, two = generator.integers(0, len(known), (2, self.count))
        two = np.where(one == two, (two + 1) % len(known), two)
        left, right = (np.array(dataset.values[known[rows]]) for rows in (one, two))
        half = left.shape[-1] // 2
        for _, span in dataset.schema.spans if dataset.schema else ():
            if span.start < half < span.stop:  # a column's places stay together
                half = span.stop
        left[..., half:] = right[..., half:]
        return left


def audit_canaries(
    scores: Mapping[str, np.ndarray], inside: np.ndarray, spent: Mapping[str, Any], seed: int
) -> pd.DataFrame:
    """What each attack's scores (m,) of the canaries show: a row an attack.

    inside: (m,) bool, the coins. spent: what the audited run has spent, or its delta alone.
    Columns: attack, canaries, inside; epsilon_lower, of whatever mechanism; epsilon_gaussian, of
    Gaussian ones, from the same guesses; epsilon_roc, of Gaussian ones whose canaries are
    independent within the run, from the ROC curve (see `benchmark.measures.gaussian`); epsilon and
    delta of the promise. Each column holds at 95% for all attacks together, under what it assumes.
    Only the first can break a promise.
    """
    rows, level = [], 1 - 0.05 / max(1, len(scores))
    for name, values in scores.items():
        asked = spent["delta"], level, sub_seed(seed, "canaries", name)
        rows.append(
            {
                "attack": name,
                "canaries": len(inside),
                "inside": int(inside.sum()),
                "epsilon_lower": epsilon.one_run(values, inside, *asked),
                "epsilon_gaussian": gaussian.one_run(values, inside, *asked),
                "epsilon_roc": gaussian.from_roc(values[inside], values[~inside], *asked),
                "epsilon": spent.get("epsilon", np.inf),
                "delta": spent["delta"],
            }
        )
    return pd.DataFrame(rows)
