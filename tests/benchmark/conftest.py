"""A realistic job result, synthetic but consistent: its rows' numbers follow from its scores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmark.measures import pairs
from benchmark.measures.copies import COPIES
from benchmark.measures.rates import FPR_COLUMNS
from benchmark.measures.result import Check, JobResult, Strip
from benchmark.show.page import render_job

N = 200
QUALITY = {
    "Frechet distance (AlexNet)": 12.345,
    "precision": 0.5,
    "Frechet distance (AlexNet), untrained": 1234.5,
    "precision, untrained": 0.0,
    "Frechet distance (AlexNet), real": 0.514,
    "precision, real": float("nan"),
    "parameters": 1234567,
    "training seconds": 205.2,
}
COPIED = [
    ["near copies", 0.05, 0.005, 0.045, 0.012, 0.081, 0.0004, 0.2, "pixels"],
    ["C_T", -3.21, -1.5, -1.71, -2.3, -1.12, float("nan"), float("nan"), "pixels"],
]
ATTACKS = (
    ("full_black_box", "full black box", "none", 0.4, 0.31),
    ("full_black_box", "full black box", "reference", 0.7, 40.2),
    ("partial_black_box", "partial black box", "none", 0.5, 75.0),
    ("white_box", "white box", "none", 0.6, 61.4),
    ("accessible_discriminator", "discriminator", "none", 4.0, 0.04),
)


@pytest.fixture
def result() -> JobResult:
    return made_result()


@pytest.fixture(scope="session")
def page() -> str:
    """The page of `result`: drawing its figures takes a second."""
    return render_job(made_result())


@pytest.fixture
def without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's page takes a second, and is tested elsewhere."""
    monkeypatch.setattr("benchmark.show.page.render_job", lambda result: "")


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's figures take most of its time, and are tested elsewhere."""
    monkeypatch.setattr("benchmark.show.figures.inline_svg", lambda figure, prefix: "")


def made_result() -> JobResult:
    rng = np.random.default_rng(0)
    member = rng.permutation(np.arange(2 * N) < N)
    rows, frames = [], []
    for attack, access, calibrated, shift, seconds in ATTACKS:
        score = rng.normal(size=2 * N) + shift * member
        rows.append(_row(attack, access, calibrated, seconds, member, score))
        columns = {"query": np.arange(2 * N), "member": member, "score": score}
        frames.append(pd.DataFrame({"attack": attack, "calibrated": calibrated} | columns))
    rows[2]["warnings"] = "31% of the scores are tied; the interval is too narrow"
    rows.append(_no_access(rows[0]))
    table, scores = pd.DataFrame(rows), pd.concat(frames, ignore_index=True)
    comparisons = pairs.compare_rows(scores)
    return JobResult(
        title="DCGAN, 256 members of mnist5k, seed 0",
        config={"seed": 0, "sweep": None, "data": {"_target_": "Mnist5k"}, "k": 20000, "lr": 2e-4},
        provenance={"key": "3f2a9c", "commit": "0a1b2c3", "duplicates dropped": 4},
        rows=table.assign(best=pairs.best_rows(table, comparisons)),
        scores=scores,
        comparisons=comparisons,
        sets=pairs.set_curves(scores),
        copies=pd.DataFrame(COPIED, columns=COPIES),
        closest=_strip(rng),
        samples=np.stack([_blob(rng) for _ in range(32)]),
        strips={"full_black_box": _strip(rng), "white_box": _strip(rng)},
        checks=[
            Check("ties", "warning", "partial_black_box: 31% of the scores are tied"),
            Check("overlap", "info", "members, non-members and reference share no record"),
        ],
        quality=QUALITY,
    )


@pytest.fixture
def empty(result: JobResult) -> JobResult:
    """A job in which no attack gave a number."""
    rows = pd.DataFrame([_no_access(row) for row in result.rows.to_dict("records")])
    rows.loc[0, "status"] = "failed: the loss became NaN"
    return JobResult("nothing", {}, {}, rows, result.scores.iloc[:0])


def _row(attack, access, calibrated, seconds, member, score) -> dict:
    auroc = roc_auc_score(member, score)
    half = 1.96 * np.sqrt(auroc * (1 - auroc) / N)
    false, true, _ = roc_curve(member, score)
    advantage = (true - false).max()
    row = {
        "attack": attack,
        "access": access,
        "calibrated": calibrated,
        "auroc": auroc,
        "auroc_low": auroc - half,
        "auroc_high": min(1.0, auroc + half),
        "average_precision": average_precision_score(member, score),
        "balanced_accuracy": (1 + advantage) / 2,
        "advantage": advantage,
    }
    for column, rate in FPR_COLUMNS.items():
        value = true[false <= rate].max() if rate * N >= 1 else np.nan
        low, high = max(0.0, value - 0.05), min(1.0, value + 0.05)
        row |= {column: value, f"{column}_low": low, f"{column}_high": high}
        if np.isnan(value):
            row |= {f"{column}_low": np.nan, f"{column}_high": np.nan}
    tail = {"n_members": N, "n_non_members": N, "seconds": seconds, "warnings": "", "status": "ok"}
    return row | tail


def _no_access(row: dict) -> dict:
    keep = {"access", "calibrated", "n_members", "n_non_members", "warnings"}
    nothing = {k: v if k in keep else np.nan for k, v in row.items()}
    return nothing | {"attack": "accessible_encoder", "access": "encoder", "status": "no access"}


def _blob(rng: np.random.Generator) -> np.ndarray:
    """Something round on black, (1, 32, 32) in [-1, 1]."""
    grid = np.stack(np.meshgrid(np.arange(32), np.arange(32)))
    centre, radius = rng.uniform(10, 22, (2, 1, 1)), rng.uniform(4, 9)
    distance = np.sqrt(((grid - centre) ** 2).sum(0))
    return (2 * np.exp(-((distance - radius) ** 2) / 6) - 1)[None].astype(np.float32)


def _strip(rng: np.random.Generator) -> Strip:
    queries = np.stack([_blob(rng) for _ in range(20)])
    noise = rng.normal(0, 0.15, queries.shape).astype(np.float32)
    member = np.arange(20) % 2 == 0
    return Strip(queries, (queries + noise).clip(-1, 1), member, (noise**2).mean((1, 2, 3)))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
