"""Blind baseline: can members be told from non-members without looking at the victim?

They should not: where they can, they were not drawn from one distribution, and an attack can win
by telling the distributions apart. The baseline needs labels, so it is no attack.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field, PositiveInt
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attacks.base import some_rows
from benchmark.config.build import Chosen
from benchmark.data.queries import Queries
from benchmark.measures import metrics
from benchmark.measures.columns import summarise_scores
from benchmark.measures.result import NO_ACCESS
from benchmark.store.entries import Store, read_meta
from benchmark.store.seeds import sub_seed

FITTED = 5000
"""Queries that the principal components are fitted to; memory stays bounded."""

BLOCK = 2048

LEAKS = "members and non-members can be told apart without the victim: they differ by themselves"


class Guess(NamedTuple):
    """Scores (n,) of the queries, each by a classifier that did not see it, and their AUROC's
    interval."""

    scores: np.ndarray
    low: float
    high: float


class Blind:
    """A ridge classifier of principal components and their squares, in cross-validation.

    The components are those of all queries, without labels. Scores of a cross-validation are not
    independent, so DeLong's interval would be too narrow (measured on queries that do not differ:
    it lies above 0.5 in 6% of cases, not 2.5%). The 95% interval is the AUROC +- 1.96
    standard deviations of what the same classifier reaches with the labels shuffled within each
    fold.

    components: of the queries, at most.
    folds: of the cross-validation, 2 or more.
    shuffles: of the labels, 20 or more.
    """

    RIDGE = 10.0

    def __init__(
        self,
        components: PositiveInt,
        folds: Annotated[int, Field(ge=2)],
        shuffles: Annotated[int, Field(ge=20)],
    ) -> None:
        self.components, self.folds, self.shuffles = components, folds, shuffles

    def guess_members(
        self,
        queries: Queries,
        seed: int,
        level: float = 0.95,
    ) -> Guess:
        """Scores of the queries (n,). seed: decides folds and shuffles. level: of the interval.

        There must be at least as many members, and non-members, as folds.
        """
        member, features = queries.is_member, self.features_of(queries, seed)
        rng = np.random.default_rng(seed)
        cutter = StratifiedKFold(self.folds, shuffle=True, random_state=int(rng.integers(2**31)))
        folds = list(cutter.split(features, member))
        labels = np.tile(member, (1 + self.shuffles, 1))
        for _, held_out in folds:
            labels[1:, held_out] = rng.permuted(labels[1:, held_out], axis=1)
        model = make_pipeline(StandardScaler(), Ridge(self.RIDGE))
        found = cross_val_predict(model, features, 2.0 * labels.T - 1, cv=folds)
        area, *shuffled = metrics.aurocs(found.T, labels)
        margin = norm.ppf((1 + level) / 2) * float(np.std(shuffled, ddof=1))
        return Guess(found[:, 0], max(0.0, area - margin), min(1.0, area + margin))

    def features_of(self, queries: Queries, seed: int) -> np.ndarray:
        """Principal components of the queries (n, c) and their squares: (n, 2c)."""
        some = queries.records(some_rows(len(queries), FITTED, seed)).flatten(1).numpy()
        pca = PCA(min(self.components, *some.shape), random_state=seed % 2**32).fit(some)
        blocks = [pca.transform(records.flatten(1).numpy()) for _, records in queries.blocks(BLOCK)]
        components = np.concatenate(blocks).astype(np.float64)
        return np.hstack([components, components**2])


def row_of(
    blind: Chosen[Blind] | None, *, queries: Queries, store: Store, seed: int
) -> pd.DataFrame:
    """The baseline's row as in `JobResult`, from the store or made now; no row without it.

    seed: the job's.
    """
    if blind is None:
        return pd.DataFrame()
    baseline = blind.made
    row: dict[str, Any] = {"attack": "blind", "access": NO_ACCESS, "calibrated": "none"}
    row["warnings"] = ""
    member = queries.is_member
    if min(member.sum(), (~member).sum()) < baseline.folds:
        status = f"fewer members or non-members than blind.folds={baseline.folds}"
        return pd.DataFrame([row | {"status": status}])
    seed = sub_seed(seed, "blind")
    filed = {
        "blind": blind.settings,
        "queries": queries.digest,
        "members": queries.take(np.flatnonzero(member)).digest,
        "seed": seed,
    }

    def make(folder: Path) -> None:
        guess = baseline.guess_members(queries, seed)
        np.savez(folder / "guess.npz", **guess._asdict())

    folder = store.get("blind", filed, make)
    stored = np.load(folder / "guess.npz")
    values, low, high = stored["scores"], float(stored["low"]), float(stored["high"])
    row |= summarise_scores(values[member], values[~member])
    # The other intervals are of independent scores, which these are not.
    row |= {name: np.nan for name in row if name.endswith(("_low", "_high"))}
    row |= {"auroc_low": low, "auroc_high": high, "warnings": LEAKS if low > 0.5 else ""}
    return pd.DataFrame([row | {"status": "ok", "seconds": read_meta(folder)["seconds"]}])
