"""The page: whole, escaped, self-contained, and silent about records unless asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from audit_models import Decoder, table
from conftest import digits

from benchmark.audit.page import render
from benchmark.audit.run import Audit

Audited = Callable[..., Audit]


@pytest.fixture
def inputs() -> dict[str, Any]:
    members = table(0, 120)
    return {"members": members, "non_members": table(1, 120), "samples": members}


def addresses(page: str) -> list[str]:
    return re.findall(r"""(?:src|href|action|srcset)\s*=\s*["']([^"']+)""", page)


def test_the_page_says_everything_and_loads_nothing(audited: Audited, inputs) -> None:
    page = render(audited("fail_if.auroc_upper=0.6", **inputs))
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
    page = render(audited("records.id=key", "show_records=true", **spoilt))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 20


def test_records_are_shown_only_where_that_is_asked(audited: Audited, inputs) -> None:
    private = inputs["members"].assign(town="secret-town")
    given = inputs | {"members": private, "samples": private.assign(town=["secret-town", "x"] * 60)}
    quiet, open_ = (render(audited(f"show_records={yes}", **given)) for yes in ("false", "true"))
    assert "secret-town" not in quiet
    assert "show_records=true shows them" in quiet
    assert open_.count("secret-town") >= 10


@pytest.mark.parametrize("show", ["true", "false"])
def test_pictures_are_shown_only_where_that_is_asked(audited: Audited, show: str) -> None:
    members = digits(0, 30)
    found = audited(
        f"show_records={show}", "attack=[full_black_box]", "bank.size=100", "exposed=4",
        members=members.numpy(), non_members=digits(1, 30).numpy(), generator=Decoder(members),
    )  # fmt: skip
    assert render(found).count("<img") == (4 if show == "true" else 0)
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
