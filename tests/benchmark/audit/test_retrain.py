"""Audits that train the generator anew: reference models, single records, and bad training functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audit_models import table
from conftest import digits

from benchmark.audit import suspects
from benchmark.audit.__main__ import main
from benchmark.audit.beside import told_of_records
from benchmark.audit.request import open_request
from benchmark.audit.run import Audit, compose_audit
from benchmark.audit.worst import Game, Worst, summarise_releases
from victims.errors import UserError

Audited = Callable[..., Audit]
N = 60
SMALL = ("fit.references=4", "fit.runs=20", "fit.records=4", "attack=[full_black_box]")


def resampled(records: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Training rows with replacement, so many that nearly each is released."""
    return records.sample(4 * N, replace=True, random_state=seed)


def fresh(records: pd.DataFrame, seed: int) -> pd.DataFrame:
    """An independent sample, which depends on the records only as a seed does."""
    rows = int(pd.util.hash_pandas_object(records, index=False).sum() % 2**31)
    return table(rows + seed, 4 * N)


@pytest.fixture
def inputs() -> dict[str, pd.DataFrame]:
    return {"members": table(0, N), "non_members": table(1, N)}


def test_a_resampler_is_recognised_on_average_and_record_by_record(
    audited: Audited, inputs, tmp_path: Path
) -> None:
    found = audited(*SMALL, **inputs, fit=resampled)
    assert found.verdict.word == "leak"
    rows = found.result.rows.set_index(["attack", "calibrated"])["auroc"]
    assert rows["full_black_box", "lira_online"] > 0.8
    assert rows["full_black_box", "rmia_online"] > 0.8
    assert len(found.worst.games) == 4
    assert found.verdict.recognised
    page = found.write(tmp_path).read_text()
    assert "Average and worst case" in page
    assert "Worst case: how well the presence of one chosen record is told" in page
    written = json.loads((tmp_path / "audit.json").read_text())["worst"]
    assert written["recognised"] == list(found.verdict.recognised)
    assert written["runs"] == 16


def test_an_independent_sample_is_no_leak(audited: Audited, inputs) -> None:
    found = audited(*SMALL, **inputs, fit=fresh, samples=table(2, 4 * N))
    assert found.verdict.word == "inconclusive"  # 60 records cannot rule out much
    assert not found.verdict.recognised
    assert "none is recognised" in found.headline[-1]


def test_every_run_trains_on_equally_many_records_and_knows_which(audited: Audited, inputs) -> None:
    sizes, seeds = [], []

    def noted(records: pd.DataFrame, seed: int) -> pd.DataFrame:
        sizes.append(len(records))
        seeds.append(seed)
        assert records.dtypes["smokes"] == np.int64
        assert records.dtypes["age"] == np.float64
        return resampled(records, seed)

    found = audited(*SMALL, **inputs, fit=noted)
    assert set(sizes) == {N}
    assert len(seeds) == 1 + 1 + 20 + 1  # which function it is, the release, runs, one for idleness
    for game in found.worst.games:
        assert (len(game.near), len(game.far)) == (8, 8)
        assert (len(game.guessed), len(game.missed)) == (4, 4)


