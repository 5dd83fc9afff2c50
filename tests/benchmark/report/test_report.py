"""The report of hand-made stores whose AUROCs are known."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_store import known_auroc, known_result, known_scores
from scipy import stats

from benchmark.job import record
from benchmark.measures import columns, metrics
from benchmark.measures.columns import Column
from benchmark.measures.result import Check, JobResult
from benchmark.report.__main__ import _with_jobs, main
from benchmark.report.claims import CLAIMS
from benchmark.report.collect import studies_of
from benchmark.report.markup import escaped_for_latex
from benchmark.report.page import headline_of
from benchmark.report.pictures import sample_grids
from benchmark.report.published import checked_rows
from benchmark.report.ranking_page import _headline as ranking_headline
from benchmark.report.tables import study_table
from benchmark.report.wording import without_folders
from benchmark.sweep import compose
from benchmark.sweep.compose import Job
from victims.errors import UserError

Fill = Callable[..., list[str]]

SHIFTS = {"full_black_box": 0, "discriminator": 20}
TWO = ["victim=dcgan,vae", "attack=[full_black_box,discriminator]", "calibration=[difference]"]

NUMBERS = {
    **{f"Frechet distance{what}": 12.5 for what in ("", ", untrained", ", real")},
    "parameters": 10,
    "training seconds": 1.0,
}


def result(job: Job) -> JobResult:
    """Each seed shifts by two ranks more; calibration by another five; a VAE has no discriminator."""
    lacks = {"discriminator"} if job.choices["victim"] == "vae" else set()
    shifts = {
        (attack, variant): None
        if attack in lacks
        else shift + 2 * job.config.seed + 5 * (variant == "difference")
        for attack, shift in SHIFTS.items()
        for variant in ("none", "difference")
    }
    return known_result(job, shifts)


def cell(shifts: list[int]) -> str:
    """What the table must say: from the closed form, scipy's t and DeLong's own interval."""
    values = [known_auroc(shift) for shift in shifts]
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    intervals = [metrics.auroc_interval(s[:40], s[40:]) for s in map(known_scores, shifts)]
    wider = np.abs(np.array(intervals) - np.array(values)[:, None]).max(1)
    own = np.sqrt(np.square(wider).sum()) / len(wider)
    return f"{np.mean(values):.3f} ± {max(half, own):.3f}"


def test_the_table_has_exactly_the_cells_that_follow_from_the_scores(
    fill: Fill, tmp_path: Path
) -> None:
    line = fill(result, "taxonomy", *TWO, "seed=0,1,2")
    assert main([*line, "--out", str(tmp_path / "results")]) == 0
    lines = (tmp_path / "results/taxonomy/table.md").read_text().splitlines()
    cells = [[part.strip() for part in row.strip("|").split(" | ")] for row in lines]
    full, disc = [0, 2, 4], [20, 22, 24]
    assert cells[0] == ["victim", "data", "calibrated", "seeds", "full black box", "discriminator"]
    assert cells[2:] == [
        ["dcgan", "mnist5k", "none", "3 of 3", cell(full), f"**{cell(disc)}**"],
        ["dcgan", "mnist5k", "difference", "3 of 3", cell([5, 7, 9]), f"**{cell([25, 27, 29])}**"],
        ["vae", "mnist5k", "none", "3 of 3", cell(full), "n/a"],
        ["vae", "mnist5k", "difference", "3 of 3", cell([5, 7, 9]), "n/a"],
    ]
    assert {path.name for path in (tmp_path / "results/taxonomy").iterdir()} == {
        f"{name}.{kind}" for name in ("auroc", "roc", "roc-log") for kind in ("pdf", "svg")
    } | {"numbers.csv", "rates.csv", "rates.md", "table.csv", "table.md", "table.tex"}
    table = pd.read_csv(tmp_path / "results/taxonomy/table.csv").set_index(
        ["victim", "calibrated", "attack"]
    )
    assert table["auroc"]["dcgan", "none", "discriminator"] == pytest.approx(
        np.mean([known_auroc(shift) for shift in disc]), abs=1e-12
    )
    numbers = pd.read_csv(tmp_path / "results/taxonomy/numbers.csv", keep_default_na=False)
    assert len(numbers) == 2 * 3 * 4
    assert set(numbers["status"]) == {"ok", "no access"}
    assert all(len(key) == 64 for key in numbers["key"])


def test_budgets_stand_below_the_table_and_beside_each_number(fill: Fill, tmp_path: Path) -> None:
    def searched(job: Job) -> JobResult:
        made = known_result(job, {("full_black_box", "none"): 0, ("white_box", "none"): 9})
        spent = made.rows["attack"].map({"white_box": 133.0 if job.config.seed else 60.0})
        return dataclasses.replace(made, rows=made.rows.assign(evaluations=spent))

    words = ["victim=dcgan", "attack=[full_black_box,white_box]", "calibration=none", "seed=0,1"]
    line = fill(searched, "taxonomy", *words)
    assert main([*line, "--out", str(tmp_path / "results")]) == 0
    folder, sentence = (
        tmp_path / "results/taxonomy",
        "Network evaluations a query: white box 60, 133.",
    )
    for file in (folder / "table.md", folder / "table.tex", tmp_path / "results/index.html"):
        assert sentence in file.read_text(), file
    numbers = pd.read_csv(folder / "numbers.csv", na_values="n/a").set_index("attack")
    assert set(numbers["evaluations"]["white_box"]) == {60, 133}
    assert numbers["evaluations"]["full_black_box"].isna().all()


def test_a_new_column_stands_in_the_report_by_its_definition(
    fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gap(members: np.ndarray, others: np.ndarray) -> float:
        return float(np.median(members) - np.median(others))

    new = Column("median_gap", "of scores", "gap", ("report",), measure=gap)
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, new))
    line = fill(result, "taxonomy", "victim=dcgan", *TWO[1:])
    assert main([*line, "--out", str(tmp_path)]) == 0
    scores = known_scores(20)
    expected = gap(scores[:40], scores[40:])
    assert expected in pd.read_csv(tmp_path / "taxonomy/numbers.csv")["median_gap"].to_list()
    page = (tmp_path / "index.html").read_text()
    assert '<button type="button">gap</button>' in page
    assert f'data-value="{expected}">{expected:.3f}</td>' in page


def test_one_seed_keeps_its_own_interval(fill: Fill) -> None:
    (study,) = studies_of(fill(result, "taxonomy", "victim=dcgan", *TWO[1:]))
    scores = known_scores(0)
    low, high = metrics.auroc_interval(scores[:40], scores[40:])
    cells = study_table(study).rows[0][1]
    assert cells["full_black_box"].text == f"{known_auroc(0):.3f} [{low:.3f}, {high:.3f}]"


def test_the_headline_says_what_a_reader_must_know_first(fill: Fill) -> None:
    def warned(job: Job) -> JobResult:
        checks = [Check("mode collapse", "warning", "...")] if job.config.seed else []
        return dataclasses.replace(result(job), checks=checks)

    (study,) = studies_of(fill(warned, "taxonomy", "victim=dcgan", *TWO[1:], "seed=0,1"))
    sentences = headline_of([study], [])
    assert any(line.startswith("2 results at scale=smoke") for line in sentences)
    assert any(line.startswith("1 result with warnings (mode collapse)") for line in sentences)


def test_scores_of_an_attack_that_was_edited_are_named(fill: Fill) -> None:
    def older(job: Job) -> JobResult:
        return dataclasses.replace(result(job), code={"discriminator": "another"})

    studies = studies_of(fill(older, "taxonomy", "victim=dcgan", *TWO[1:], "seed=0,1"))
    wanted = "edited since: discriminator. machine.renew=[NAME] scores anew."
    for headline in (headline_of(studies, []), list(ranking_headline(studies, []))):
        assert sum(wanted in sentence for sentence in headline) == 1


def test_nothing_is_bold_where_the_difference_is_not_significant(fill: Fill) -> None:
    from benchmark.report.tables import study_cells

    def close(job: Job) -> JobResult:
        return known_result(job, {("full_black_box", "none"): 3, ("white_box", "none"): 3})

    (study,) = studies_of(fill(close, "taxonomy", "victim=dcgan"))
    ((rows),) = study_cells(study).values()
    assert not any(cell.best for cell in rows.values())


def test_half_a_sweep_says_what_is_missing_and_why(
    fill: Fill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def some(job: Job) -> JobResult | None:
        return result(job) if job.config.seed == 0 else None

    line = fill(some, "taxonomy", *TWO, "seed=0,1,2")
    jobs = {(job.choices["victim"], job.config.seed): job for job in compose.list_jobs(line)}

    def fail() -> JobResult:
        raise ValueError("the loss became <nan>")

    with pytest.raises(ValueError, match="nan"):
        record.obtain_record(jobs["dcgan", 1].filing, fail)

    def stop() -> JobResult:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record.obtain_record(jobs["dcgan", 2].filing, stop)
    out = tmp_path / "results"
    assert main([*line, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "taxonomy: 2 of 6 jobs have a result" in printed
    (study,) = studies_of(line)
    assert [outcome.state for outcome in study.lacking] == [
        "failed: ValueError: the loss became <nan>",
        "interrupted, or still running",
        "not started",
        "not started",
    ]
    numbers = pd.read_csv(out / "taxonomy/numbers.csv", keep_default_na=False)
    assert "failed: ValueError: the loss became <nan>" in set(numbers["status"])
    page = (out / "index.html").read_text()
    assert "the loss became &lt;nan&gt;" in page
    assert "the loss became <nan>" not in page
    assert "4 without a result" in page


def test_a_report_deletes_what_an_earlier_one_on_the_study_left(
    fill: Fill, tmp_path: Path, words: list[str]
) -> None:
    """Rates of several seeds stood beside the table of one; files of the user's own stay."""
    folder = tmp_path / "taxonomy"
    line = fill(result, "taxonomy", "victim=dcgan", *TWO[1:], "seed=0,1")
    assert main([*line, "--out", str(tmp_path)]) == 0
    assert (folder / "rates.csv").exists()
    (folder / "audits.csv").write_text("of an earlier report")
    (folder / "notes.txt").write_text("somebody's own")
    assert main([*line[:-1], "seed=0", "--out", str(tmp_path)]) == 0
    left = {path.name for path in folder.iterdir()}
    assert {"table.csv", "notes.txt"} <= left
    assert not {name for name in left if name.startswith(("rates", "audits"))}
    (folder / "notes.txt").unlink()
    assert main([*line[:-1], "seed=7", "--out", str(tmp_path)]) == 0  # nothing was run
    assert not folder.exists()


