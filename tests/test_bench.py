"""Scripts of `bench/`: what `bench/quantile.py` takes for independent repetitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from bench.quantile import gain_over_seeds


def test_victims_of_one_seed_are_no_repetitions() -> None:
    """Five victims, three seeds, no gain, and splits that all victims of a seed share."""
    wrong, as_if_apart = [], []
    for run in range(200):
        rng = np.random.default_rng([13, run])
        gains = rng.normal(0, 0.02, (3, 1)) + rng.normal(0, 0.005, (3, 5))
        rows = pd.DataFrame({"seed": np.repeat([0, 1, 2], 5), "gain": gains.ravel()})
        found = gain_over_seeds(rows)
        assert found.seeds == 3
        wrong.append(not found.low <= 0 <= found.high)
        as_if_apart.append(stats.ttest_1samp(gains.ravel(), 0).pvalue < 0.05)
    assert np.mean(wrong) <= 0.096  # 5% and three standard errors
    assert np.mean(as_if_apart) >= 0.3
