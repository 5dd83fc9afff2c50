"""Published figures beside ours, of hand-made results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_store import result_of
from scipy.stats import binomtest

from benchmark.measures.metrics import auroc, score_interval
from benchmark.measures.rates import tpr_at_fpr
from benchmark.measures.result import JobResult
from benchmark.measures.top_half import share_in_top_half
from benchmark.report import replication
from benchmark.report.__main__ import main
from benchmark.report.collect import studies_of
from benchmark.report.published import CELL, COLUMNS, PUBLISHED, checked_rows, rows_of_studies
from benchmark.report.replication import MEASURES, replication_table, replication_texts
from benchmark.sweep.compose import Job

Fill = Callable[..., list[str]]
N = 200


def figures(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Checked figures of 24 digits: victim, attack, measure, value; each the mean of 100 repetitions."""
    at = {"sweep": "replicate_hilprecht", "data": "mnist5k", "records": "24", "experiments": "100"}
    names = ("victim", "attack", "measure", "value")
    own = [at | dict(zip(names, map(str, row), strict=True)) for row in rows]
    return pd.DataFrame(own).assign(paper="A 2020, arXiv 2001.00001", place="", file="", what="x")


def scored(job: Job) -> JobResult | None:
    """A VAE's encoder has 60% of the members in the top half, 90% where 16 records trained."""
    if job.choices["victim"] != "vae":
        return None
    share = 0.6 if int(job.config.split.members) == 24 else 0.9
    low, many = np.arange(N) / N, int(share * N)
    members = np.where(np.arange(N) < many, low + 2, low)
    others = np.where(np.arange(N) < N - many, low + 2, low)
    scores = {("encoder", "none"): np.concatenate([members, others])}
    return result_of(job, scores, np.arange(2 * N) < N)


def test_each_figure_says_whether_ours_agrees(fill: Fill) -> None:
    (study,) = studies_of(fill(scored, "replicate_hilprecht"))
    published = figures(
        ("vae", "encoder", "top_half", 0.61),
        ("vae", "encoder", "top_half", 0.7),
        ("vae", "monte_carlo_pca", "top_half", 0.6),
        ("dcgan", "discriminator", "top_half_sets", 0.6),
        ("vae", "encoder", "top_half_sets", 0.99),
    )
    found = replication_table(study, published)
    ours = share_in_top_half(*(np.array([1.0] * a + [0.0] * (N - a)) for a in (120, 80)))
    first = found.iloc[0]
    assert tuple(first[["measured", "low", "high"]]) == pytest.approx(ours)
    assert ours.value == 0.6
    assert first["published"] == 0.61
    assert first["published_low"] == pytest.approx(0.61 - 1.96 * 0.5 / np.sqrt(20000), abs=0.001)
    verdicts = found[["attack", "records", "verdict"]].to_numpy().tolist()
    assert verdicts == [
        ["encoder", 24, "agrees"],
        ["encoder", 16, "other records"],
        ["encoder", 24, "differs"],
        ["encoder", 16, "other records"],
        ["monte_carlo_pca", 24, "not run"],
        ["discriminator", 24, "not run"],
        ["encoder", 24, "agrees"],
        ["encoder", 16, "other records"],
    ]
    assert np.isnan(found["measured"][4])
    assert found["seeds"][4] == 0


def test_a_figure_of_no_known_measure_is_refused(fill: Fill) -> None:
    (study,) = studies_of(fill(scored, "replicate_hilprecht"))
    with pytest.raises(ValueError, match="guesswork"):
        replication_table(study, figures(("vae", "encoder", "guesswork", 0.6)))


