"""A job's record: what is read back, what is found, what a failure leaves behind."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from benchmark.job import files, record
from benchmark.job.filing import Filing
from benchmark.job.filing import _identity_of_data as identity_of_data
from benchmark.measures.result import JobResult
from benchmark.store.provenance import code
from victims.errors import UserError

Config = Callable[..., DictConfig]
Filed = Callable[..., Filing]
without_page = pytest.mark.usefixtures("without_pages")


@pytest.fixture
def filing(config: Config) -> Filed:
    """Where the record of a job with these settings is filed."""
    return lambda *words: Filing(config(*words))


def never() -> JobResult:
    raise AssertionError("made again")


def same(ours: JobResult, other: JobResult) -> None:
    pd.testing.assert_frame_equal(ours.rows, other.rows)
    pd.testing.assert_frame_equal(ours.scores, other.scores)
    np.testing.assert_array_equal(ours.samples, other.samples)
    assert ours.strips.keys() == other.strips.keys()
    for name, strip in ours.strips.items():
        for field in dataclasses.fields(strip):
            a, b = getattr(strip, field.name), getattr(other.strips[name], field.name)
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
    for name in ("title", "config", "provenance", "checks"):
        assert getattr(ours, name) == getattr(other, name)


@without_page
def test_a_result_is_read_back_as_it_was(result: JobResult, tmp_path: Path) -> None:
    files.save_result(result, tmp_path)
    same(files.load_result(tmp_path), result)


@without_page
def test_a_result_without_images_is_read_back(empty: JobResult, tmp_path: Path) -> None:
    files.save_result(empty, tmp_path)
    read = files.load_result(tmp_path)
    pd.testing.assert_frame_equal(read.rows, empty.rows)
    assert read.samples is None


@without_page
def test_a_result_of_other_code_is_said_to_be_and_made_anew_on_demand(
    config: Config, filing: Filed, result: JobResult, caplog: pytest.LogCaptureFixture
) -> None:
    now = code(config().attack)
    assert set(now) == set(config().attack)
    old = dataclasses.replace(result, code=now | {"white_box": "another"})
    record.obtain_record(filing(), lambda: dataclasses.replace(result, code=now))
    record.obtain_record(filing("machine.renew=[white_box]"), never)  # nothing was edited
    assert not caplog.text
    record.obtain_record(filing("seed=1"), lambda: old)
    record.obtain_record(filing("seed=1", "machine.renew=[discriminator]"), never)
    assert "attack=[white_box]: its file was edited" in caplog.text
    renewing = filing("seed=1", "machine.renew=[white_box]")
    assert not record.is_stored(renewing)
    assert record.obtain_record(renewing, lambda: dataclasses.replace(result, code=now)).fresh
    record.obtain_record(renewing, never)


@without_page
def test_what_is_no_attack_is_not_renewed_where_a_result_is_stored(
    filing: Filed, result: JobResult
) -> None:
    record.obtain_record(filing(), lambda: result)
    with pytest.raises(UserError, match="there is no such attack; known are closest_record, "):
        filing("machine.renew=[typo]")
    record.obtain_record(filing("machine.renew=[encoder]"), never)  # of other parts of a sweep


@without_page
def test_of_scores_without_a_digest_nothing_is_claimed(
    filing: Filed, result: JobResult, caplog: pytest.LogCaptureFixture
) -> None:
    old = dataclasses.replace(result, code={"white_box": ""})
    record.obtain_record(filing(), lambda: old)
    record.obtain_record(filing(), never)
    assert not caplog.text
    assert record.obtain_record(filing("machine.renew=[white_box]"), lambda: result).fresh


def test_code_that_is_nowhere_has_no_digest(config: Config) -> None:
    settings = config()
    settings.attack = {"a": {"_target_": "nothing.like.It"}, "b": {"_target_": "It"}, "c": None}
    assert code(settings.attack) == {}


def test_a_stored_job_is_not_done_again(filing: Filed, result: JobResult) -> None:
    first = record.obtain_record(filing(), lambda: result)
    second = record.obtain_record(filing("logger=wandb", "machine.threads=1", "plan=true"), never)
    assert (first.fresh, second.fresh) == (True, False)
    pd.testing.assert_frame_equal(second.result.rows, result.rows)
    assert second.page.read_text().startswith("<!doctype html>")
    found = record.find_record(filing())
    assert isinstance(found, record.Record)
    assert found.folder == first.folder
    assert found.meta["versions"]["numpy"]


@pytest.mark.parametrize("change", ["seed=1", "split.queries=20", "data=randhie", "distance=l2"])
def test_what_matters_enters_the_key(filing: Filed, change: str) -> None:
    assert filing(change).result != filing().result


def test_changed_data_under_the_same_name_have_another_result(
    filing: Filed, tmp_path: Path
) -> None:
    file = tmp_path / "table.csv"
    choice = ["data=table", f"data.file={file}"]
    file.write_text("a,b\n1,2\n")
    before = filing(*choice).result
    file.write_text("a,b\n1,3\n")
    identity_of_data.cache_clear()
    assert filing(*choice).result != before
    moved = tmp_path / "elsewhere.csv"
    moved.write_text("a,b\n1,2\n")
    assert filing("data=table", f"data.file={moved}").result == before


@without_page
def test_a_failure_is_recorded_until_the_job_succeeds(filing: Filed, result: JobResult) -> None:
    def fail(text: str) -> None:
        def make() -> JobResult:
            raise ValueError(text)

        with pytest.raises(ValueError, match=text):
            record.obtain_record(filing(), make)

    fail("first")
    fail("second\nand more")
    failure = record.find_record(filing())
    assert isinstance(failure, dict)
    assert failure["error"] == "ValueError: second"
    assert "make" in failure["traceback"]
    assert failure["config"]["seed"] == 0
    assert record.find_record(filing("seed=1")) is None
    record.obtain_record(filing(), lambda: result)
    assert not list(filing().store.find("failed"))


def test_a_new_attempt_that_is_stopped_is_no_old_failure(filing: Filed) -> None:
    """It was reported as failed, with the error of before, while it ran and after a stop."""

    def fail() -> JobResult:
        raise ValueError("of before")

    def stop() -> JobResult:
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="of before"):
        record.obtain_record(filing(), fail)
    with pytest.raises(KeyboardInterrupt):
        record.obtain_record(filing(), stop)
    assert record.find_record(filing()) is None
    assert record.is_started(filing())


def test_missing_data_is_a_recorded_failure(filing: Filed, tmp_path: Path) -> None:
    missing = filing("data=table", f"data.file={tmp_path}/nowhere.csv")
    with pytest.raises(UserError):
        record.obtain_record(missing, never)
    failure = record.find_record(missing)
    assert isinstance(failure, dict)
    assert "nowhere.csv" in failure["error"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_stopping_a_job_is_no_failure(filing: Filed, stop: type[BaseException]) -> None:
    def make() -> JobResult:
        raise stop

    with pytest.raises(stop):
        record.obtain_record(filing(), make)
    assert record.find_record(filing()) is None


@without_page
def test_a_record_can_make_nothing_but_results(result: JobResult, tmp_path: Path) -> None:
    files.save_result(result, tmp_path)
    tree = json.loads((tmp_path / "result.json").read_text())
    for kind in ("os:system", "benchmark.store.entries:Store", "pathlib:Path"):
        tree[files.IS] = kind
        (tmp_path / "result.json").write_text(json.dumps(tree))
        with pytest.raises(ValueError, match="no part of a result"):
            files.load_result(tmp_path)
