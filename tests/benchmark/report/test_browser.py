"""The page in a real browser: it sorts and filters, and nothing leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Shared
from report_store import known_result

from benchmark.measures.result import JobResult
from benchmark.report.__main__ import main
from benchmark.sweep.compose import Job

WORDS = ["victim=dcgan,vae", "attack=[full_black_box,white_box,discriminator]", "calibration=none"]
SHIFTS = {"full_black_box": 2, "white_box": 6, "discriminator": 20}


def result(job: Job) -> JobResult:
    is_vae = job.choices["victim"] == "vae"
    shifts = {
        (attack, "none"): None if is_vae and attack == "discriminator" else shift + 4 * is_vae
        for attack, shift in SHIFTS.items()
    }
    return known_result(job, shifts)


@pytest.fixture
def written(fill: Callable[..., list[str]], shared: Shared) -> Path:
    """A report's page, written once for all tests."""

    def write(folder: Path) -> None:
        assert main([*fill(result, "taxonomy", *WORDS), "--out", str(folder)]) == 0

    return shared("report in a browser", write) / "index.html"


def opened(chromium: Any, path: Path, width: int) -> tuple[Any, list[str], list[str]]:
    """A page at a width, the errors it prints, and the requests it makes beyond its own file."""
    page = chromium.new_page(viewport={"width": width, "height": 900})
    errors: list[str] = []
    asked: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: (errors.append("a script of the data ran"), dialog.dismiss()))
    own = ("data:", path.as_uri())
    page.on("request", lambda sent: None if sent.url.startswith(own) else asked.append(sent.url))
    page.goto(path.as_uri())
    return page, errors, asked


def column(page: Any, name: str) -> list[str]:
    """Texts of a column of the table of all numbers, top to bottom, without hidden rows."""
    return page.evaluate(
        """name => {
          const table = document.querySelector("#all");
          const at = [...table.tHead.rows[0].cells].findIndex(c => c.textContent.trim() === name);
          return [...table.tBodies[0].rows].filter(r => !r.hidden)
            .map(r => r.cells[at].textContent.trim());
        }""",
        name,
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 380])
def test_nothing_in_a_finding_lies_on_something_else(
    chromium: Any, written: Path, width: int
) -> None:
    """A class of two pages, read by one style sheet, once put each verdict on its claim."""
    page, _, _ = opened(chromium, written, width)
    overlaps = page.evaluate(
        """() => [...document.querySelectorAll(".finding")].flatMap(finding => {
          const claim = finding.querySelector("h3").getBoundingClientRect();
          return [...finding.querySelectorAll("b, p, summary")]
            .filter(part => part.getBoundingClientRect().top < claim.bottom - 1)
            .map(part => part.textContent);
        })"""
    )
    assert page.locator(".finding").count() >= 10
    assert overlaps == []


@pytest.mark.slow
def test_the_page_sorts_filters_and_asks_for_nothing(chromium: Any, written: Path) -> None:
    page, errors, asked = opened(chromium, written, 1200)
    rows = column(page, "victim")
    assert rows == ["dcgan"] * 3 + ["vae"] * 3

    head = page.locator("#all thead button", has_text="AUROC")
    head.click()
    aurocs = column(page, "AUROC")
    numbers = [float(text.split()[0]) for text in aurocs if text != "no access"]
    assert numbers == sorted(numbers)
    assert aurocs[-1] == "no access"
    head.click()
    numbers = [float(text.split()[0]) for text in column(page, "AUROC")[:-1]]
    assert numbers == sorted(numbers, reverse=True)
    page.locator("#all thead button", has_text="victim").click()
    assert column(page, "victim") == rows

    page.select_option("select[name=victim]", "vae")
    page.select_option("select[name=attack]", "white_box")
    assert column(page, "victim") == ["vae"]
    assert page.locator("#count").text_content() == "1 of 6 shown."
    study = page.locator("section.study table").first
    assert study.locator("tbody tr:visible").count() == 1
    assert study.locator("th[data-attack]:visible").count() == 1
    page.select_option("select[name=attack]", "")
    page.select_option("select[name=access]", "accessible_discriminator")
    assert column(page, "AUROC") == ["no access"]
    page.locator("button[type=reset]").click()
    page.wait_for_function("document.querySelector('#count').textContent.startsWith('6 of 6')")

    page.locator("#all tbody tr").first.locator("a").click()
    assert page.locator("details[open] pre", has_text="python -m benchmark").count() == 1
    assert errors == []
    assert asked == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_screen(chromium: Any, written: Path, width: int) -> None:
    page, errors, _ = opened(chromium, written, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert errors == []