def test_an_auroc_and_a_rate_are_compared_by_their_intervals(fill: Fill) -> None:
    """Of as many queries as records were published: 24 members and 24 others."""
    (study,) = studies_of(fill(scored, "replicate_hilprecht"))
    published = figures(
        ("vae", "encoder", "auroc", 0.9),
        ("vae", "encoder", "auroc", 1.0),
        ("vae", "encoder", "tpr_at_1", 0.25),
    )
    found = replication_table(study, published)
    found = found[found["records"] == 24].reset_index(drop=True)
    members, others = (np.arange(N) / N + 2 * (np.arange(N) < many) for many in (120, 80))
    assert found["measured"][0] == pytest.approx(auroc(members, others))
    assert found["measured"][2] == tpr_at_fpr(members, others, 0.01).tpr
    assert tuple(found.loc[0, ["published_low", "published_high"]]) == pytest.approx(
        score_interval(0.9, 24, 24, 0.95)
    )
    assert tuple(found.loc[2, ["published_low", "published_high"]]) == pytest.approx(
        binomtest(6, 24).proportion_ci()
    )
    assert found["verdict"].tolist()[:2] == ["differs", "differs"]
    texts = replication_texts(found)
    assert texts["published"][1].startswith("1.000 [0.")
    assert texts["published"][2].startswith("25.0% [")


def test_seeds_are_combined_and_each_counts(fill: Fill) -> None:
    (study,) = studies_of(fill(scored, "replicate_hilprecht", "seed=0,1,2"))
    found = replication_table(study, figures(("vae", "encoder", "top_half", 0.6))).iloc[0]
    one = share_in_top_half(*(np.array([1.0] * a + [0.0] * (N - a)) for a in (120, 80)))
    assert found["seeds"] == 3
    assert found["measured"] == pytest.approx(0.6)
    half = max(one.high - one.value, one.value - one.low) / np.sqrt(3)
    assert found["high"] - found["measured"] == pytest.approx(half)


def test_the_report_writes_them_and_shows_them(
    fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = figures(("vae", "encoder", "top_half", 0.61), ("vae", "encoder", "top_half", 0.7))
    file = tmp_path / "published.csv"
    published.assign(checked="true")[[*COLUMNS, *CELL]].to_csv(file, index=False)
    for module in ("replication", "__main__"):
        monkeypatch.setattr(f"benchmark.report.{module}.PUBLISHED", file)
    replication.beside_published.cache_clear()
    line = fill(scored, "replicate_hilprecht")
    assert main([*line, "--out", str(tmp_path / "results")]) == 0
    folder = tmp_path / "results/replicate_hilprecht"
    assert len(pd.read_csv(folder / "replication.csv")) == 4
    text = (folder / "replication.md").read_text()
    assert "| 61.0% [60.3%, 61.7%] | 60.0% [55.0%, 64.8%] | agrees |" in text
    page = (tmp_path / "results/index.html").read_text()
    assert "Published figures beside ours" in page
    assert "<td>differs</td>" in page


@pytest.mark.slow
def test_the_shipped_figures_name_jobs_that_are_run(words: list[str]) -> None:
    """Each figure has a job of its sweep, with its attack and number of records.

    Figures of Hilprecht et al. at laptop scale, those that need a GPU at the paper's.
    """
    own = [word for word in words if not word.startswith("scale")]
    scales = {"replicate_hilprecht": "laptop", "replicate_matsumoto": "paper"}
    rows = checked_rows(PUBLISHED)
    rows = rows[rows["sweep"] != ""]
    assert len(rows) >= 24
    assert set(rows["measure"]) <= set(MEASURES)
    for sweep, figures in rows.groupby("sweep"):
        (study,) = studies_of([f"+sweep={sweep}", f"scale={scales[str(sweep)]}", *own])
        jobs = {
            (o.job.choices["data"], o.job.choices["victim"], str(o.job.config.split.members))
            for o in study.outcomes
        }
        asked = set(figures[["data", "victim", "records"]].itertuples(index=False, name=None))
        assert asked <= jobs
        attacks = {name for o in study.outcomes for name in o.job.config.attack}
        assert set(figures["attack"]) <= attacks


def test_a_page_has_the_figures_of_its_own_studies() -> None:
    rows = checked_rows(PUBLISHED)
    hilprecht, matsumoto = (
        rows_of_studies(rows, [f"replicate_{name}"]) for name in ("hilprecht", "matsumoto")
    )
    assert len(hilprecht) == len(matsumoto) == 24
    assert set(matsumoto["paper"]) == {"Matsumoto, Miura, Yanai 2023, arXiv 2302.03262"}
    assert rows_of_studies(rows, ["taxonomy"]).empty
