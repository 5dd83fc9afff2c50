"""Anybody's generator: fitted once, its samples kept, nothing else granted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import composed, fit_in

from benchmark.config.build import build
from benchmark.job import run
from benchmark.job.filing import Filing
from benchmark.job.prepare import prepare
from benchmark.job.request import open_request
from benchmark.store.keys import key
from victims.access import FullBlackBox, PartialBlackBox
from victims.errors import NoAccess, UserError
from victims.package import Package
from victims.schema import Column, Schema
from victims.training.train import load_victim

SCHEMA = Schema([Column("city", "category", ("Oslo", "Rome")), Column("age", "integer", high=100)])
TABLE = {"city": ["Oslo", "Rome", "Oslo", "Oslo"], "age": [30, 41, 52, 63]}


class Resampler:
    """Releases records that it was fitted to."""

    def __init__(self, seed: int = 0, fails: str = "") -> None:
        self.seed, self.fails = seed, fails

    def fit(self, records: pd.DataFrame, discrete: tuple[str, ...] = ()) -> None:
        if self.fails == "fit":
            raise RuntimeError("out of luck")
        if self.fails == "stopped":
            raise KeyboardInterrupt
        self.records, self.discrete = records, discrete

    def sample(self, n: int) -> object:
        rows = np.random.default_rng(self.seed).integers(len(self.records), size=n)
        if isinstance(self.records, np.ndarray):
            return self.records[rows][:, : -1 if self.fails == "columns" else None], rows
        found = self.records.iloc[rows]
        spoilt = {"level": {"city": "Mars"}, "text": {"age": "old"}, "missing": {"age": np.nan}}
        found = found.assign(**spoilt.get(self.fails, {}))[: n // 2 if self.fails == "half" else n]
        if self.fails == "array":
            return found.to_numpy()
        return found.drop(columns="age") if self.fails == "columns" else found


def made(records: str = "table", fails: str = "", samples: int = 9) -> Package:
    given = {"arguments": {"fails": fails}, "samples": samples, "records": records}
    discrete = "discrete" if records == "table" else None
    make = f"{__name__}:Resampler"
    return Package((SCHEMA.width,), make, **given, discrete=discrete, schema=SCHEMA)  # type: ignore[arg-type]


def trained(victim: Package, folder: Path) -> None:
    data = torch.from_numpy(SCHEMA.rows_of_table(TABLE))
    folder.mkdir(exist_ok=True)
    fit_in(folder, victim, data.__getitem__, size=len(data), seed=3)


@pytest.mark.parametrize("records", ["rows", "table"])
def test_its_samples_are_kept_and_each_is_released_once(records: str, tmp_path: Path) -> None:
    trained(made(records), tmp_path)
    victim = load_victim(made(records), tmp_path)
    released = victim.emit(torch.zeros(9, 1), 0)
    known = torch.from_numpy(SCHEMA.rows_of_table(TABLE))
    assert all((row == known).all(1).any() for row in released)
    assert torch.equal(victim.emit(torch.zeros(4, 1), 5), released[5:])
    trained(made(records), tmp_path / "again")
    assert torch.equal(
        load_victim(made(records), tmp_path / "again").emit(torch.zeros(9, 1), 0), released
    )
    with pytest.raises(UserError, match=r"victim\.samples=9: fewer than bank\.size"):
        victim.emit(torch.zeros(9, 1), 1)


def test_too_few_samples_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    words = "data=randhie", "victim=package", "distance=l2", "attack=[closest_record]"
    config = composed(tmp_path, *words, "quality=none", "victim.samples=9")
    with pytest.raises(UserError, match=r"victim\.samples=9: fewer than bank\.size"):
        prepare(open_request(config))


def test_it_is_a_full_black_box_and_not_private(tmp_path: Path) -> None:
    victim = made()
    assert victim.can_grant(FullBlackBox)
    with pytest.raises(NoAccess, match="victim does not grant partial_black_box"):
        victim.refuse_unless_offered(PartialBlackBox)
    with pytest.raises(UserError, match="cannot be trained privately"):
        victim.make_private()


@pytest.mark.parametrize(
    ("records", "fails", "said"),
    [
        ("table", "fit", r"fit fails \(out of luck\)"),
        ("table", "columns", "sample gives no column 'age'"),
        (
            "table",
            "level",
            "make=.* sample gives what no record holds: column 'city': 'Mars' is none",
        ),
        ("table", "missing", "make=.* sample gives what .*: column 'age': a number is missing"),
        ("table", "text", "make=.*: sample fails .*'old'"),
        ("table", "half", "sample gives 4 records, it was asked for 9"),
        ("table", "array", "sample gives a ndarray; .* a pandas table is needed"),
        ("rows", "columns", r"sample gives \(9, 2\), \(9, 3\) is needed"),
    ],
)
def test_what_goes_wrong_is_one_line(records: str, fails: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        trained(made(records, fails), tmp_path)


def test_who_stops_a_fit_is_told_that_it_begins_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(made(fails="stopped"), tmp_path)
    assert "Resampler: fit was stopped; the fit begins again next time" in caplog.text


@pytest.mark.parametrize("make", ["sklearn", "no_such_module:X", "sklearn.mixture:Nothing"])
def test_a_name_that_leads_nowhere_is_one_line(make: str, tmp_path: Path) -> None:
    victim = Package((3,), make, {}, 4)
    with pytest.raises(UserError, match=rf"victim\.make={make}"):
        trained(victim, tmp_path)


def test_a_mixture_of_scikit_learn_is_attacked_with_references(tmp_path: Path) -> None:
    own = "victim.arguments={n_components:2,reg_covar:0.01}"
    settings = composed(tmp_path, "victim=package", own, "data=randhie", "distance=l2")
    settings.attack = {"full_black_box": settings.attack.full_black_box}
    rows = run.run(settings).rows
    assert set(rows["status"]) == {"ok"}
    assert "difference" in set(rows["calibrated"])
    assert len(build(settings.victim, "victim", shape=(28,)).drawn) == settings.bank.size


def test_an_edited_generator_is_fitted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old numbers were shown, with no warning and no way to renew them."""
    monkeypatch.chdir(tmp_path)
    code = "from sklearn.mixture import GaussianMixture\n\n\ndef make():\n    return GaussianMixture(SIZE)\n"
    words = ("victim=package", "victim.make=edited:make", "data=randhie", "distance=l2")

    def filed() -> tuple[object, object]:
        settings = composed(tmp_path, *words)
        job = prepare(open_request(settings))
        return key(Filing(settings).result), key(job.trial.recipe.filed_under(job.trial.dataset))

    (tmp_path / "edited.py").write_text(code.replace("SIZE", "1"))
    first = filed()
    assert filed() == first
    (tmp_path / "edited.py").write_text(code.replace("SIZE", "2"))
    assert not {*filed()} & {*first}
