"""Error prediction: models that were fitted to the release foretell a member's columns better."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from attacks.base import Learns, Learnt, features_on_shadows, some_rows
from attacks.forests import ask_forest, grow_forest
from attacks.mixed import fill_gaps, learn_filling
from victims.access import FullBlackBox, FullBlackBoxWithShadows
from victims.errors import UserError
from victims.schema import Schema


class ErrorPrediction(Learns):
    """MIA-EPT: score = minus the mean error of models that tell each column from the others.

    For each column a random forest is fitted to the released samples, which tells this column of a
    record from its other columns. What it has wrong is the column's error.
    Source: German, Samira, Elovici, Shabtai 2025, arXiv 2509.13046 (MIA-EPT), and its code.
    Deviations: trees of numbers look at a third of the inputs at each split, those of the source at
    all; the source learns what errors mean from reference models with known members, as
    `ErrorPredictionWithShadows` does; here no label is needed, and calibration takes the place of
    shadows. Numbers are compared by their ranks among the released samples, so that no unit and no
    long tail counts; the error of a level is the share of trees that vote for another one. Missing
    numbers are the mean of those released (`attacks.mixed.fill_gaps`).
    trees: of each forest.
    samples: released samples that forests are fitted to at most, drawn by the seed.
    columns: how many columns are foretold at most, drawn by the seed.
    seed: of forests and draws.
    """

    access: type[FullBlackBox] = FullBlackBox

    def __init__(
        self,
        trees: PositiveInt,
        samples: PositiveInt,
        columns: PositiveInt,
        seed: NonNegativeInt,
    ) -> None:
        self.trees, self.samples, self.columns, self.seed = trees, samples, columns, seed

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Raise UserError for images, and for a single column."""
        if len(shape) != 1 or shape[0] < 2:
            raise UserError(f"attack=ept foretells columns of tables; records have shape {shape}")

    def learn(self, view: FullBlackBox, work: Path) -> Learnt:
        """Each column's forest, and the quantiles of numbers."""
        rows = np.array(view.released[some_rows(len(view.released), self.samples, self.seed)])
        learnt = learn_filling(view)
        rows = fill_gaps(learnt, torch.from_numpy(rows)).numpy()
        for name, span, is_level in self._list_targets(view):
            rest = np.delete(rows, np.r_[span], 1)
            if is_level:
                target = _read_levels(rows[:, span])
            else:
                known = np.sort(rows[:, span.start])
                learnt[f"{name}.known"] = known
                target = _rank_numbers(known, rows[:, span.start])
            forest = grow_forest(rest, target, trees=self.trees, seed=self.seed, levels=is_level)
            learnt |= {f"{name}.{key}": value for key, value in forest.items()}
        return learnt

    def judge(self, learnt: Learnt, view: FullBlackBox, queries: Tensor) -> np.ndarray:
        """Queries (n, d) -> minus the mean error (n,) in [-1, 0]."""
        _, errors = self.foretell_columns(learnt, view, queries)
        return -errors.mean(1)

    def foretell_columns(
        self, learnt: Learnt, view: FullBlackBox, queries: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ranks or levels that records (n, d) hold, and errors in [0, 1]: (n, columns) each."""
        rows = fill_gaps(learnt, queries.cpu().float()).numpy()
        held, errors = [], []
        for name, span, is_level in self._list_targets(view):
            own = _select_arrays(learnt, name)
            told = ask_forest(own, np.delete(rows, np.r_[span], 1))
            if is_level:
                held.append(_read_levels(rows[:, span]).astype(np.float64))
                errors.append((told != held[-1][:, None]).mean(1))
            else:
                held.append(_rank_numbers(own["known"], rows[:, span.start]))
                errors.append(np.abs(told.mean(1, dtype=np.float64) - held[-1]))
        return np.stack(held, 1), np.stack(errors, 1)

    def _list_targets(self, view: FullBlackBox) -> list[tuple[str, slice, bool]]:
        """Of each column that is foretold its name, its places, and whether it holds levels."""
        schema = view.schema or Schema.of_numbers(view.released.shape[1])
        found = [
            (str(i), span, column.kind in ("category", "binary"))
            for i, (column, span) in enumerate(schema.spans)
        ]
        return [found[i] for i in some_rows(len(found), self.columns, self.seed)]


class ErrorPredictionWithShadows(ErrorPrediction):
    """MIA-EPT as published: what errors members have is learnt on reference models.

    Score = share of membership that a further random forest tells from each column's rank or level
    and its error. It was grown on reference models whose members are known, and on what those
    models released.
    leaf: records in a leaf of this forest, at least.
    judges: its trees.
    trees, samples, columns, seed: as for `ErrorPrediction`.
    Source: as for `ErrorPrediction`.
    Deviations: a random forest instead of boosted trees; relative errors are left out, because
    ranks have a range already.
    """

    access = FullBlackBoxWithShadows

    def __init__(
        self,
        trees: PositiveInt,
        samples: PositiveInt,
        columns: PositiveInt,
        leaf: PositiveInt,
        judges: PositiveInt,
        seed: NonNegativeInt,
    ) -> None:
        super().__init__(trees, samples, columns, seed)
        self.leaf, self.judges = leaf, judges

    def learn(self, view: Any, work: Path) -> Learnt:
        """What the victim's columns are foretold by, and the forest that judges errors."""
        learn = super().learn
        errors, member = features_on_shadows(
            view.shadows,
            lambda own: partial(self._measure_features, learn(own.view, work), own.view),
        )
        forest = grow_forest(errors, member, trees=self.judges, seed=self.seed, least=self.leaf)
        return learn(view, work) | {f"judge.{key}": v for key, v in forest.items()}

    def judge(self, learnt: Learnt, view: FullBlackBox, queries: Tensor) -> np.ndarray:
        """Queries (n, d) -> share of membership (n,) in [0, 1]."""
        asked = self._measure_features(learnt, view, queries)
        return ask_forest(_select_arrays(learnt, "judge"), asked).mean(1, dtype=np.float64)

    def _measure_features(self, learnt: Learnt, view: FullBlackBox, records: Tensor) -> np.ndarray:
        """What the last forest judges records (n, d) by, float32."""
        return np.concatenate(self.foretell_columns(learnt, view, records), 1).astype(np.float32)


def _select_arrays(learnt: Learnt, name: str) -> Learnt:
    """Arrays whose names begin with this one, without it."""
    return {k.removeprefix(f"{name}."): v for k, v in learnt.items() if k.startswith(f"{name}.")}


def _read_levels(places: np.ndarray) -> np.ndarray:
    """Levels (n,) of the places (n, k) of a category, or of 0/1 in one place."""
    return places.argmax(1) if places.shape[1] > 1 else (places[:, 0] > 0.5).astype(np.int64)


def _rank_numbers(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Ranks (n,) in [0, 1] of numbers among those known, sorted; the middle of equal ones."""
    sides = [np.searchsorted(known, values, side) for side in ("left", "right")]
    return (sides[0] + sides[1]) / (2 * len(known))
