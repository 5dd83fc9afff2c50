"""The worst case: is any single record recognised by somebody who can train the generator?

A mean over all records can hide one that is always recognised. So a few records are chosen by a
rule that is fixed beforehand, and the generator is trained many times on the other members, each
chosen record added by the toss of a coin. Then it is told, for each chosen record, which releases
were made with it.

Source: the game of Stadler, Oprisanu, Troncoso 2022, arXiv 2011.07018 (Groundhog), as in TAPAS;
records far from their five nearest as Meeus, Guepin, Cretu, de Montjoye 2023, arXiv 2306.10308.
Deviations: the chosen records share their runs, each in a half of them that is drawn without regard
to the others, where the papers train anew for each; the other training records are the same in all
runs, so that the attacker knows them (the attacker of differential privacy).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from attacks.distances import Distance
from attacks.search.nearest import find_nearest, in_blocks
from benchmark.audit.evidence import EitherSign
from benchmark.audit.given.case import Case
from benchmark.audit.given.fit import Run
from benchmark.measures import metrics
from benchmark.store.seeds import sub_seed

NEIGHBOURS = 5
"""Records whose mean distance says how far a record is from all others."""
BINS = 10
"""Of each column's histogram, as in the papers' code."""
CORRELATED = 60
"""Columns at most whose correlations are features too: more would be thousands."""
TREES = 100
FAR, EXPOSED = "far from all others", "most exposed by the attacks"


@dataclass(frozen=True)
class Target:
    """One chosen record. place: among the queries; row: among members; why it was chosen."""

    place: int
    row: int
    id: str
    why: str


@dataclass(frozen=True)
class Game:
    """How well one record's presence is told; scores of runs with it, and of runs without it.

    near, far: minus the distance to the closest released record. guessed, missed: the probability
    that a classifier gives, trained on the first half of the runs and asked about the others.
    """

    id: str
    why: str
    near: np.ndarray
    far: np.ndarray
    guessed: np.ndarray
    missed: np.ndarray

    @property
    def tests(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What tells the record's presence -> scores with it and without it."""
        return {
            "closest released record": (self.near, self.far),
            "classifier": (self.guessed, self.missed),
        }


@dataclass(frozen=True)
class Told(EitherSign):
    """One statement about one record: an AUROC over trainings, with its interval."""

    id: str
    why: str
    by: str
    auroc: float
    low: float
    high: float

    @property
    def proven(self) -> bool:
        """Whether the record is recognised better than by guessing, with either sign."""
        return self.low > 0.5 or self.turned


@dataclass(frozen=True)
class Worst:
    """All chosen records. runs: how often the generator was trained for them. references: how often
    it was trained on halves of the records."""

    games: tuple[Game, ...] = ()
    runs: int = 0
    references: int = 0

    @property
    def statements(self) -> int:
        """How many statements are made about single records."""
        return sum(len(game.tests) for game in self.games)

    def list_told(self, level: float) -> list[Told]:
        """Every statement, the surest first; level: of each, so that all of the page hold together.

        The intervals hold for all together, so the record that looks worst may be picked by them.
        """
        found = []
        for game in self.games:
            for by, (inside, outside) in game.tests.items():
                area = metrics.auroc(inside, outside)
                ends = metrics.score_interval(area, len(inside), len(outside), level)
                found.append(Told(game.id, game.why, by, area, *ends))
        return sorted(found, key=lambda told: (-told.gain[1], -told.gain[0]))

    def list_recognised(self, level: float) -> list[str]:
        """The records whose presence is told better than by guessing, after correction."""
        return list(dict.fromkeys(told.id for told in self.list_told(level) if told.proven))


NONE = Worst()
"""Where the generator is not trained anew."""

# --- which records, which runs --------------------------------------------------------------------


