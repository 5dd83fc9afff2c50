"""Reference models: which records each of them is trained on, and which queries it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from pydantic import PositiveInt

from attacks.calibration.difference import Calibration, fewest_models, models_suffice
from benchmark.data.split import Split
from benchmark.models.recipe import Blueprint, Recipe
from benchmark.store.seeds import sub_seed
from victims.errors import UserError


class References(Protocol):
    """A set of reference models: how many, and what each is trained on."""

    count: int

    def training_rows(self, i: int, split: Split, seed: int) -> np.ndarray:
        """Row numbers (n,) of the training records of model i; raises UserError if impossible."""
        ...


class _Counted:
    """What both kinds of reference models are made of."""

    def __init__(self, count: PositiveInt, members: int) -> None:
        self.count, self.members = count, members


class Single(_Counted):
    """Models on the attacker's own records: none has seen a query.

    count: how many models.
    members: training records of each, drawn from split.reference anew.
    """

    def training_rows(self, i: int, split: Split, seed: int) -> np.ndarray:
        """A draw without replacement from the attacker's records, model i's own."""
        if not 1 <= self.members <= len(split.reference):
            raise UserError(
                f"reference.members={self.members}: calibration needs 1 to "
                f"split.reference={len(split.reference)}; or choose calibration=none"
            )
        return _own_records(i, split, seed)[: self.members]


class Halves(_Counted):
    """Models on random halves of the queries: each has seen every query with probability 1/2.

    Models 2j and 2j + 1 train on the two halves of one random division of all queries, members and
    non-members alike: no label is used, all models train on equally many records, and an even
    `count` puts each query in exactly half of them. More models leave the earlier ones as they are.

    count: how many models.
    members: training records of each. What a half lacks is drawn from split.reference, so that a
    reference model may be as large as a victim with more members than are queried.

    Source: the shadow models of Carlini et al. 2022, arXiv 2112.03570, of which each record is in
    half.
    Deviation: their sizes vary, these have one size.
    """

    def training_rows(self, i: int, split: Split, seed: int) -> np.ndarray:
        """The half of the queries that is model i's, and as many own records as it lacks."""
        pool = np.concatenate([split.queried, split.non_members])
        division = np.random.default_rng(sub_seed(seed, "reference", "division", i // 2))
        half = np.array_split(division.permutation(pool), 2)[i % 2]
        lacking = self.members - len(half)
        if not 0 <= lacking <= len(split.reference):
            raise UserError(
                f"reference.members={self.members}: with reference=halves {len(half)} queries and "
                f"0 to split.reference={len(split.reference)} own records are needed; "
                f"leave it at split.members, or change split.reference"
            )
        return np.concatenate([half, _own_records(i, split, seed)[:lacking]])


def recipes_of_references(
    references: References, blueprint: Blueprint, split: Split, seed: int
) -> list[Recipe]:
    """One recipe per reference model, with a seed of its own."""
    return [
        Recipe(
            blueprint,
            rows=references.training_rows(i, split, seed),
            seed=_model_seed(i, seed),
            title=f"reference model {i + 1} of {references.count}",
        )
        for i in range(references.count)
    ]


def membership_matrix(models: Sequence[Recipe], queries: np.ndarray) -> np.ndarray:
    """Which reference model was trained on which query: (models, queries) bool."""
    return np.array([np.isin(queries, model.rows) for model in models]).reshape(-1, len(queries))


def refuse_unless_enough(inside: np.ndarray, name: str, calibration: Calibration) -> None:
    """Raise UserError where `inside` (models, queries) does not suffice for a calibration."""
    if not models_suffice(inside, calibration):
        seen, unseen = fewest_models(inside)
        raise UserError(
            f"calibration={name}: each query needs {calibration.inside} reference models trained "
            f"on it and {calibration.outside} that are not, there are {seen} and {unseen}; "
            + (
                f"raise reference.count={len(inside)}"
                if inside.any() or not calibration.inside
                else "choose reference=halves: none of the reference models sees a query"
            )
        )


def _own_records(i: int, split: Split, seed: int) -> np.ndarray:
    """The attacker's records in an order of model i's own."""
    own = np.random.default_rng(sub_seed(_model_seed(i, seed), "records"))
    return own.permutation(split.reference)


def _model_seed(i: int, seed: int) -> int:
    return sub_seed(seed, "reference", i)
