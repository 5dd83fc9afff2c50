"""Lower bounds on epsilon where the truth is known: how close they come, and how often too high.

    python bench/bounds.py [runs, 200] [canaries, 1000]

Each run shows every canary once through a Gaussian mechanism whose epsilon (at delta 1e-5) is 1, 4
or 16. At most 5% of the runs may show more than the truth. The canaries are independent here, as
the bound from the ROC curve needs them; canaries of one training need not be.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.optimize import brentq

from benchmark.measures import epsilon, gaussian

DELTA = 1e-5


def main(runs: int, canaries: int) -> None:
    """Print a line for each epsilon and bound."""
    for truth in (1.0, 4.0, 16.0):
        mu = brentq(lambda mu, e=truth: gaussian.epsilon_of(mu, DELTA) - e, 1e-3, 20)
        names = "any mechanism", "Gaussian", "Gaussian, ROC"
        found: dict[str, list[float]] = {name: [] for name in names}
        for seed in range(runs):
            rng = np.random.default_rng([11, seed])
            coins = rng.random(canaries) < 0.5
            scores = rng.normal(size=canaries) + mu * coins
            bounds = (
                epsilon.one_run(scores, coins, DELTA),
                gaussian.one_run(scores, coins, DELTA),
                gaussian.from_roc(scores[coins], scores[~coins], DELTA),
            )
            for name, bound in zip(names, bounds, strict=True):
                found[name].append(bound)
        for name, values in found.items():
            above = np.mean(np.array(values) > truth)
            print(f"epsilon {truth:g}: {name}: median {np.median(values):.2f}, above {above:.1%}")
        tighter = np.mean(np.array(found["Gaussian"]) >= np.array(found["any mechanism"]))
        print(f"epsilon {truth:g}: Gaussian is no looser in {tighter:.1%} of the runs")


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], *("200", "1000")[len(sys.argv) - 1 :]]))
