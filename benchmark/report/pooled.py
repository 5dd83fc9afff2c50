"""Records found at a low false positive rate: of each model, and of all models of a study as one.

The challenge MIDST ranks by the pooled rate: one threshold for the scores of all models, which the
non-members of all of them choose (report arXiv 2603.19185).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmark.measures.numbers import spaced_name
from benchmark.measures.rates import tpr_at_fpr, tpr_interval
from benchmark.report.collect import SEED, Study

FPR = 0.1
POOLED = "pooled"
RATE = ["tpr", "low", "high", "members", "non_members"]
"""What is found of each model."""


def rates_of_models(study: Study) -> pd.DataFrame:
    """TPR at 10 % FPR: a row per group, attack, calibration and model, and one for all models.

    Columns: `Study.labels`, attack, calibrated, seed (or "pooled"), tpr, low, high, members,
    non_members. Intervals take records for independent: that of the pooled rate is about these
    models. Empty where no group has several models.
    """
    found: list[dict[str, Any]] = []
    for group, seeds in study.groups.items():
        if len(seeds) < 2:
            continue
        scores = {seed: outcome.scores for seed, outcome in seeds.items()}
        rows = dict.fromkeys(row for own in scores.values() for row in own)
        for row in rows:
            known = {str(seed): own[row] for seed, own in scores.items() if row in own}
            parts = list(zip(*known.values(), strict=True))
            known[POOLED] = np.concatenate(parts[0]), np.concatenate(parts[1])
            at = dict(zip(study.labels, group.values, strict=True))
            at |= {"attack": row.attack, "calibrated": row.calibrated}
            found += [at | {SEED: seed} | _rate(*own) for seed, own in known.items()]
    return pd.DataFrame(found)


def rates_as_texts(rates: pd.DataFrame) -> pd.DataFrame:
    """A line per attack with the rate of each model and the pooled one, for a reader."""
    names = [name for name in rates if name not in (SEED, *RATE)]
    lines = []
    for at, own in rates.groupby(names, sort=False):
        texts = {
            f"model {seed}" if seed != POOLED else POOLED: f"{tpr:.1%} [{low:.1%}, {high:.1%}]"
            for seed, tpr, low, high in own[[SEED, "tpr", "low", "high"]].itertuples(index=False)
        }
        lines.append(dict(zip(names, at, strict=True)) | texts)
    made = pd.DataFrame(lines)
    seeds = sorted({*rates[SEED]} - {POOLED}, key=int)  # the first group may have fewer of them
    made = made[[*names, *(f"model {seed}" for seed in seeds), POOLED]]
    return made.assign(attack=made["attack"].map(spaced_name)).fillna("n/a")


def _rate(scores: np.ndarray, member: np.ndarray) -> dict[str, float]:
    groups = scores[member], scores[~member]
    values = tpr_at_fpr(*groups, FPR).tpr, *tpr_interval(*groups, FPR), *map(len, groups)
    return dict(zip(RATE, values, strict=True))
