import datetime
import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from benchmark.job.canaries import audit_canaries
from benchmark.measures.columns import AUROC
from benchmark.measures.numbers import format_duration, format_percent
from benchmark.show.output import write_folder
from benchmark.show.page import render_job
from benchmark.show.terminal import print_table
from benchmark.show.texts import canary_sentence, compared_by, row_name, to_yaml
from victims.errors import UserError


def printed(result, width=100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_table(result, console)
    return console.file.getvalue()


def test_table_has_each_number_whole_at_100_columns(result):
    text = printed(result)
    for _, row in result.ok.iterrows():
        assert AUROC.line_of(row) in text
        assert format_percent(row["tpr_at_10"]) in text
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text


def test_a_rows_budget_stands_beside_its_access_everywhere(result, tmp_path):
    searched = {"partial_black_box": 300.0, "white_box": 133.0}
    rows = result.rows.assign(evaluations=result.rows["attack"].map(searched))
    budgeted = replace(result, rows=rows)
    page = row_page(budgeted)
    for text in (printed(budgeted, 200), page):
        assert "partial black box, 300 evaluations" in text
        assert "white box, 133 evaluations" in text
        assert "full black box, " not in text
        assert text.count("evaluations") - text.count("Evaluations") < 6
    write_folder(budgeted, tmp_path / "out", page)
    found = pd.read_csv(tmp_path / "out" / "table.csv").set_index("attack")["evaluations"]
    assert found["white_box"] == 133
    assert max(map(len, printed(budgeted).splitlines())) <= 100


def row_page(result) -> str:
    from benchmark.show.page import render_job

    return render_job(result)


def test_the_best_row_and_what_cannot_be_told_from_it_have_a_star(result):
    text = printed(result)
    stars = [line for line in text.splitlines() if "]* " in line]
    assert len(stars) == 1
    assert stars[0].startswith("accessible")
    assert "* the best AUROC" in text
    assert "*" not in printed(replace(result, rows=result.rows.drop(columns="best")))


def test_row_without_access_reads_na_and_says_why(result):
    lines = printed(result).splitlines()
    line = next(line for line in lines if "encoder" in line)
    assert line.count("n/a") == 5
    assert any(re.fullmatch(r"\s*\[\d\] no access", line) for line in lines)


def test_unresolvable_rate_is_na_not_zero(result):
    line = next(line for line in printed(result).splitlines() if line.startswith("white box"))
    assert "n/a" in line
    assert " 0.0%" not in line


def test_warnings_and_checks_stand_below(result):
    text = printed(result)
    assert "[1] 31% of the scores are tied" in text
    assert "info: overlap: members, non-members and reference share no record" in text


def test_quality_stands_beside_what_an_untrained_network_and_real_records_get(result):
    text = " ".join(printed(result).split())
    assert "Frechet distance (AlexNet) 12.3 (untrained 1234, real 0.514)" in text
    assert "precision 0.5 (untrained 0, real n/a)" in text
    assert "1 234 567 parameters, trained in 3 min" in text


def test_without_quality_there_is_no_line_of_it(result):
    assert "samples:" not in printed(replace(result, quality={}))
    only = {"parameters": 5, "training seconds": 1.0}
    text = printed(replace(result, quality=only))
    assert "samples:" not in text
    assert "victim: 5 parameters, trained in 1.0 s" in text


def test_repeated_remark_is_numbered_once(result):
    rows = result.rows.assign(warnings="the victim collapsed")
    assert printed(replace(result, rows=rows)).count("the victim collapsed") == 1


def test_names_are_not_read_as_markup(result):
    rows = result.rows.assign(attack="[red]x[/blue]", warnings="[/bold] [bad")
    text = printed(replace(result, rows=rows, title="a [/b] c"), width=140)
    assert "[red]x[/blue]" in text
    assert "[/bold] [bad" in text


def test_piped_output_is_120_columns_wide(result, capsys):
    print_table(result)
    assert AUROC.line_of(result.rows.iloc[0]) in capsys.readouterr().out


def test_empty_job_prints(empty):
    assert "failed: the loss became NaN" in printed(empty)


def test_files_hold_what_the_table_shows(result, tmp_path):
    page = write_folder(result, tmp_path / "new" / "job", "drawn elsewhere")
    folder = page.parent
    assert page.name == "index.html"
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "table.parquet"), result.rows)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "scores.parquet"), result.scores)
    assert yaml.safe_load((folder / "config.yaml").read_text()) == result.config
    for file, frame in {"comparisons": result.comparisons, "sets": result.sets}.items():
        pd.testing.assert_frame_equal(pd.read_csv(folder / f"{file}.csv", na_filter=False), frame)
    quality = json.loads((folder / "quality.json").read_text())
    assert quality == {k: None if np.isnan(v) else v for k, v in result.quality.items()}
    csv = pd.read_csv(folder / "table.csv")
    assert list(csv.columns) == list(result.rows.columns)
    np.testing.assert_array_equal(csv["auroc"], result.rows["auroc"])
    assert ",n/a," in (folder / "table.csv").read_text()


