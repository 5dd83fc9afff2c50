"""The page: whole, escaped, self-contained, and silent about records unless asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_models import Decoder, table
from conftest import digits

from benchmark.audit.page import render_audit
from benchmark.audit.run import Audit
from benchmark.measures.result import JobResult
from benchmark.show import page as job_page

Audited = Callable[..., Audit]


@pytest.fixture
def inputs() -> dict[str, Any]:
    members = table(0, 120)
    return {"members": members, "non_members": table(1, 120), "samples": members}


def addresses(page: str) -> list[str]:
    return re.findall(r"""(?:src|href|action|srcset)\s*=\s*["']([^"']+)""", page)


def test_the_page_says_everything_and_loads_nothing(audited: Audited, inputs) -> None:
    page = render_audit(audited("fail_if.auroc_upper=0.6", **inputs))
    for heading in (
        "Limits", "What this means for one record", "Next steps", "Attacks that were run",
        "What was assumed", "What was not tried", "Most exposed records", "Thresholds",
    ):  # fmt: skip
        assert f"<h2>{heading}" in page
    assert "our convention" in page
    assert "no generator is given" in page
    assert all(re.match(r"data:|#", address) for address in addresses(page))
    assert not re.search(r"<script|url\((?!#)|@import", page)


def test_names_and_cells_are_escaped(audited: Audited, inputs) -> None:
    evil = "<script>alert(1)</script>"
    ids = [f"{evil}{i}" for i in range(120)]
    spoilt = {
        name: frame.assign(town=evil, key=ids).rename(columns={"age": evil})
        for name, frame in inputs.items()
    }
    spoilt["members"] = spoilt["members"].assign(town="other")
    spoilt["samples"] = spoilt["samples"].assign(town=[evil, "other"] * 60)
    page = render_audit(audited("records.id=key", "show_records=true", **spoilt))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 20


def test_records_are_shown_only_where_that_is_asked(audited: Audited, inputs) -> None:
    private = inputs["members"].assign(town="secret-town")
    given = inputs | {"members": private, "samples": private.assign(age=private["age"] + 0.1)}
    quiet, open_ = (
        render_audit(audited(f"show_records={yes}", **given)) for yes in ("false", "true")
    )
    assert "secret-town" not in quiet
    assert "show_records=true shows them" in quiet
    assert open_.count("secret-town") >= 10
    assert ("closest sample" in open_, "closest sample" in quiet) == (True, False)
    marked = re.findall(r'class="number differs" data-label="(\w+)">', open_)
    assert marked.count("age") >= 16  # both cells of eight pairs
    assert "income" not in marked


@pytest.mark.parametrize("show", ["true", "false"])
def test_pictures_are_shown_only_where_that_is_asked(audited: Audited, show: str) -> None:
    members = digits(0, 30)
    found = audited(
        f"show_records={show}", "attack=[full_black_box]", "bank.size=100", "exposed=4",
        members=members.numpy(), non_members=digits(1, 30).numpy(), generator=Decoder(members),
    )  # fmt: skip
    page = render_audit(found)
    assert page.count('alt="record and the closest released one"') == (4 if show == "true" else 0)
    beside = 0 if found.result.closest is None else len(found.result.closest.losses)
    assert page.count('alt="record and closest sample"') == page.count("<img") - page.count(
        'alt="record and the closest released one"'
    )
    assert (beside > 4) == (show == "true")
    assert len(found.exposed) == 4


def test_exposed_records_are_the_members_that_score_highest(audited: Audited, inputs) -> None:
    found = audited("exposed=7", **inputs | {"samples": table(5, 300)})
    best = found.verdict.strongest
    scores = found.result.scores
    scores = scores[(scores["attack"] == best.attack) & (scores["calibrated"] == best.calibrated)]
    members = scores[scores["member"]].sort_values("score", ascending=False)
    assert [e.score for e in found.exposed] == list(members["score"][:7])
    others = scores.loc[~scores["member"], "score"].to_numpy()
    for exposed in found.exposed:
        assert exposed.above == pytest.approx(np.mean(others >= exposed.score))


CUT = """() => [...document.querySelectorAll("table, body")]
    .filter(box => box.scrollWidth > box.parentElement.clientWidth + 1)
    .map(box => box.parentElement.getAttribute("aria-label") || box.tagName)"""
"""Tables, and the page itself, that are wider than what they lie in."""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1000, 375])
def test_no_table_is_cut(
    audited: Audited, inputs, result: JobResult, chromium: Any, tmp_path: Path, width: int
) -> None:
    """On a small screen, and on a phone: an audit's page, and a job's but for its pairs of attacks."""
    inputs["members"]["a_long_name_of_a_column"] = np.arange(len(inputs["members"])) / 7
    inputs["non_members"]["a_long_name_of_a_column"] = 0.5
    inputs["samples"]["a_long_name_of_a_column"] = np.arange(len(inputs["samples"])) / 3
    pages = {
        "audit": render_audit(audited("show_records=true", **inputs)),
        "job": job_page.render_job(result),
    }
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.goto((tmp_path / f"{name}.html").as_uri())
        assert set(page.evaluate(CUT)) <= {"Differences between attacks"}
        page.close()


def test_attacks_that_did_not_run_are_a_line_each_reason_below_the_table(
    audited: Audited, inputs
) -> None:
    page = render_audit(audited(**inputs))
    table, below = page.split("</table>", 1)
    assert "no generator is given" not in table
    assert len(re.findall(r"<li>Without numbers: partial black box, white box", below)) == 1
