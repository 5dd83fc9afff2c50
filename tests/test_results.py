"""What results/README.md says is what the report wrote beside it: verdicts, and numbers."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from conftest import CONF

from benchmark.report.claims import CLAIMS, PAPER

RESULTS = CONF.parent / "results"
README = (RESULTS / "README.md").read_text(encoding="utf-8")
FINDINGS = RESULTS / "reference" / "findings.md"
STANDINGS = RESULTS / "ranking" / "standings.csv"
VERDICTS = {"Hold": "holds", "Do not hold": "does not hold", "Not decided": "not enough data"}
"""Heading of the README -> verdict of the report."""

COUNTS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ESTIMATE = re.compile(r"\d\.\d{3} (?:± \d\.\d{3}|\[-?\d\.\d{3}, -?\d\.\d{3}\])")
SIGNED = re.compile(r"-?\d\.\d{3} \[-?\d\.\d{3}, -?\d\.\d{3}\]")


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
    rows = [line.split("|")[1:-1] for line in FINDINGS.read_text("utf-8").splitlines()[2:]]

    def verdict(cell: str) -> str:
        found = re.search(r"\*\*(.*?)\*\*", cell)
        return found[1] if found else ""

    return {row[0].strip(): (verdict(row[1]), verdict(row[-1])) for row in rows}


@pytest.mark.parametrize("heading", VERDICTS)
def test_a_claim_stands_under_its_verdict(heading: str) -> None:
    named = set(re.findall(r"^- \*\*(.*?)\*\*", section(heading), re.MULTILINE))
    meant = {claim for claim, (verdict, _) in findings().items() if verdict == VERDICTS[heading]}
    paper = {claim.says for claim in CLAIMS if claim.source == PAPER}
    assert named & paper == meant & paper
    assert named <= meant


def test_a_claim_is_said_to_hold_at_low_false_positive_rates_only_where_it_does() -> None:
    items = re.split(r"^- ", section("What it says about the paper's claims"), flags=re.MULTILINE)
    said = {
        found[1]
        for item in items
        if (found := re.match(r"\*\*(.*?)\*\*", item)) and "holds at 1% FPR too" in item
    }
    paper = {claim.says for claim in CLAIMS if claim.source == PAPER}
    assert said == {claim for claim, (_, at_1) in findings().items() if at_1 == "holds"} & paper


def test_the_front_page_counts_the_claims_that_hold() -> None:
    paper = {claim.says for claim in CLAIMS if claim.source == PAPER}
    verdicts = [verdict for claim, (verdict, _) in findings().items() if claim in paper]
    hold, not_hold = (COUNTS[verdicts.count(verdict)] for verdict in ("holds", "does not hold"))
    front = " ".join((RESULTS.parent / "README.md").read_text("utf-8").split())
    counted = f"{hold.capitalize()} of the paper's ten claims hold, {not_hold} "
    assert counted in front


@pytest.mark.parametrize(
    ("heading", "study"),
    [
        ("The reference run", "taxonomy"),
        ("Sizes of the training set", "train_size"),
        ("Privacy on a table", "privacy"),
    ],
)
def test_numbers_stand_in_the_tables_of_the_report(heading: str, study: str) -> None:
    files = [RESULTS / folder / study / "table.md" for folder in ("reference", "earlier")]
    written = " ".join(file.read_text("utf-8") for file in [*files, FINDINGS]).replace("+", "")
    said = ESTIMATE.findall(own_part(heading))
    assert said
    assert [number for number in said if number not in written] == []


def test_numbers_of_claims_stand_among_the_findings() -> None:
    written = FINDINGS.read_text("utf-8").replace("+", "")
    said = SIGNED.findall(section("What it says about the paper's claims"))
    assert said
    assert [number for number in said if number not in written] == []


def test_the_ranking_has_the_numbers_of_its_standings() -> None:
    standings = pd.read_csv(STANDINGS)
    written = {
        f"{row.auroc:.3f} [{row.auroc_low:.3f}, {row.auroc_high:.3f}]"
        for row in standings.itertuples()
    }
    said = ESTIMATE.findall(own_part("A ranking of attacks"))
    assert len(said) > 10
    assert [number for number in said if number not in written] == []