def choose_targets(
    case: Case, distance: Distance, rows: pd.DataFrame, scores: pd.DataFrame, count: int
) -> tuple[Target, ...]:
    """Half of the records far from all others, half the most exposed by the strongest attack.

    distance: of records, for what was released.
    rows, scores: of the audit so far; of its attacks the one whose AUROC is furthest from 0.5.
    count: fewer where there are fewer members, or non-members.
    """
    member = np.flatnonzero(case.queries.is_member)
    count = min(count, len(member), int((~case.queries.is_member).sum()))
    apart = _mean_distances(case, distance, member)
    far = member[np.argsort(-apart, kind="stable")][: (count + 1) // 2]
    exposed = [place for place in _by_exposure(rows, scores) if place not in set(far)]
    chosen = [(p, FAR) for p in far] + [(p, EXPOSED) for p in exposed[: count - len(far)]]
    return tuple(
        Target(int(p), int(case.queries.rows[p]), str(case.queries.ids[p]), why)
        for p, why in chosen
    )


def _mean_distances(case: Case, distance: Distance, places: np.ndarray) -> np.ndarray:
    """Mean distance (p,) of members to the NEIGHBOURS nearest others."""
    records = case.data["members"].records(np.arange(len(case.data["members"].values)))
    many = min(NEIGHBOURS + 1, len(records))
    found = _measure_nearest(distance, records, case.queries.records(places), many)
    return found[:, 1:].mean(1) if many > 1 else np.zeros(len(places))


def _measure_nearest(distance: Distance, records: Tensor, queries: Tensor, count: int) -> Any:
    """Distances (q, count) of queries to the nearest of these records."""
    asked, blocks = (distance.scaled(own).flatten(1) for own in (queries, records))
    sums, _ = find_nearest(in_blocks(blocks), asked, count, power=distance.power)
    return sums ** (1 / distance.power)


def _by_exposure(rows: pd.DataFrame, scores: pd.DataFrame) -> list[int]:
    """Places of the members, the most exposed by the strongest attack first."""
    known = rows[rows["auroc"].notna()]
    best = known.iloc[int((known["auroc"] - 0.5).abs().argmax())]
    own = (scores["attack"] == best["attack"]) & (scores["calibrated"] == best["calibrated"])
    group = scores[own & scores["member"]]
    sign = 1 if best["auroc"] >= 0.5 else -1
    return group["query"].to_numpy(int)[np.argsort(-sign * group["score"], kind="stable")].tolist()


def draw_runs(case: Case, chosen: Sequence[Target], count: int, seed: int) -> tuple[Run, ...]:
    """Runs on the other members and the chosen records that coins put in.

    Each record is in half of the earlier runs and in half of the later ones. A chosen record that
    is out is replaced by a non-member drawn anew: all train on as many records as the release did.
    """
    assert case.fit is not None
    own = np.array([target.row for target in chosen])
    base = np.setdiff1d(np.arange(case.fit.members), own)
    others = case.queries.rows[~case.queries.is_member]
    coins = np.random.default_rng(sub_seed(seed, "fit", "coins"))
    sizes = count // 2, count - count // 2
    inside = [[coins.permutation(size) < size // 2 for size in sizes] for _ in own]
    runs = []
    for i, row in enumerate(np.array([np.concatenate(both) for both in inside]).T):
        rng = np.random.default_rng(sub_seed(seed, "fit", "records", i))
        instead = rng.choice(others, (~row).sum(), replace=False)
        rows = rng.permutation(np.concatenate([base, own[row], instead]))
        runs.append((rows, sub_seed(seed, "fit", "game", i) % 2**32))
    return tuple(runs)


# --- what is told ---------------------------------------------------------------------------------


def play_games(
    case: Case, distance: Distance, chosen: Sequence[Target], runs: Sequence[Run], seed: int
) -> tuple[Game, ...]:
    """Which runs had which record, told from what they released; the runs are in the store.

    distance: as for `choose_targets`, the same for all runs.
    """
    inside = np.array([[target.row in set(rows) for target in chosen] for rows, _ in runs])
    records = case.queries.records(np.array([target.place for target in chosen]))
    closeness, seen = [], []
    for run in runs:
        released = torch.from_numpy(case.case_of_run(run).parts["released"]).float()
        closeness.append(-_measure_nearest(distance, released, records, 1)[:, 0])
        seen.append(released.flatten(1)[:, : 0 if case.given["members"].is_image else None])
    own = np.array(closeness)
    features = summarise_releases([block.numpy() for block in seen])
    half = len(runs) // 2
    games = []
    for i, target in enumerate(chosen):
        x, label = np.column_stack([own[:, i], features]), inside[:, i]
        forest = RandomForestClassifier(TREES, random_state=sub_seed(seed, "fit", i) % 2**32)
        guess = forest.fit(x[:half], label[:half]).predict_proba(x[half:])[:, 1]
        later = label[half:]
        scores = own[label, i], own[~label, i], guess[later], guess[~later]
        games.append(Game(target.id, target.why, *scores))
    return tuple(games)


def summarise_releases(releases: Sequence[np.ndarray]) -> np.ndarray:
    """Features (r, f) of r releases (k, d): what Groundhog's attacker looks at.

    Mean, median and variance of each column, its histogram between the ends of all releases, and
    the correlations of columns where these are few.
    """
    low = np.min([release.min(0) for release in releases], axis=0) if releases[0].size else []
    high = np.max([release.max(0) for release in releases], axis=0) if releases[0].size else []
    return np.array([_summarise_release(release, low, high) for release in releases])


def _summarise_release(release: np.ndarray, low: Any, high: Any) -> np.ndarray:
    parts = [release.mean(0), np.median(release, 0), release.var(0)]
    for column, start, end in zip(release.T, low, high, strict=True):
        if end > start:
            parts.append(np.histogram(column, BINS, (start, end))[0] / len(column))
    if 1 < release.shape[1] <= CORRELATED:
        with np.errstate(invalid="ignore", divide="ignore"):
            corr = np.corrcoef(release.T)
        parts.append(np.nan_to_num(corr[np.triu_indices(len(corr), 1)]))
    return np.concatenate(parts) if parts else np.zeros(0)
