"""What the documents say of results is what is published beside them: verdicts, and numbers."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from conftest import CONF
from hydra import compose

from benchmark.config.build import composing
from benchmark.report.claims import CLAIMS, PAPER

RESULTS = CONF.parent / "results"
README = (RESULTS / "README.md").read_text(encoding="utf-8")
FINDINGS = RESULTS / "reference" / "findings.md"
STANDINGS = RESULTS / "ranking" / "standings.csv"
REPLICATION = RESULTS / "replication"
VERDICTS = {"Hold": "holds", "Do not hold": "does not hold", "Not decided": "not enough data"}
"""Heading of the README -> verdict of the report."""

PAPER_CLAIMS = {claim.says for claim in CLAIMS if claim.source == PAPER}
COUNTS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ESTIMATE = re.compile(r"\d\.\d{3} (?:± \d\.\d{3}|\[-?\d\.\d{3}, -?\d\.\d{3}\])")
SIGNED = re.compile(r"-?\d\.\d{3} \[-?\d\.\d{3}, -?\d\.\d{3}\]")


def prose(file: str) -> str:
    """A document of the project as one line."""
    return " ".join((RESULTS.parent / file).read_text("utf-8").split())


def table_rows(text: str) -> list[list[str]]:
    """Cells of the rows of Markdown tables, headings included."""
    lines = [line for line in text.splitlines() if re.match(r"\| [^-]", line)]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def section(title: str) -> str:
    """What stands under a heading, up to the next of its depth or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$", README, re.MULTILINE)
    assert found, f"results/README.md has no heading {title!r}"
    rest = README[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def own_part(title: str) -> str:
    """What stands under a heading, less what has a heading of its own."""
    return section(title).split("\n### ")[0]


def findings() -> dict[str, tuple[str, str]]:
    """Claim -> its verdict by AUROC, and by TPR at 1% FPR ("" where it is not about leaks)."""

    def verdict(cell: str) -> str:
        found = re.search(r"\*\*(.*?)\*\*", cell)
        return found[1] if found else ""

    rows = table_rows(FINDINGS.read_text("utf-8"))[1:]
    return {row[0]: (verdict(row[1]), verdict(row[-1])) for row in rows}


def claims_text() -> str:
    """What the page of the reference run says of claims: every part, not the weakest alone."""
    page = (RESULTS / "reference/index.html").read_text("utf-8")
    claims = re.findall(r'<article class="finding.*?</article>', page, re.DOTALL)
    assert len(claims) == len(CLAIMS)
    return re.sub(r"<[^>]+>", " ", " ".join(claims))


def are_written(said: list[str], written: str) -> None:
    """Fail where a number is not among those that the report wrote."""
    assert said
    assert [number for number in said if number not in written.replace("+", "")] == []


@pytest.mark.parametrize("heading", VERDICTS)
def test_a_claim_stands_under_its_verdict(heading: str) -> None:
    named = set(re.findall(r"^- \*\*(.*?)\*\*", section(heading), re.MULTILINE))
    meant = {claim for claim, (verdict, _) in findings().items() if verdict == VERDICTS[heading]}
    assert named & PAPER_CLAIMS == meant & PAPER_CLAIMS
    assert named <= meant


def test_a_claim_is_said_to_hold_at_low_false_positive_rates_only_where_it_does() -> None:
    items = re.split(r"^- ", section("What it says about the paper's claims"), flags=re.MULTILINE)
    said = {
        found[1]
        for item in items
        if (found := re.match(r"\*\*(.*?)\*\*", item)) and "holds at 1% FPR" in item
    }
    assert (
        said == {claim for claim, (_, at_1) in findings().items() if at_1 == "holds"} & PAPER_CLAIMS
    )


def test_the_front_page_counts_the_claims_that_hold() -> None:
    verdicts = [verdict for claim, (verdict, _) in findings().items() if claim in PAPER_CLAIMS]
    hold, not_hold = (COUNTS[verdicts.count(verdict)] for verdict in ("holds", "does not hold"))
    assert f"{hold.capitalize()} of the paper's ten claims hold, {not_hold} " in prose("README.md")


def test_the_report_s_readme_counts_the_claims_of_this_benchmark() -> None:
    ours = COUNTS[sum(claim.source != PAPER for claim in CLAIMS)]
    assert f"the paper's claims, and {ours} of this benchmark's own" in prose(
        "benchmark/report/README.md"
    )


def test_the_reference_page_can_be_opened_anywhere() -> None:
    assert (RESULTS / "reference" / "index.html").stat().st_size < 3_000_000


def test_jobs_that_are_done_are_counted() -> None:
    done, known = {}, {}
    for file in (RESULTS / "reference").glob("*/numbers.csv"):
        jobs = pd.read_csv(file, usecols=["job", "status"]).drop_duplicates("job")
        done[file.parent.name], known[file.parent.name] = (
            int((jobs.status == "ok").sum()),
            len(jobs),
        )
    text = own_part("The reference run")
    assert f"Done so far: {sum(done.values())} of " in text
    said = re.findall(r"^- `(\w+)`: (?:(\d+) of|all) (\d+) jobs[.,]", text, re.MULTILINE)
    assert said
    for study, ready, jobs in said:
        assert (int(ready or jobs), int(jobs)) == (done[study], known[study]), study


@pytest.mark.parametrize(
    ("heading", "study"),
    [
        ("The reference run", "taxonomy"),
        ("Garments", "taxonomy"),
        ("Sizes of the training set", "train_size"),
        ("Tables", "tables"),
        ("Privacy on a table", "privacy"),
    ],
)
def test_numbers_stand_in_the_tables_of_the_report(heading: str, study: str) -> None:
    files = [RESULTS / folder / study / "table.md" for folder in ("reference", "earlier")]
    written = " ".join(file.read_text("utf-8") for file in [*files, FINDINGS])
    are_written(ESTIMATE.findall(own_part(heading)), written)


def test_numbers_of_claims_stand_among_the_findings() -> None:
    said = SIGNED.findall(section("What it says about the paper's claims"))
    are_written(said, claims_text())


def test_the_ranking_has_the_numbers_of_its_standings() -> None:
    standings = pd.read_csv(STANDINGS)
    written = {
        f"{row.auroc:.3f} [{row.auroc_low:.3f}, {row.auroc_high:.3f}]"
        for row in standings.itertuples()
    }
    said = ESTIMATE.findall(own_part("A ranking of attacks"))
    assert len(said) > 10
    assert [number for number in said if number not in written] == []


def test_the_ranking_s_prose_has_the_seconds_of_logan() -> None:
    standings = pd.read_csv(STANDINGS)
    own = standings[(standings.attack == "logan") & (standings.calibrated == "none")]
    assert f"costs {own.seconds.item():.0f} seconds on average" in section("A ranking of attacks")


def test_quantiles_stand_beside_the_standings() -> None:
    standings = pd.read_csv(STANDINGS).set_index(["attack", "calibrated"]).auroc
    rows = [row for row in table_rows(section("Without a reference model")) if len(row) == 7][1:]
    assert len(rows) == 5
    for name, raw, calibrated, *_ in rows:
        attack = name.replace(" ", "_")
        written = [f"{standings[attack, how]:.3f}" for how in ("none", "difference")]
        assert [raw, calibrated] == written, name


def test_diffusion_models_have_the_numbers_of_the_report() -> None:
    names, *models = table_rows((RESULTS / "reference/diffusion/table.md").read_text("utf-8"))
    own = [names.index(name) for name in ("victim", "split.members", "victim.flip")]
    written = {tuple(row[i] for i in own): " ".join(row) for row in models}
    columns = [
        written[model]
        for model in (
            ("ddpm", "128", "False"), ("ddpm", "128", "True"), ("dcgan", "128", "–"),
            ("ddpm", "256", "False"), ("dcgan", "256", "–"),
        )
    ]  # fmt: skip
    rows = [row for row in table_rows(own_part("Diffusion models")) if len(row) == 7][1:]
    said = [
        (row[0], cell, text)
        for row in rows
        for cell, text in zip(row[2:], columns, strict=True)
        if "±" in cell
    ]
    assert len(said) > 20
    assert [(name, cell) for name, cell, text in said if cell not in text] == []


def test_claims_on_diffusion_models_have_the_numbers_of_each_size() -> None:
    page = claims_text()
    rows = [row for row in table_rows(own_part("Diffusion models")) if len(row) == 3]
    first = next(i for i, row in enumerate(rows) if row[0] == "claim")
    claims = [row for row in rows[first + 1 :] if SIGNED.fullmatch(row[1])]
    assert len(claims) >= 5
    for claim, *sizes in claims:
        if "not run" in sizes:  # the page names no size where there is one
            are_written([sizes[0]], page)
            continue
        for records, said in zip((128, 256), sizes, strict=True):
            size = f"{records} training records: {said}".replace("+", "")
            assert size in page.replace("+", ""), claim
    bullets = re.findall(r"^- (.*(?:\n  .*)*)", own_part("Diffusion models"), re.MULTILINE)
    are_written(SIGNED.findall(" ".join(" ".join(bullets).split())), FINDINGS.read_text("utf-8"))


def test_copies_were_looked_for_among_as_many_samples_as_the_study_releases() -> None:
    with composing():
        size = compose("config", ["+sweep=copies"]).bank.size
    assert f"{size:,} released samples".replace(",", " ") in section("Copies among the samples")


def test_replicated_figures_are_those_of_the_report() -> None:
    report = table_rows((REPLICATION / "replicate_hilprecht/replication.md").read_text("utf-8"))
    text = (REPLICATION / "README.md").read_text("utf-8")
    figures = [(row[5].split()[0], row[6], row[7]) for row in report]
    said = [tuple(row[1:]) for row in table_rows(text)[1:]]
    assert len(said) == 12
    assert set(said) <= set(figures)
    agree, differ = (sum(row[7] == kind for row in report) for kind in ("agrees", "differs"))
    assert f"{agree} figures agree, {differ} differ, all were run" in " ".join(text.split())


def test_replication_says_how_long_training_took() -> None:
    seconds = pd.read_csv(REPLICATION / "replicate_hilprecht/table.csv").training
    low, high = (round(value / 60) for value in (seconds.min(), seconds.max()))
    assert f"{low} to {high} minutes of training a model" in prose("results/replication/README.md")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("attacks on a denoiser, seconds", "{:.2f} times their calls' own time"),
        ("attacks on a denoiser, calls saved", "{:.2f} times fewer calls"),
        ("paper-size denoiser attacked, GiB", "they need {:.1f} GiB"),
    ],
)
def test_the_cost_of_attacks_on_denoisers_is_what_the_bench_kept(work: str, said: str) -> None:
    ratios = pd.read_csv(RESULTS / "bench.csv").set_index("work").ratio
    assert said.format(ratios[work]) in prose("attacks/README.md")
