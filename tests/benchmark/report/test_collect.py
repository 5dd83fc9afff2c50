"""Which settings are columns of a study's table: what tells two jobs apart is never hidden."""

from __future__ import annotations

import pytest

from benchmark.report.collect import Outcome, Study
from benchmark.sweep import compose

WORDS = ["+sweep=privacy", "study.parts=null", "victim=dcgan", "scale=smoke"]
PLAIN = ["dp=off"]


def study_of_lines(*lines: list[str]) -> Study:
    """Of command lines, none of which was run."""
    jobs = [job for line in lines for job in compose.list_jobs([*WORDS, *line])]
    outcomes = tuple(Outcome(job, "not started") for job in jobs)
    return Study("privacy", "Privacy", "dp.epsilon", (), outcomes)


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
