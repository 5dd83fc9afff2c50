"""Sets of records: p-values that are uniform without a leak, and sets that are found with one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.random import default_rng
from scipy.stats import kstest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from benchmark.measures import dataset_inference
from benchmark.measures.dataset_inference import (
    RIDGE,
    set_detection,
    set_p_value,
    set_power,
)
from benchmark.measures.result import enough_records


@pytest.mark.slow
def test_p_values_of_records_that_are_alike_are_uniform() -> None:
    """Heavy tails, ties and scores that are near copies of one another change nothing."""
    rng, found = default_rng(2), []
    for seed in range(200):
        raw = rng.standard_t(2, size=(90, 3))
        features = np.column_stack([raw, raw[:, 0] + 1e-3 * raw[:, 1], np.round(raw[:, 2])])
        found.append(set_p_value(features[:30], features[30:], seed))
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.05) < 0.1


def test_predictions_are_those_of_a_regression_without_the_record() -> None:
    rng = default_rng(4)
    features, labels = rng.normal(size=(25, 3)), (rng.random((2, 25)) < 0.4).astype(float)
    test = dataset_inference._Separation(dataset_inference._normal_scores(features))
    for ours, y in zip(test(labels), labels, strict=True):
        # the intercept is the mean of the others, and the penalty does not touch it
        model = Ridge(RIDGE * 25, fit_intercept=False)
        columns = np.column_stack([test.scores, np.ones(25) * 1e4])  # hardly penalised
        found = cross_val_predict(model, columns, y, cv=LeaveOneOut())
        assert ours == pytest.approx(found[y == 1].mean() - found[y == 0].mean(), abs=1e-5)


def test_a_difference_that_several_attacks_share_is_found_from_few_records() -> None:
    rng = default_rng(3)
    members, others = rng.normal(size=(200, 6)) + 0.5, rng.normal(size=(200, 6))
    curve = {point.size: point.detected for point in set_power(members, others, draws=20)}
    assert list(curve) == [2, 5, 10, 20, 50, 100]
    assert curve[2] < curve[50] == curve[100] == 1


def test_the_direction_of_a_difference_does_not_matter() -> None:
    rng = default_rng(5)
    assert set_p_value(rng.normal(size=(50, 2)) - 1, rng.normal(size=(50, 2))) < 0.01


def test_a_job_s_sets_are_judged_by_what_each_attacker_has() -> None:
    rng, n = default_rng(6), 80
    member = np.arange(2 * n) < n
    weak, strong = rng.normal(size=2 * n), rng.normal(size=2 * n) + 1.5 * member
    frames = [
        pd.DataFrame(
            {"attack": a, "calibrated": "none", "query": range(2 * n), "member": member}
        ).assign(score=s)
        for a, s in {"full_black_box": weak, "white_box": strong}.items()
    ]
    rows = pd.DataFrame(
        {
            "attack": ["full_black_box", "white_box"],
            "access": ["full_black_box", "white_box"],
            "calibrated": "none",
            "status": "ok",
        }
    )
    found = enough_records(set_detection(rows, pd.concat(frames)))
    assert found["released samples"] is None
    assert found["all attacks"] in (10, 20)


def test_what_attackers_bring_is_no_part_of_released_samples_alone() -> None:
    """Reference records and models tell a set; who has the samples alone cannot."""
    rng, n = default_rng(6), 80
    member = np.arange(2 * n) < n
    weak, strong = rng.normal(size=2 * n), rng.normal(size=2 * n) + 1.5 * member
    rows = pd.DataFrame(
        [
            ("full_black_box", "none", "full_black_box"),
            ("full_black_box", "difference", "full_black_box"),
            ("domias_kde", "none", "full_black_box_with_reference"),
        ],
        columns=["attack", "calibrated", "access"],
    ).assign(status="ok")
    for informed in (1, 2):
        frames = [
            pd.DataFrame({"query": range(2 * n), "member": member}).assign(
                attack=row.attack, calibrated=row.calibrated, score=score
            )
            for row, score in zip(
                rows.iloc[[0, informed]].itertuples(), (weak, strong), strict=True
            )
        ]
        found = enough_records(set_detection(rows, pd.concat(frames)))
        assert found["released samples"] is None
        assert found["released samples, and what attackers bring"] in (10, 20)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="are needed"):
        set_p_value(np.zeros((1, 2)), np.zeros((5, 2)))
    with pytest.raises(ValueError, match="finite"):
        set_p_value(np.full((3, 2), np.nan), np.zeros((5, 2)))