def test_a_store_without_any_result_has_a_page_too(words: list[str], tmp_path: Path) -> None:
    assert main(["+sweep=taxonomy", *words, "--out", str(tmp_path / "results")]) == 0
    assert "0 of 7 jobs" in (tmp_path / "results/index.html").read_text()


def test_where_nothing_says_what_to_run_it_reports_on_everything() -> None:
    places = ["machine.store=there", "logger=none"]
    assert _with_jobs(places) == ["+sweep=all", *places]
    assert _with_jobs([]) == ["+sweep=all"]
    assert _with_jobs(["victim=vae", *places]) == ["victim=vae", *places]


def test_a_mistake_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["+sweep=nowhere", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("seed", ["a", "0.5", "-1"])
@pytest.mark.parametrize("more", [[], ["--ranking"]])
def test_a_seed_that_is_none_is_one_line(
    words: list[str], seed: str, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["victim=vae", f"seed={seed}", *words, *more]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: seed={seed}: input should be")
    assert err.count("\n") == 1


def test_commands_do_not_name_this_machine(fill: Fill, tmp_path: Path, place: Path) -> None:
    line = fill(result, "taxonomy", "victim=dcgan", *TWO[1:])
    main([*line, "victim=dcgan,vae", "--out", str(tmp_path / "results")])  # one is not there
    for file in (tmp_path / "results").rglob("*"):
        if file.suffix in (".csv", ".html", ".md", ".tex", ".svg"):
            text = file.read_text()
            assert str(tmp_path) not in text, file
            assert str(place) not in text, file


def test_files_of_one_s_own_are_named_without_their_folders(
    fill: Fill, tmp_path: Path, place: Path
) -> None:
    """Two of the same name stay two rows; a name keeps its underscores."""
    for name in ("one", "other"):
        (place / name).mkdir()
        (place / name / "my_people.csv").write_text(f"a,b\n1,{len(name)}\n")
    files = ",".join(f"{place}/{name}/my_people.csv" for name in ("one", "other"))
    words = [*TWO[1:], "victim=vae", "data=table", f"data.file={files}", "seed=0,1"]
    line = fill(result, "taxonomy", *words)
    assert main([*line, "--out", str(tmp_path / "results")]) == 0
    for file in (tmp_path / "results").rglob("*"):
        if file.suffix in (".csv", ".html", ".md", ".tex", ".svg"):
            assert str(place) not in file.read_text(), file
    table = (tmp_path / "results/taxonomy/table.md").read_text()
    assert "| …/one/my_people.csv |" in table
    assert "| …/other/my_people.csv |" in table


def test_latex_prints_every_letter() -> None:
    assert escaped_for_latex(r"a_b & 5% {x} \y ± ε") == (
        r"a\_b \& 5\% \{x\} \textbackslash{}y $\pm$ $\varepsilon$"
    )


def test_only_checked_numbers_of_papers_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "published.csv"
    head = "paper,place,file,what,value,checked\n"
    file.write_text(head + "A 2020,table 1,,x,0.5,true\nB 2021,,,y,0.6,false\nC 2022,,,z,0.7,\n")
    assert checked_rows(file)["paper"].tolist() == ["A 2020"]
    file.write_text("paper,value\nA,1\n")
    with pytest.raises(UserError, match="place"):
        checked_rows(file)
    assert checked_rows(tmp_path / "absent.csv").empty


def test_the_shipped_file_of_published_numbers_can_be_read() -> None:
    rows = checked_rows(Path(__file__).parents[3] / "results" / "published.csv")
    assert not rows.empty or list(rows.columns)
    assert all(re.search(r"\d{4}\.\d{4,5}", paper) for paper in rows["paper"])


def test_the_same_results_give_the_same_files(fill: Fill, tmp_path: Path) -> None:
    line = fill(result, "taxonomy", *TWO, "seed=0,1")
    written = []
    for name in ("first", "second"):
        assert main([*line, "--out", str(tmp_path / name)]) == 0
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        written.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert written[0] == written[1]


def test_a_victim_with_one_seed_is_marked(fill: Fill) -> None:
    def some(job: Job) -> JobResult | None:
        is_extra = job.choices["victim"] == "vae" and job.config.seed
        return None if is_extra else result(job)

    (study,) = studies_of(fill(some, "taxonomy", *TWO, "seed=0,1,2"))
    made = study_table(study)
    at = made.labels.index("seeds")
    assert [row[0][at] for row in made.rows] == ["3 of 3"] * 2 + ["1 of 3"] * 2
    one = made.rows[2][1]["full_black_box"]
    assert one is not None
    assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", one.text)


@pytest.mark.slow
def test_the_terms_of_privacy_stand_in_the_table_of_a_private_study(fill: Fill) -> None:
    def private(job: Job) -> JobResult:
        made = known_result(job, {("white_box", "none"): 8})
        if not job.config.dp:
            return made
        spent = job.config.dp.epsilon - 0.01 * (1 + job.config.seed)
        terms = {"epsilon": spent, "delta": 1 / 256, "sigma": 1.25, "clipping_norm": 2.0}
        return dataclasses.replace(made, rows=made.rows.assign(**terms))

    (study,) = studies_of(fill(private, "privacy", "seed=0,1"))
    made = study_table(study)
    assert made.numbers[:4] == ["ε", "δ", "σ", "C"]
    texts = [[own[name].text for name in made.numbers[:4]] for _, _, own in made.rows]
    assert texts[0] == ["∞", "–", "–", "–"]
    assert texts[1] == texts[0]  # stopped early, without privacy
    assert texts[3] == ["9.98", "0.00391", "1.25", "2"]  # the mean of 9.99 and 9.98 is 9.985
    (other,) = studies_of(fill(result, "taxonomy", *TWO, "seed=0"))
    assert "ε" not in study_table(other).numbers


@pytest.mark.slow
def test_a_study_of_several_command_lines_is_one_table(words: list[str]) -> None:
    study = {study.name: study for study in studies_of(["+sweep=reference", *words])}["privacy"]
    assert {*study.labels} == {"victim", "data", "victim.steps", "dp.epsilon", "split.queries"}
    asked = {
        (group.victim, group.value_of("victim.steps"), group.value_of("dp.epsilon")): len(seeds)
        for group, seeds in study.every_group.items()
    }
    assert asked == {
        ("dcgan", 4, "∞"): 4, ("dcgan", 2, "∞"): 3, ("dcgan", 4, 50): 1, ("dcgan", 4, 10): 4,
        ("dcgan", 4, 1): 1, ("vae_table", 4, "∞"): 6, ("vae_table", 2, "∞"): 6, ("vae_table", 4, 10): 6,
    }  # fmt: skip
    assert study.command.count(" && ") == 4


def test_samples_stand_side_by_side_along_epsilon(fill: Fill) -> None:
    def private(job: Job) -> JobResult | None:
        if job.config.dp and job.config.dp.epsilon == 1:
            return None
        made = known_result(job, {("white_box", "none"): 8 if job.config.dp else 20}, **NUMBERS)
        key = str(job.config.dp.epsilon if job.config.dp else "off")
        return dataclasses.replace(made, provenance={"victim key": key})

    (study,) = studies_of(fill(private, "privacy", "seed=0,1"))
    assert "dp.public_encoding" not in study.settings  # on wherever the table's privacy is
    row, table = sample_grids(study)
    assert [own["x"] for own in table["cells"]] == ["∞", "10"]
    assert [own["x"] for own in row["cells"]] == ["∞", "50", "10", "1"]
    assert row["cells"][0]["facts"] == [
        f"highest AUROC {cell([20, 20])}: white box",
        "Frechet distance 12.5",
    ]
    assert row["cells"][0]["samples"].startswith("data:image/webp")
    assert row["cells"][3]["samples"] is None
    assert row["cells"][3]["state"] == "not started"


def test_the_claims_are_a_table_too(fill: Fill, tmp_path: Path) -> None:
    main([*fill(result, "taxonomy", *TWO, "seed=0,1,2"), "--out", str(tmp_path)])
    head, _, *rows = (tmp_path / "findings.md").read_text().splitlines()
    assert len(rows) == len(CLAIMS)
    assert {row.count(" | ") for row in [head, *rows]} == {6}
    assert sum("**not enough data**" in row for row in rows) >= 6  # of studies that were not run
    assert " 0 seeds " not in "".join(rows)  # of what was not measured nothing was repeated


def test_a_failure_names_no_folder_of_this_machine() -> None:
    told = "could not read /home/me/store/x.npy, see https://x.org/a/b or n/a"
    assert without_folders(told) == "could not read …/x.npy, see https://x.org/a/b or n/a"


def test_the_home_folder_is_no_name_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--out=~nobody_of_that_name/results"]) == 2
    assert "there is none of that name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_lists_of_attacks_are_a_column_beside_the_attack_of_each_row(
    fill: Fill, tmp_path: Path
) -> None:
    """The list took the attack's place in numbers.csv, and the page could not be written."""
    lists = "attack=[full_black_box,white_box],[discriminator]"

    def of_list(job: Job) -> JobResult:
        return known_result(job, {(str(name), "none"): 3 for name in job.config.attack})

    words = ["victim=dcgan", "split.members=8,16", lists, "calibration=none", "seed=0,1"]
    line = fill(of_list, "taxonomy", *words)
    assert main([*line, "--out", str(tmp_path)]) == 0
    for name in ("numbers", "table", "rates"):
        found = pd.read_csv(tmp_path / f"taxonomy/{name}.csv")
        assert {*found["attack"]} == {"full_black_box", "white_box", "discriminator"}
        assert {*found["attacks"]} == {"full_black_box, white_box", "discriminator"}
