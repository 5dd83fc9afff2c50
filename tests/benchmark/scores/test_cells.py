"""Rows that equal a record but for rounding: every cell counts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.measures.copies import EXACT
from benchmark.scores.cells import cells_agree, width_of_half


@pytest.mark.parametrize("share", [0.0, 0.002, 0.02, 0.3])
@pytest.mark.parametrize("code", [-9.0, 99999.0, 1e9])
def test_codes_hardly_change_a_columns_width(share: float, code: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(100, 15, 2000).round(1)
    coded = np.where(rng.random(2000) < share, code, values)
    assert width_of_half(coded) == pytest.approx(width_of_half(values), rel=0.1)
    flags = np.where(rng.random(2000) < share, code, rng.random(2000) < 0.01)
    assert width_of_half(flags) <= max(1, -code)


def test_one_cell_that_differs_is_enough() -> None:
    records = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    records[:, 2] = np.arange(100) % 2
    samples = records[:4] + np.float32(1e-5)
    samples[1, 0] += 20 * EXACT
    samples[2, 2] = 1 - samples[2, 2]
    closest = np.array([0, 1, 2, 50])
    assert cells_agree(records, closest, samples, np.arange(4)).tolist() == [1, 0, 0, 0]
    rounding = np.array([30 * EXACT, 0, 0])
    assert cells_agree(records, closest, samples, np.arange(4), rounding).tolist() == [1, 1, 0, 0]
    assert not len(cells_agree(records, closest[:0], samples, closest[:0]))


def test_a_column_of_one_value_must_be_equal() -> None:
    assert width_of_half(np.full(5, 3.0)) == 0
