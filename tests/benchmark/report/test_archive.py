"""Archives: results and models that serve another machine as they serve this one."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from common import CONF, composed
from report_store import known_result

from benchmark.job import record, run
from benchmark.job.prepare import read_and_draw
from benchmark.job.request import open_request
from benchmark.measures.result import JobResult
from benchmark.models import recipe
from benchmark.report import archive
from benchmark.report.__main__ import main
from benchmark.report.archive import archive_models
from benchmark.report.collect import DONE, Outcome, Study, studies_of
from benchmark.store.entries import Store
from benchmark.store.keys import key
from benchmark.sweep import compose
from benchmark.sweep.compose import Job

Fill = Callable[..., list[str]]

ATTACK = "attack=[full_black_box]"


def stored(job: Job) -> JobResult:
    return known_result(job, {("full_black_box", "none"): 12})


def test_an_archive_gives_the_same_ranking_elsewhere(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fill(stored, "ranking", "victim=vae,dcgan", "seed=0", "calibration=none", ATTACK)
    files = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for file in files:
        words = ["--ranking", *line, "--out", str(tmp_path / "here"), "--archive", str(file)]
        assert main(words) == 0
    assert "2 results: " in capsys.readouterr().out
    assert files[0].read_bytes() == files[1].read_bytes()
    with ZipFile(files[0]) as results:
        results.extractall(tmp_path / "elsewhere")
    (old,) = [word for word in line if word.startswith("machine.store=")]
    there = [f"machine.store={tmp_path / 'elsewhere'}", *(word for word in line if word != old)]
    assert main(["--ranking", *there, "--out", str(tmp_path / "there")]) == 0
    for name in ("standings.csv", "pairs.csv", "index.html"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    studies = studies_of(there)
    records = [outcome.record for outcome in studies[0].done]
    assert all(record.page is None and record.result.samples is None for record in records)
    assert not [
        path
        for path in (tmp_path / "elsewhere").rglob("*.json")
        if old.split("=")[1] in path.read_text(encoding="utf-8")
    ]


def test_an_archive_needs_a_result_and_a_place(
    fill: Fill, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fill(stored, "ranking", "victim=vae", "seed=0", "calibration=none", ATTACK)
    (tmp_path / "file").touch()
    flags = ["--ranking", "--out", str(tmp_path / "out")]
    assert main([*flags, *line, "--archive", str(tmp_path / "file" / "a.zip")]) == 2
    assert "choose another file" in capsys.readouterr().err
    assert main([*flags, *line, "--archive-models", str(tmp_path / "m.zip")]) == 2
    assert "no stored model to archive: these results came without" in capsys.readouterr().err


def test_bad_places_of_archives_are_refused_before_the_report(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fill(stored, "ranking", "victim=vae", "seed=0", "calibration=none", ATTACK)
    one, out = str(tmp_path / "one.zip"), tmp_path / "out"
    words = ["--ranking", "--out", str(out), *line]
    assert main([*words, "--archive", one, "--archive-models", one]) == 2
    assert "choose two files" in capsys.readouterr().err
    for folder in (tmp_path, Path()):
        assert main([*words, "--archive", str(folder)]) == 2
        assert "Is a directory; choose another file" in capsys.readouterr().err
    assert not out.exists()


def test_an_archive_that_fails_leaves_the_earlier_one(
    fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fill(stored, "ranking", "victim=vae", "seed=0", "calibration=none", ATTACK)
    file = tmp_path / "one.zip"
    words = ["--ranking", "--out", str(tmp_path / "out"), *line, "--archive", str(file)]
    assert main(words) == 0
    assert "1 result: " in capsys.readouterr().out
    earlier = file.read_bytes()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "_add", full)
    assert main(words) == 2
    assert "one.zip: No space left on device; choose another file" in capsys.readouterr().err
    assert file.read_bytes() == earlier
    assert not list(tmp_path.glob("*.partial"))


def test_a_job_goes_on_from_archived_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("benchmark.show.page.render_job", lambda result: "")
    words = ["attack=[discriminator]", "quality=none", "blind=none"]
    job = Job((), composed(tmp_path / "here", *words), {})
    made = record.obtain_record(job.filing, lambda: run.run(job.config))
    study = Study("one", "One", None, (("victim=dcgan",),), (Outcome(job, DONE, made),))
    assert archive_models([study], tmp_path / "models.zip") == 2  # a victim, a reference model
    with ZipFile(tmp_path / "models.zip") as models:
        assert not [name for name in models.namelist() if name.endswith((".pt", ".pkl"))]
        models.extractall(tmp_path / "there" / "store")
    assert len(list(Store(tmp_path / "there" / "store").find("victim"))) == 2
    monkeypatch.setattr(recipe, "_train_model", lambda *args: pytest.fail("it was trained anew"))
    again = run.run(composed(tmp_path / "there", *words))
    assert again.scores.equals(made.result.scores)
    store = job.filing.store  # a store that was unpacked has no data yet
    shutil.rmtree(store.root / "data")
    first, _ = (folder for folder, _ in store.find("victim"))
    (first / "weights.safetensors").write_bytes(b"damaged")
    assert archive_models([study], tmp_path / "other.zip") == 1
    assert "1 model not in the store, or damaged: left out" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "line"),
    [("ranking", ["+sweep=ranking"]), ("reference", ["+sweep=reference"])],
)
def test_published_results_are_those_of_the_present_config(folder: str, line: list[str]) -> None:
    """Else nobody finds them: then run the sweep again, or leave what enters its keys as it was."""
    with ZipFile(CONF.parent / "results" / folder / "results.zip") as archive:
        published = {name.split("/")[1] for name in archive.namelist()}
    present = {key(job.filing.result) for job in compose.list_jobs(line)}
    assert published
    assert published <= present


@pytest.mark.slow
def test_published_models_are_those_of_the_present_config(tmp_path: Path) -> None:
    """Else whoever enters an attack trains what was handed over."""
    with ZipFile(CONF.parent / "results" / "ranking" / "models.zip") as archive:
        archive.extractall(tmp_path)
    jobs = compose.list_jobs(["+sweep=ranking", "seed=0", f"machine.store={tmp_path}"])
    assert len(jobs) == 5
    for job in jobs:
        models = read_and_draw(open_request(job.config)).models
        assert len(models) == 2
        assert all(job.filing.store.has("victim", own.filed_under(data)) for own, data in models)
