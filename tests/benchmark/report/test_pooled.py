"""Rates of models and of all models as one, in a report of hand-made results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_store import known_result

from benchmark.measures.rates import tpr_interval
from benchmark.report.__main__ import main
from benchmark.report.collect import studies_of
from benchmark.report.pooled import rates_as_texts, rates_of_models

Fill = Callable[..., list[str]]


def test_pooled_rates_have_one_threshold_for_all_models(fill: Fill, tmp_path: Path) -> None:
    line = fill(lambda job: known_result(job, {("denoising_loss", "none"): 3}), "midst")
    out = tmp_path / "results"
    assert main([*line, "--out", str(out)]) == 0
    found = pd.read_csv(out / "midst/rates.csv").set_index("seed")
    (study,) = studies_of(line)
    both = [next(iter(outcome.scores.values())) for outcome in study.done]
    scores, member = (np.concatenate(part) for part in zip(*both, strict=True))
    limit = np.sort(scores[~member])[::-1][int(0.1 * (~member).sum())]
    assert found.loc["pooled", "tpr"] == pytest.approx((scores[member] > limit).mean())
    expected = tpr_interval(scores[member], scores[~member], 0.1)
    assert tuple(found.loc["pooled", ["low", "high"]]) == pytest.approx(expected)
    assert found.loc["pooled", "members"] == found.loc[["0", "1"], "members"].sum()
    assert rates_of_models(study)["seed"].tolist() == ["0", "1", "pooled"]
    text = (out / "midst/rates.md").read_text()
    assert "pooled" in text
    assert f"{found.loc['pooled', 'tpr']:.1%}" in text


def test_models_stand_in_their_order_before_all_as_one() -> None:
    """Whichever row has fewer of them."""
    seeds = {"dcgan": ["0", "3", "pooled"], "vae": ["0", "10", "2", "pooled"]}
    rates = pd.DataFrame(
        [
            {"victim": victim, "attack": "a", "seed": seed, "tpr": 0.5, "low": 0.4, "high": 0.6}
            for victim, own in seeds.items()
            for seed in own
        ]
    )
    texts = rates_as_texts(rates)
    models = [f"model {seed}" for seed in (0, 2, 3, 10)]
    assert [*texts] == ["victim", "attack", *models, "pooled"]
    assert texts["model 2"].tolist() == ["n/a", "50.0% [40.0%, 60.0%]"]


def test_one_model_has_no_table_of_rates(fill: Fill, tmp_path: Path) -> None:
    line = fill(lambda job: known_result(job, {("full_black_box", "none"): 3}), "copies")
    assert main([*line, "--out", str(tmp_path / "results")]) == 0
    assert not (tmp_path / "results/copies/rates.csv").exists()
