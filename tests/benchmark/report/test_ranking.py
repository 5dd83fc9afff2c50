"""The ranking of hand-made stores, and how often it claims a difference that is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import report_store
from report_store import known_auroc, known_result

from benchmark.measures import metrics
from benchmark.measures.result import NO_ACCESS, Check, JobResult
from benchmark.report.__main__ import main
from benchmark.report.collect import studies_of
from benchmark.report.entries import Result
from benchmark.report.ranking import PAIRS, _pairs, ranked
from benchmark.report.ranking_page import diagram, ranked_studies, write_ranking
from benchmark.report.retrained import retrained_models
from benchmark.sweep.compose import Job

Fill = Callable[..., list[str]]

SHIFTS = {"full_black_box": 0, "discriminator": 4, "encoder": 25, "monte_carlo_pca": 12}
VICTIMS = {"dcgan": 1, "wgan_gp_dcgan": 3, "vae": 5}
THEIRS, MINE = "attack=[full_black_box,discriminator,encoder]", "attack=[monte_carlo_pca]"
WORDS = [f"victim={','.join(VICTIMS)}", "seed=0,1", "calibration=none"]


@pytest.fixture(autouse=True)
def entered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(report_store.ACCESS, "monte_carlo_pca", "full_black_box")
    monkeypatch.setitem(report_store.ACCESS, "blind", NO_ACCESS)


def stored(job: Job) -> JobResult:
    """Each victim and seed shifts all attacks alike; only the VAE grants the encoder."""
    victim = job.choices["victim"]
    lacks = set() if victim == "vae" else {"encoder"}
    shifts = {name: at + VICTIMS[victim] + job.config.seed for name, at in SHIFTS.items()}
    asked = {name: shift for name, shift in shifts.items() if name in job.config.attack}
    return known_result(job, {(n, "none"): None if n in lacks else s for n, s in asked.items()})


def test_intervals_of_unlike_seeds_stay_between_0_and_1(fill: Fill) -> None:
    """Student's with one degree of freedom is wider than all that an AUROC can be."""

    def unlike(job: Job) -> JobResult:
        return known_result(job, {("full_black_box", "none"): 40 * int(job.config.seed)})

    words = ["victim=vae", "seed=0,1", "calibration=none", "attack=[full_black_box]"]
    (row,) = ranked(studies_of(fill(unlike, "ranking", *words))).standings.to_dict("records")
    for measure in ("auroc", "tpr_at_1"):
        ends = row[f"{measure}_low"], row[measure], row[f"{measure}_high"]
        assert all(np.isnan(ends)) or 0.0 <= ends[0] <= ends[1] <= ends[2] <= 1.0
    assert (row["auroc_low"], row["auroc_high"]) == (0.0, 1.0)


