"""The promise of private training in a job: what is refused, what is shown, what breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmark.measures import epsilon
from benchmark.measures.result import Check
from victims.budget import default_delta

LEVEL = 0.05
"""Chance that an honest promise is called broken by any of a job's rows, if queries are independent
as `epsilon.from_scores` takes them; and as much again by any attack on its canaries."""


def spent_or_none(spent: Mapping[str, Any] | None, members: int) -> dict[str, Any]:
    """What was spent; without private training only the delta at which losses are shown."""
    return dict(spent) if spent else {"delta": default_delta(members)}


def promise_columns(
    rows: pd.DataFrame, scores: pd.DataFrame, spent: Mapping[str, Any] | None, members: int
) -> pd.DataFrame:
    """The rows with columns epsilon, delta, sigma, clipping_norm and epsilon_lower.

    spent: the victim's (`Ledger.write`), None without private training: then epsilon is infinite.
    epsilon_lower: what the row's scores show at 95%, at delta or, without one, at the default.
    """
    delta = spent_or_none(spent, members)["delta"]
    spent = spent or {}
    bounds = _epsilon_bounds(scores, delta, 0.95)
    names = zip(rows["attack"], rows["calibrated"], strict=True)
    return rows.assign(
        epsilon=float(spent.get("epsilon", np.inf)),
        delta=float(spent.get("delta", np.nan)),
        sigma=float(spent.get("noise_multiplier", np.nan)),
        clipping_norm=float(spent.get("max_grad_norm", np.nan)),
        epsilon_lower=[bounds.get(name, np.nan) for name in names],
    )


def check_broken(
    scores: pd.DataFrame, spent: Mapping[str, Any] | None, canaries: pd.DataFrame
) -> list[Check]:
    """Attacks that show more than the promise allows, at LEVEL over all rows together.

    Likewise over all attacks on the canaries, see `benchmark.job.canaries.audit_canaries`.
    """
    if not spent:
        return []
    found = [
        _message_of(f"{attack} (calibrated: {calibrated})", bound, spent["epsilon"])
        for (attack, calibrated), bound in _epsilon_bounds(scores, spent["delta"], None).items()
        if bound > spent["epsilon"]
    ]
    for _, row in canaries.iterrows():
        if row["epsilon_lower"] > row["epsilon"]:
            name = f"{row['attack']} on {row['canaries']} canaries"
            found.append(_message_of(name, row["epsilon_lower"], row["epsilon"]))
    return [Check("broken promise", "error", message) for message in found]


def check_nominal(spent: Mapping[str, Any] | None) -> list[Check]:
    """A promise holds against who does not know the seed, and a job's seed is there to be read."""
    message = (
        "epsilon is promised against who does not know the seed, which stands in the config, the "
        "page and the store: publish no model of secrets that was trained so"
    )
    return [Check("nominal promise", "warning", message)] if spent else []


def _message_of(attack: str, bound: float, promise: float) -> str:
    return (
        f"{attack} shows epsilon to be at least {bound:.3g}, but {promise:.3g} is promised: "
        "there is a bug in the private training, or its seed has become known"
    )


def _epsilon_bounds(
    scores: pd.DataFrame, delta: float, level: float | None
) -> dict[tuple[str, str], float]:
    """Epsilon's lower bound by (attack, calibration); level None: corrected for their number."""
    groups = list(scores.groupby(["attack", "calibrated"], sort=False))
    level = 1 - LEVEL / max(1, len(groups)) if level is None else level
    found = {}
    for name, group in groups:
        member, values = group["member"].to_numpy(bool), group["score"].to_numpy(float)
        found[str(name[0]), str(name[1])] = epsilon.from_scores(
            values[member], values[~member], delta, level
        )
    return found
