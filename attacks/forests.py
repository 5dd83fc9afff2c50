"""Random forests as arrays: grown by scikit-learn, kept without its code."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from attacks.base import Learnt

SHARE = 1 / 3
"""Of the inputs that each split of a tree of numbers looks at (Breiman 2001)."""


def grow_forest(
    x: np.ndarray, y: np.ndarray, *, trees: int, seed: int, least: int = 1, levels: bool = False
) -> Learnt:
    """A forest that tells y (n,) from x (n, d) float32, as arrays of its trees' nodes.

    Source: Breiman 2001, Machine Learning 45(1).
    least: records in a leaf, at least.
    levels: whether y are whole numbers that name levels; each tree then votes for one.
    """
    settings = {"n_estimators": trees, "min_samples_leaf": least, "random_state": seed % 2**32}
    settings["n_jobs"] = torch.get_num_threads()
    if levels:
        model = RandomForestClassifier(**settings)
    else:
        model = RandomForestRegressor(max_features=SHARE, **settings)
    model.fit(x, y)
    start, roots = 0, []
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*NODES, "value")}
    for tree in (estimator.tree_ for estimator in model.estimators_):
        own = np.arange(tree.node_count)
        inner = tree.children_left >= 0
        for name, side in (("left", tree.children_left), ("right", tree.children_right)):
            parts[name].append((np.where(inner, side, own) + start).astype(np.int32))
        parts["place"].append(np.where(inner, tree.feature, 0).astype(np.int32))
        parts["limit"].append(tree.threshold)
        told = model.classes_[tree.value[:, 0].argmax(1)] if levels else tree.value[:, 0, 0]
        parts["value"].append(told.astype(np.float32))
        roots.append(start)
        start += tree.node_count
    return {"roots": np.array(roots, np.int32)} | {k: np.concatenate(v) for k, v in parts.items()}


NODES = ("left", "right", "place", "limit")
"""Of each node: where to go on, and what decides it; a leaf leads to itself."""


def ask_forest(forest: Learnt, x: np.ndarray) -> np.ndarray:
    """What each tree says of records (n, d) float32: (n, trees) float32."""
    left, right, place, limit = (forest[name] for name in NODES)
    at = np.repeat(forest["roots"][None], len(x), 0)
    rows = np.arange(len(x))[:, None]
    while True:
        below = np.where(x[rows, place[at]] <= limit[at], left[at], right[at])
        if (below == at).all():
            return forest["value"][at]
        at = below