def test_an_entry_of_one_s_own_stands_beside_what_is_stored(fill: Fill, tmp_path: Path) -> None:
    studies = [*studies_of(fill(stored, "ranking", *WORDS, THEIRS))]
    studies += studies_of(fill(stored, "ranking", *WORDS, MINE))
    found = ranked(studies).standings.set_index("attack")
    areas = [known_auroc(12 + more + seed) for more in VICTIMS.values() for seed in (0, 1)]
    assert found["auroc"]["monte_carlo_pca"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert found["better_than"]["monte_carlo_pca"] == "full black box"
    assert found["worse_than"]["full_black_box"] == "monte carlo pca"
    ranks = {"monte_carlo_pca": 1, "full_black_box": 2, "discriminator": 1, "encoder": 1}
    assert found["mean_rank"].to_dict() == ranks
    assert found["victims"]["encoder"] == 1

    one_victim = [*WORDS[1:], "victim=dcgan"]  # the same words, fewer victims: no mean rank
    few = ranked([studies[0], *studies_of(fill(stored, "ranking", *one_victim, MINE))]).standings
    few = few.set_index("attack")
    assert few["victims"]["monte_carlo_pca"] == 1
    assert np.isnan(few["mean_rank"]["monte_carlo_pca"])
    assert few["mean_rank"]["full_black_box"] == 1


def test_an_entry_that_lacks_seeds_says_so_and_has_no_rank(fill: Fill, tmp_path: Path) -> None:
    """Its mean is over other models; and the page names the jobs that have no result."""

    def some(job: Job) -> JobResult | None:
        mine, second = "monte_carlo_pca" in job.config.attack, job.config.seed == 1
        return None if mine and second and job.choices["victim"] == "vae" else stored(job)

    theirs = fill(stored, "ranking", *WORDS, THEIRS)
    mine = fill(some, "ranking", *WORDS, MINE)
    studies = [*studies_of(theirs), *studies_of(mine)]
    found = ranked(studies).standings.set_index("attack")
    assert found["seeds"].to_dict()["monte_carlo_pca"] == "1-2"
    assert found["seeds"].to_dict()["full_black_box"] == 2
    assert np.isnan(found["mean_rank"]["monte_carlo_pca"])
    assert found["mean_rank"]["full_black_box"] == 1
    text = write_ranking(studies, tmp_path).read_text()
    assert "<td>3 × 1-2</td>" in text
    assert f"No result with calibration=none {MINE} against vae on mnist5k, seed 1: not" in text


RETRAINED = [*WORDS[1:], "victim=vae"]
BESIDE = "attack=[monte_carlo_pca,full_black_box]"


def trained(day: str, more: float = 0.0) -> Callable[[Job], JobResult]:
    """Results on models of this training, which leak by so much more."""

    def made(job: Job) -> JobResult:
        shift = VICTIMS[job.choices["victim"]] + more
        shifts = {(n, "none"): at + shift for n, at in SHIFTS.items() if n in job.config.attack}
        result = known_result(job, {**shifts, ("blind", "none"): 0})
        return dataclasses.replace(result, provenance={"created": day})

    return made


@pytest.mark.parametrize(
    ("mine", "more", "wanted"),
    [
        (MINE, 3, ["again: 2, for monte carlo pca.", "Nobody knows of 2"]),
        (BESIDE, 0, ["for full black box, monte carlo pca, and are those that the others met: 2."]),
        (BESIDE, 3, ["for full black box", "They are other models: the AUROC of full black box"]),
    ],
)
def test_the_page_says_which_models_were_trained_again(
    fill: Fill, mine: str, more: float, wanted: list[str]
) -> None:
    studies = studies_of(fill(trained("monday"), "ranking", *RETRAINED, THEIRS))
    assert not list(retrained_models(studies))
    studies += studies_of(fill(trained("friday", more), "ranking", *RETRAINED, mine))
    told = list(retrained_models(studies))
    assert len(told) == len(wanted)
    assert all(part in text for part, text in zip(wanted, told, strict=True))


def test_attacks_are_compared_on_one_training_where_both_met_it(fill: Fill) -> None:
    """The others' training of the VAE leaks less: that is no merit of the attack of one's own."""
    studies = studies_of(fill(trained("monday"), "ranking", *RETRAINED, THEIRS))
    studies += studies_of(fill(trained("friday", 3), "ranking", *RETRAINED, BESIDE))
    pairs = ranked(studies).pairs.set_index(["attack_a", "attack_b"])
    found = pairs["difference"]["full_black_box", "monte_carlo_pca"]
    areas = [
        known_auroc(SHIFTS[name] + VICTIMS["vae"] + 3)
        for name in ("full_black_box", "monte_carlo_pca")
    ]
    assert found == pytest.approx(areas[0] - areas[1], abs=1e-12)


def test_the_same_store_gives_the_same_page(fill: Fill, tmp_path: Path) -> None:
    words = ["victim=vae", "seed=0", "calibration=none"]
    line = fill(stored, "ranking", *words, "attack=[full_black_box,monte_carlo_pca]")
    pages = []
    for folder in ("one", "two"):
        assert main(["--ranking", *line, "--out", str(tmp_path / folder)]) == 0
        pages.append({p.name: p.read_bytes() for p in sorted((tmp_path / folder).iterdir())})
    assert pages[0] == pages[1]
    names = {f"full_black_box.{kind}" for kind in ("pdf", "svg")}
    assert pages[0].keys() == names | {"standings.csv", "pairs.csv", "index.html"}
    text = pages[0]["index.html"].decode()
    wanted = ["monte carlo pca", "Victims: vae on mnist5k, seed 0.", "this access: 1."]
    assert all(part in text for part in [*wanted, "surely is about these trained models"])


def test_a_diagram_is_drawn_alike_by_every_process() -> None:
    """Python orders sets of texts anew in each process."""
    names = [f"attack {i}" for i in range(8)]
    standings = pd.DataFrame({"attack": names, "calibrated": "none", "mean_rank": np.arange(8.0)})
    drawn = diagram(standings, pd.DataFrame(columns=PAIRS))
    assert drawn is not None
    lines = [map(np.asarray, line.get_data()) for line in drawn.axes[0].lines]
    (bar,) = [x for x, y in lines if (y == y[0]).all() and len(x) > 2]
    assert list(bar) == sorted(bar)


def test_a_bar_that_passes_by_an_entry_has_no_dot_there() -> None:
    standings = pd.DataFrame({"attack": [*"abc"], "calibrated": "none", "mean_rank": [1.4, 2, 2.6]})
    differ = {"calibrated_a": "none", "attack_b": "b", "calibrated_b": "none", "p_holm": 0.001}
    drawn = diagram(standings, pd.DataFrame([differ | {"attack_a": name} for name in "ac"]))
    assert drawn is not None
    (bar,) = [line for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert list(np.asarray(bar.get_xdata())) == [1.4, 2.6]


def test_own_words_are_compared_with_the_sweep_s_own(words: list[str]) -> None:
    own = [*words, "victim=vae", "seed=0"]
    theirs, mine = ranked_studies([*own, "attack=[encoder]"])
    assert ranked_studies(own)[0].lines == theirs.lines
    assert {o.state for o in (*theirs.outcomes, *mine.outcomes)} == {"not started"}
    assert [list(o.job.config.attack) for o in mine.outcomes] == [["encoder"]]
    assert len({name for o in theirs.outcomes for name in o.job.config.attack}) == 17


def test_a_setting_of_an_attack_of_one_s_own_is_not_one_of_the_sweep(words: list[str]) -> None:
    """Without `attack=` it is meant for the attacks of the sweep."""
    own = [*words, "victim=vae", "seed=0"]
    setting = "attack.monte_carlo_gower.form=share"
    theirs, mine = ranked_studies([*own, "attack=[monte_carlo_gower]", setting])
    assert not any("gower" in name for o in theirs.outcomes for name in o.job.config.attack)
    assert [o.job.config.attack.monte_carlo_gower.form for o in mine.outcomes] == ["share"]
    (changed,) = ranked_studies([*own, "attack.full_black_box.candidates=3"])
    assert {o.job.config.attack.full_black_box.candidates for o in changed.outcomes} == {3}


def test_an_entry_under_two_values_of_a_setting_is_refused(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the first value counted, and nothing said so; what no score depends on may differ."""

    def by_bank(job: Job) -> JobResult:
        return known_result(job, {("full_black_box", "none"): 64 // job.config.bank.size})

    words = ["victim=vae", "seed=0", "calibration=none", "attack=[full_black_box]"]
    line = fill(by_bank, "ranking", *words, "bank.size=64,32", "quality.size=10,11")
    assert main(["--ranking", *line, "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: bank.size: full black box has results with 64 and with 32;")
    assert told.count("\n") == 1
    line = fill(by_bank, "ranking", *words, "bank.size=64", "quality.size=10,11")
    assert main(["--ranking", *line, "--out", str(tmp_path)]) == 0


def test_results_that_an_error_voids_are_left_out(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(job: Job) -> JobResult:
        return dataclasses.replace(stored(job), checks=[Check("a promise", "error", "broken")])

    line = fill(broken, "ranking", "victim=vae", "seed=0", "calibration=none", MINE)
    assert main(["--ranking", *line, "--out", str(tmp_path)]) == 2
    assert "no result to rank; run: python -m benchmark" in capsys.readouterr().err


SEEDS = 5


def entries(rng: np.random.Generator, shifts: list[float], luck: float) -> dict[Any, Any]:
    """Attacks on 5 victims; each victim leaks differently, scores share their noise.

    A seed's queries are those of all victims: what an attack makes of a record, it makes of it for
    each of them. luck: how far a seed moves all members' scores of an attack, with every victim, as
    the attacker's reference records do. No query shows that.
    """
    n, found = 40, dict[Any, Any]()
    habits = rng.normal(size=(SEEDS, len(shifts), 2 * n))
    moves = rng.normal(0, luck, size=(SEEDS, len(shifts)))
    for victim, leak in enumerate(rng.normal(0.5, 0.3, 5)):
        for seed in range(SEEDS):
            shared = rng.normal(size=2 * n)
            for i, shift in enumerate(shifts):
                values = shared + 0.8 * habits[seed, i] + 0.6 * rng.normal(size=2 * n)
                values[:n] += leak + shift + rng.normal(0, 0.1) + moves[seed, i]
                columns = {"query": np.arange(2 * n), "member": np.arange(2 * n) < n}
                scores = pd.DataFrame(columns | {"score": values})
                seeds = found.setdefault((f"a{i}", "none"), {}).setdefault(str(victim), {})
                seeds[seed] = Result({}, scores, "digits")
    return found


def told_apart(rng: np.random.Generator, shifts: list[float], luck: float = 0.0) -> bool:
    p_values = [pair[-1] for pair in _pairs("an access", entries(rng, shifts, luck))]
    return bool((metrics.holm(np.array(p_values)) < 0.05).any())


@pytest.mark.slow
@pytest.mark.parametrize("luck", [0.0, 0.4])
def test_equal_entries_are_seldom_told_apart(luck: float) -> None:
    rng = np.random.default_rng(0)
    false = sum(told_apart(rng, [0.0] * 3, luck) for _ in range(60))
    assert false <= 7, f"{false} of 60"  # 5% are promised; more than 7 have a chance of 1%


@pytest.mark.slow
def test_different_entries_are_often_told_apart() -> None:
    rng = np.random.default_rng(0)
    assert sum(told_apart(rng, [0.0, 0.8]) for _ in range(20)) >= 16
