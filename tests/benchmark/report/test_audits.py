"""What canaries showed, in a report of hand-made results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from report_store import known_result

from benchmark.measures.result import JobResult
from benchmark.report.__main__ import main
from benchmark.sweep.compose import Job

Fill = Callable[..., list[str]]
BOUNDS = {
    "epsilon_lower": 0.25,
    "epsilon_gaussian": 0.5,
    "epsilon_roc": 0.125,
}


def audited(job: Job) -> JobResult:
    """Each bound is a share of the promise; the last promise has no result of an audit."""
    made, promise = known_result(job, {("full_black_box", "none"): 3}), job.config.dp.epsilon
    seen = "noised_gradients" if job.choices["canaries"] == "gradient" else "white_box"
    row = {"attack": seen, "canaries": 90, "inside": 40, "epsilon": promise, "delta": 1e-5}
    row |= {name: share * promise for name, share in BOUNDS.items()}
    return dataclasses.replace(made, canaries=pd.DataFrame([row] if promise < 16 else []))


def test_every_bound_stands_beside_its_promise(fill: Fill, tmp_path: Path) -> None:
    line = fill(audited, "bounds")
    assert main([*line, "--out", str(tmp_path / "results")]) == 0
    found = pd.read_csv(tmp_path / "results/bounds/audits.csv")
    assert len(found) == 4
    for name, share in BOUNDS.items():
        assert (found[name] == share * found["epsilon"]).all()
    assert (found["dp.epsilon"] == found["epsilon"]).all()
    assert set(zip(found["canaries"], found["attack"], strict=True)) == {
        ("spliced", "white_box"),
        ("gradient", "noised_gradients"),
    }
    lines = (tmp_path / "results/bounds/audits.md").read_text().splitlines()
    last = [cell.strip() for cell in lines[-1].strip("|").split(" | ")]
    assert last[2:] == [
        "gradient", "4", "noised gradients", "40 of 90 inside", "1.00", "2.00", "0.50", "4",
    ]  # fmt: skip
    page = (tmp_path / "results/index.html").read_text()
    assert "What canaries show of the promise" in page
    assert "<td>noised gradients</td>" in page


def test_a_study_without_audits_has_no_table_of_them(fill: Fill, tmp_path: Path) -> None:
    line = fill(lambda job: known_result(job, {("full_black_box", "none"): 3}), "copies")
    assert main([*line, "--out", str(tmp_path / "results")]) == 0
    assert not (tmp_path / "results/copies/audits.csv").exists()
    assert "What canaries show" not in (tmp_path / "results/index.html").read_text()