@pytest.mark.slow
def test_a_stopped_audit_goes_on(audited: Audited, inputs, tmp_path: Path, monkeypatch) -> None:
    calls = tmp_path / "calls"
    (tmp_path / "mine.py").write_text(
        "import pathlib\n"
        f"calls = pathlib.Path({str(calls)!r})\n"
        "def fit(records, seed):\n"
        "    calls.mkdir(exist_ok=True)\n"
        "    (calls / str(len(list(calls.iterdir())))).touch()\n"
        f"    if len(list(calls.iterdir())) == 12 and not pathlib.Path({str(tmp_path / 'on')!r}).exists():\n"
        "        raise KeyboardInterrupt\n"
        f"    return records.sample({4 * N}, replace=True, random_state=seed)\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        audited(*SMALL, **inputs, fit="mine:fit")
    (tmp_path / "on").touch()
    found = audited(*SMALL, **inputs, fit="mine:fit")
    assert len(list(calls.iterdir())) == 23  # the stopped one was made again, no other
    again = audited(*SMALL, **inputs, fit="mine:fit")
    assert len(list(calls.iterdir())) == 23
    pd.testing.assert_frame_equal(found.result.scores, again.result.scores)
    assert found.worst.list_told(0.95) == again.worst.list_told(0.95)


@pytest.mark.slow
def test_workers_share_the_trainings_and_find_the_same(
    audited: Audited, inputs, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "slow_training.py").write_text(
        "import os, pathlib, time\n"
        "def fit(records, seed):\n"
        f"    pathlib.Path({str(tmp_path)!r}, f'by-{{os.getpid()}}').touch()\n"
        "    time.sleep(0.05)\n"
        f"    return records.sample({4 * N}, replace=True, random_state=seed)\n"
    )
    monkeypatch.chdir(tmp_path)
    found = [
        audited(
            *(*SMALL, f"machine.workers={count}", f"machine.store={tmp_path}/{count}"),
            **inputs,
            fit="slow_training:fit",
        )
        for count in (2, 1)
    ]
    assert len(list(tmp_path.glob("by-*"))) == 3  # this process and two others
    pd.testing.assert_frame_equal(*(one.result.scores for one in found))
    assert found[0].worst.list_told(0.95) == found[1].worst.list_told(0.95)


def changed(column: str, value: Any) -> Callable[[pd.DataFrame, int], pd.DataFrame]:
    def fit(records: pd.DataFrame, seed: int) -> pd.DataFrame:
        return resampled(records, seed).assign(**{column: value})

    return fit


BAD = {
    "another category": (changed("town", "east"), "holds 'east', which no input has"),
    "text": (changed("age", "old"), "column 'age' holds 'old', finite numbers are needed"),
    "gaps": (changed("age", np.nan), "numbers are missing, and in no input"),
    "infinite": (changed("age", np.inf), "holds inf, finite numbers are needed"),
    "more columns": (changed("more", 1), "with more besides"),
    "fewer columns": (lambda r, s: resampled(r, s).drop(columns="age"), "without age"),
    "its seed": (lambda r, s: pd.concat([r] * 4), "with two seeds it gives the same records"),
    "its records": (lambda r, s: table(s, 4 * N), "on two different sets of records"),
    "nothing": (lambda r, s: None, "gives a NoneType"),
    "an error": (lambda r, s: 1 / 0, "it fails (ZeroDivisionError: division by zero)"),
    "no array of this width": (lambda r, s: np.zeros((9, 2)), "(9, 2), (n, 4) is needed"),
    "no function": (3, "a function fit(records, seed) is needed"),
    "no such module": ("nowhere:fit", "No module named 'nowhere'"),
    "fewer records": (
        lambda r, s: r.sample(4 * N if len(r) == N + 1 else N, replace=True, random_state=s),
        "it gives 60 records where 240 were released",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_training_function_is_one_line(audited: Audited, inputs, name: str) -> None:
    fit, message = BAD[name]
    given = {"samples": table(2, 4 * N)} if name == "fewer records" else {}
    with pytest.raises(UserError) as error:
        audited(*SMALL, **inputs, **given, fit=fit)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fit.references=5", "no even number from 4 to fit.runs=20"),
        ("fit.references=12", "leaves 8 for the worst records"),
        ("fit.records=0", "greater than 0"),
    ],
)
def test_a_budget_that_cannot_work_is_refused_before_training(
    audited: Audited, inputs, word: str, message: str
) -> None:
    def never(records: pd.DataFrame, seed: int) -> pd.DataFrame:
        raise AssertionError

    with pytest.raises(UserError, match=message):
        audited(*SMALL, word, **inputs, fit=never)


def test_on_the_command_line(inputs, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name, frame in inputs.items():
        frame.to_csv(f"{name}.csv", index=False)
    (tmp_path / "own.py").write_text(
        "class Generator:\n"
        "    def __init__(self, records, seed):\n"
        "        self.records, self.seed = records, seed\n"
        "    def sample(self, n):\n"
        "        return self.records.sample(n, replace=True, random_state=self.seed)\n"
    )
    words = ["members=members.csv", "non_members=non_members.csv", "fit=own:Generator"]
    main([*words, *SMALL, "fit.runs=4", "scale=smoke", "machine.progress=false"])
    assert "rmia online" in capsys.readouterr().out
    (tmp_path / "own.py").write_text("def fit(records, seed):\n    return records[:1] + 1\n")
    with pytest.raises(SystemExit) as error:
        main([*words[:2], "fit=own:nothing", *SMALL, "scale=smoke"])
    assert error.value.code == 2
    assert "error: fit=own:nothing" in capsys.readouterr().err


def test_a_set_of_suspects_takes_no_training(inputs, tmp_path: Path) -> None:
    words = [f"machine.store={tmp_path}"]
    sources = {"suspects": inputs["members"], "unseen": inputs["non_members"], "fit": resampled}
    with pytest.raises(UserError, match="fit= has no effect beside suspects="):
        suspects.run_set_audit(open_request(compose_audit(words), sources))


def test_images(audited: Audited) -> None:
    images = digits(0, 2 * N).numpy()

    def fit(records: np.ndarray, seed: int) -> np.ndarray:
        return records[np.random.default_rng(seed).integers(0, len(records), 4 * N)]

    found = audited(*SMALL, "fit.records=1", members=images[:N], non_members=images[N:], fit=fit)
    assert found.verdict.word == "leak"
    assert found.verdict.recognised


# --- single records -------------------------------------------------------------------------------


def test_single_records_are_found_by_chance_no_more_often_than_promised() -> None:
    rng, level = np.random.default_rng(0), 1 - 0.05 / 20
    alarms = 0
    for _ in range(60):
        games = tuple(
            Game(str(i), "", *rng.normal(size=(2, 24)), *rng.normal(size=(2, 12)).round(1))
            for i in range(5)
        )
        alarms += bool(Worst(games, 48).list_recognised(level))
    assert alarms / 60 < 0.1  # 0.03 are promised at most


@pytest.mark.parametrize("sign", [1, -1])
def test_a_record_that_is_always_told_is_recognised_with_either_sign(sign: int) -> None:
    """With the sign turned it was called safe, and the AUROC that it has was ruled out."""
    near, far = sign * np.linspace(2, 3, 24), sign * np.linspace(0, 1, 24)
    rng, guesses = np.random.default_rng(0), np.full(12, 0.5)
    told = Game("r7", "far", near, far, guesses, guesses)
    safe = Game("r8", "far", *rng.normal(size=(2, 24)), guesses, guesses)
    worst = Worst((safe, told), 48)
    assert worst.list_recognised(0.999) == ["r7"]
    best = worst.list_told(0.999)[0]
    assert (best.id, best.by, best.gain[0]) == ("r7", "closest released record", 1.0)


def test_what_is_ruled_out_of_single_records_holds_for_both_signs(audited: Audited, inputs) -> None:
    verdict = replace(audited(**inputs, samples=table(3, N)).verdict, recognised=(), word="leak")
    rng, guesses = np.random.default_rng(1), np.full(12, 0.5)
    below = Game("r1", "far", rng.normal(size=24) - 0.6, rng.normal(size=24), guesses, guesses)
    worst = Worst((below,), 48)
    told = {own.by: own for own in worst.list_told(verdict.level)}["closest released record"]
    assert not told.proven
    (sentence,) = told_of_records(verdict, worst)
    assert f"above {1 - told.low:.3f} is ruled out" in sentence
    assert 1 - told.low > told.high
    turned = Game("r2", "far", np.linspace(0, 1, 24), np.linspace(2, 3, 24), guesses, guesses)
    worst = Worst((turned,), 48)
    recognised = replace(verdict, recognised=tuple(worst.list_recognised(verdict.level)))
    (sentence,) = told_of_records(recognised, worst)
    assert "its sign turned: AUROC 1.000" in sentence


def test_summaries_are_what_they_say() -> None:
    releases = [np.random.default_rng(i).normal(i, 1, (500, 3)) for i in range(2)]
    found = summarise_releases(releases)
    assert found.shape == (2, 3 * 3 + 3 * 10 + 3)
    np.testing.assert_allclose(found[1, :3], releases[1].mean(0))
    np.testing.assert_allclose(found[:, 9:39].reshape(2, 3, 10).sum(2), 1)
    np.testing.assert_allclose(found[0, -3:], np.corrcoef(releases[0].T)[[0, 0, 1], [1, 2, 2]])