def test_writing_again_replaces(result, page, tmp_path):
    """And the same result has the same page."""
    assert write_folder(result, tmp_path, "an older page").read_text() == "an older page"
    assert write_folder(result, tmp_path).read_text() == page


def test_empty_job_is_written(empty, tmp_path):
    assert write_folder(empty, tmp_path).exists()
    assert len(pd.read_parquet(tmp_path / "table.parquet")) == len(empty.rows)


def test_unwritable_folder_is_one_clear_line(result, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"output folder .*file/job: Not a directory") as error:
        write_folder(result, tmp_path / "file" / "job")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.04 s"), (3.14, "3.1 s"), (42, "42 s"), (150, "2 min"), (9000, "2.5 h")],
)
def test_duration(seconds, text):
    assert format_duration(seconds) == text


def test_missing_duration_is_na():
    assert format_duration(float("nan")) == "n/a"


def test_calibrated_row_has_its_own_name(result):
    names = [row_name(row) for _, row in result.rows.iterrows()]
    assert names[:2] == ["full black box", "full black box + reference"]


def test_scored_pairs_rows_with_their_scores(result):
    from sklearn.metrics import roc_auc_score

    scored = list(result.scored())
    assert len(scored) == 5
    for row, scores, member in scored:
        assert roc_auc_score(member, scores) == row["auroc"]
    aurocs = [row["auroc"] for row, _, _ in scored]
    assert aurocs == sorted(aurocs, reverse=True)


def test_numbers_that_are_none_instead_of_nan(empty):
    assert "n/a" in printed(replace(empty, rows=empty.rows.assign(auroc=None, auroc_low=None)))


def test_yaml_takes_what_a_provenance_may_hold():
    shared = [1, 2]
    tree = {"n": np.int64(3), "x": np.float64(0.5), "when": datetime.timedelta(1), "a": shared}
    text = to_yaml(tree | {"b": shared, "path": tuple(shared)})
    read = yaml.safe_load(text)
    assert (read["n"], read["x"], read["when"]) == (3, 0.5, "1 day, 0:00:00")
    assert read["a"] == read["b"] == read["path"] == [1, 2]
    assert "&" not in text


def test_what_copies_are_compared_by_is_said_also_of_stored_results_of_before(result):
    ours = result.copies.assign(by="colours", limit=0.3)
    assert compared_by(ours) == (
        "Records are compared by colours; a near copy's calibrated distance is at most 0.3."
    )
    before = compared_by(result.copies.drop(columns=["by", "limit"]))
    assert before.startswith("Records are compared by values; a near copy's calibrated distance")


def test_canaries_are_headed_by_what_all_attacks_show(result):
    """Scores that tell every coin, and scores that tell none."""
    inside = np.arange(200) % 2 == 0
    scores = {"sees_all": inside * 1.0, "sees_none": np.arange(200) / 200}
    made = audit_canaries(scores, inside, {"delta": 1e-5, "epsilon": 9.0}, seed=0)
    audited = replace(result, canaries=made)
    heading = canary_sentence(made)
    assert made["epsilon_lower"].max() < made["epsilon_gaussian"].max()
    numbers = f"{made['epsilon_lower'].max():.2f}", f"{made['epsilon_gaussian'].max():.2f}"
    assert all(number in heading for number in numbers)
    for told in (" ".join(printed(audited).split()), " ".join(render_job(audited).split())):
        assert heading in told
        assert "sees all" in told
        assert "100 of 200 inside" in told
    assert "one-run audit" not in printed(result)
