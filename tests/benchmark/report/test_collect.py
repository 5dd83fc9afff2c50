"""Which settings are columns of a study's table: what tells two jobs apart is never hidden."""

from __future__ import annotations

import pytest

from benchmark.report.collect import Outcome, Study
from benchmark.sweep import compose

WORDS = ["+sweep=privacy", "study.parts=null", "victim=dcgan", "scale=smoke"]
PLAIN = ["dp=off"]


def study_of_lines(*lines: list[str], x: str = "dp.epsilon") -> Study:
    """Of command lines, none of which was run."""
    jobs = [job for line in lines for job in compose.list_jobs([*WORDS, *line])]
    outcomes = tuple(Outcome(job, "not started") for job in jobs)
    return Study("privacy", "Privacy", x, (), outcomes)


@pytest.mark.parametrize("more", ["dp.delta=1e-3", "dp.public_encoding=true"])
def test_a_setting_that_changes_along_x_is_a_column(more: str) -> None:
    """A promise of epsilon 10 and delta 1e-3 differs from one of 1 and 1e-5 in both."""
    name = more.split("=")[0]
    loose, strict = ["dp=on", "dp.epsilon=10", more], ["dp=on", "dp.epsilon=1"]
    assert {name, "dp.epsilon"} <= {*study_of_lines(PLAIN, loose, strict).settings}


def test_what_comes_with_x_is_no_column() -> None:
    private = ["dp=on", "dp.epsilon=10,1", "dp.public_encoding=true"]
    assert study_of_lines(PLAIN, private).settings == ["dp.epsilon"]


def test_jobs_that_differ_without_x_are_two_groups() -> None:
    """With privacy, at the epsilon of its file, and without."""
    assert len(study_of_lines(["dp=off,on"]).every_group) == 2


def test_what_x_alone_changes_is_no_column() -> None:
    """More records have more queries, up to a limit; on another data set there are more by hand."""
    sizes = ["dp=off", "data=mnist5k", "split.members=8,16,32"]
    large = ["dp=off", "data=randhie", "victim=vae_table", "split.members=64", "split.queries=64"]
    study = study_of_lines(sizes, large, x="split.members")
    assert {job.config.split.queries for job in (o.job for o in study.outcomes)} == {8, 16, 24, 64}
    assert study.settings == ["split.members"]
    by_hand = ["dp=off", "data=mnist5k", "split.members=32", "split.queries=9"]
    assert "split.queries" in study_of_lines(sizes, by_hand, x="split.members").settings
