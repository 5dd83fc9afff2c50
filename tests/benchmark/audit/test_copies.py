"""Training records released word for word: what counts as a copy, and what chance explains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from audit_models import table
from conftest import digits
from scipy.stats import fisher_exact

from benchmark.audit.copies import Copies
from benchmark.audit.digits import unit_of_last_digit
from benchmark.audit.page import render_audit
from benchmark.audit.run import Audit

Audited = Callable[..., Audit]
N = 300


def rounded(seed: int, n: int, places: int) -> pd.DataFrame:
    return table(seed, n).round(places)


@pytest.mark.parametrize("counts", [(10, 0), (10, 8), (0, 9), (3, 3)])
def test_members_against_non_members_is_fishers_exact_test(counts: tuple[int, int]) -> None:
    inside, outside = counts
    copies = Copies(100, 400, inside, outside, released=True)
    cells = [[inside, 100 - inside], [outside, 400 - outside]]
    assert copies.p_value == pytest.approx(fisher_exact(cells, "greater").pvalue)
    assert copies.p_swapped == pytest.approx(fisher_exact(cells, "less").pvalue)


def test_one_copy_of_a_record_with_many_digits_is_proof(audited: Audited) -> None:
    given = {"members": table(0, N), "non_members": table(1, N)}
    samples = pd.concat([table(3, 4 * N), given["members"].iloc[[7]]])
    found = audited("fail_if.copies=0", "fail_if.auroc_upper=0.99", **given, samples=samples)
    assert (found.verdict.word, found.verdict.copied) == ("leak", 1)
    assert list(found.verdict.exceeded) == ["copies"]
    assert "in less than 1 of 10,000 cases" in " ".join(found.summary()["headline"])


def test_a_copy_of_a_few_digits_is_none(audited: Audited) -> None:
    """Two records of 600 with a whole age and income are often equal by accident."""
    given = {"members": rounded(0, N, 0), "non_members": rounded(1, N, 0)}
    samples = pd.concat([rounded(3, 4 * N, 0), given["members"].iloc[[7]]])
    found = audited(**given, samples=samples)
    assert found.facts.copies.copied_members >= 1
    assert found.facts.copies.telling_members == 0
    assert found.verdict.copied == 0


def test_a_column_that_follows_from_another_adds_no_digits(audited: Audited) -> None:
    def doubled(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(twice=2 * frame["income"], thrice=3 * frame["income"])

    given = {"members": doubled(rounded(0, N, 1)), "non_members": doubled(rounded(1, N, 1))}
    samples = pd.concat([doubled(rounded(3, 4 * N, 1)), given["members"].iloc[[7]]])
    copies = audited(**given, samples=samples).facts.copies
    assert (copies.copied_members, copies.telling_members) == (1, 0)


def test_content_is_no_proof_where_the_given_records_repeat_each_other(audited: Audited) -> None:
    members = pd.concat([table(0, N), table(0, N).iloc[:1]])  # somebody is there twice
    samples = pd.concat([table(3, 4 * N), members.iloc[[7]]])
    given = {"members": members, "non_members": table(1, N), "samples": samples}
    found = audited("fail_if.copies=0", **given)
    copies = found.facts.copies
    assert (copies.copied_members, copies.certain, found.verdict.copied) == (1, 0, 0)
    assert found.verdict.word == "inconclusive"  # but nobody is told that there is no leak
    assert found.verdict.exceeded["copies"] == "1 is above 0"
    assert "look at them" in " ".join(found.headline)


@pytest.mark.parametrize("times", [2, 5])
def test_rows_that_an_owner_repeated_are_looked_for_too(audited: Audited, times: int) -> None:
    """600 of 1000 training rows were released, in pairs, and the page said 0.0%."""
    rare = table(5, 40)
    given = {"members": pd.concat([table(0, N), *[rare] * times]), "non_members": table(1, N)}
    found = audited(**given, samples=pd.concat([table(3, 4 * N), rare]))
    copies = found.facts.copies
    assert (found.word, found.verdict.copied, copies.repeated) == ("leak", 40, 40)
    assert (copies.members, copies.asked) == (N + 40, N)
    assert f"40 of {N + 40} different members" in " ".join(found.headline)


def test_copies_of_both_kinds_are_an_error_unless_members_are_copied_more_often(
    audited: Audited,
) -> None:
    given = {"members": table(0, N), "non_members": table(1, N)}
    for ours, theirs, word in ((60, 60, "invalid"), (5, 1, "invalid"), (60, 5, "leak")):
        copied = [given["members"].iloc[:ours], given["non_members"].iloc[:theirs]]
        found = audited("fail_if.leak=true", **given, samples=pd.concat([table(3, N), *copied]))
        assert found.word == word
        assert list(found.exceeded) == ["leak"]
        named = "copied non-members" in {check.name for check in found.result.checks}
        assert named == (word == "invalid")


def answers(seed: int, n: int, levels: str = "vwxyz", common: float = 0.0) -> pd.DataFrame:
    """40 questions; common: how often an answer is the one that the person always gives."""
    rng = np.random.default_rng([9, seed])
    own = rng.choice([*levels], (n, 40))
    own = np.where(rng.random(own.shape) < common, rng.choice([*levels], (n, 1)), own)
    return pd.DataFrame(own, columns=[f"q{i}" for i in range(40)])


def test_a_copy_of_many_answers_is_proof_and_of_answers_that_go_together_is_none(
    audited: Audited,
) -> None:
    for common, proof in ((0.0, True), (0.95, False)):
        given = {"members": answers(0, 500, common=common)}
        given["non_members"] = answers(1, 500, common=common)
        samples = pd.concat([answers(2, 600, common=common), given["members"].iloc[3:8]])
        copies = audited("attack=[full_black_box]", **given, samples=samples).facts.copies
        assert copies.copied_members >= 5
        assert (copies.certain > 0) == proof


@pytest.mark.parametrize("change", ["scaled", "rounded"])
def test_copies_with_other_last_digits_are_no_fine_release(audited: Audited, change: str) -> None:
    """Scaled and scaled back, or rounded: no copy was seen, and no leak was found."""
    rng = np.random.default_rng(4)

    def numbers(n: int) -> pd.DataFrame:
        return pd.DataFrame(rng.normal(size=(n, 6)), columns=[*"abcdef"])

    given = {"members": numbers(1000), "non_members": numbers(1000)}
    samples = pd.concat([numbers(1500), given["members"].iloc[:6]])
    samples = samples.round(4) if change == "rounded" else samples * (1 + 1e-6)
    found = audited("attack=[full_black_box]", **given, samples=samples)
    assert (found.facts.copies.copied_members, found.facts.copies.rounded) == (6, 6)
    assert found.word in ("leak", "inconclusive")
    assert change == "rounded" or found.verdict.copied == 6
    assert "6 of them with other last digits" in " ".join(found.headline)


def coded(seed: int, n: int, share: float) -> pd.DataFrame:
    """Eight values of a laboratory, with 99999 where one was not measured, and the sex."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 3)) @ np.random.default_rng(7).normal(size=(3, 8)) / 1.7
    values = (100 + 15 * common + 5 * rng.normal(size=(n, 8))).round(1)
    frame = pd.DataFrame(np.where(rng.random(values.shape) < share, 99999, values))
    return frame.add_prefix("lab").assign(sex=rng.integers(0, 2, n))


@pytest.mark.parametrize("share", [0.002, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_codes_for_what_was_not_measured_make_no_copies(
    audited: Audited, seed: int, share: float
) -> None:
    """They made deviations so large that rows 3 units apart were copies with other last digits."""
    members, non_members, samples = (coded(100 * seed + i, 1000, share) for i in range(3))
    given = {"members": members, "non_members": non_members}
    fresh = audited("attack=[full_black_box]", **given, samples=samples)
    copies = fresh.facts.copies
    assert (copies.copied_members, copies.copied_non_members) == (0, 0)
    assert fresh.verdict.copied == 0
    assert "copied non-members" not in {check.name for check in fresh.result.checks}
    told = fresh.result.copies.set_index("measure").loc["exact copies"]
    assert told["members"] == told["held_out"] == 0
    measured = members[(members < 1000).all(axis=1)].iloc[:6]
    copied = pd.concat([samples, measured], ignore_index=True)
    copies = audited("attack=[full_black_box]", **given, samples=copied).facts.copies
    assert (copies.copied_members, copies.rounded, copies.copied_non_members) == (6, 0, 0)
    copied.iloc[-6:, :8] *= 1 + 1e-5
    copies = audited("attack=[full_black_box]", **given, samples=copied).facts.copies
    assert (copies.copied_members, copies.rounded, copies.copied_non_members) == (6, 6, 0)


@pytest.mark.parametrize("share", [0.0, 0.01])
@pytest.mark.parametrize("whole", [np.round, np.trunc])
def test_copies_in_whole_units_are_copies(
    audited: Audited, whole: Callable[[pd.DataFrame], pd.DataFrame], share: float
) -> None:
    """Incomes of 1234.56 were released as 1235, or as 1234."""
    rng = np.random.default_rng(2)

    def incomes(n: int) -> pd.DataFrame:
        values = np.exp(rng.normal(8, 1, (n, 4))).round(2)
        values = np.where(rng.random(values.shape) < share, 999999, values)
        return pd.DataFrame(values, columns=[*"abcd"])

    given = {"members": incomes(600), "non_members": incomes(600)}
    samples = whole(pd.concat([incomes(900), given["members"].iloc[:6]]))
    copies = audited("attack=[full_black_box]", **given, samples=samples).facts.copies
    assert copies.copied_members == copies.rounded == 6
    assert copies.copied_non_members == 0


def test_strata_are_tested_together() -> None:
    """Of contents that all stand in one input nothing can be learnt by comparison."""
    once = (5, 100, 1, 80)
    alone = Copies(100, 80, 5, 1, released=True)
    both = Copies(120, 80, 25, 1, released=True, strata=(once, (20, 20, 0, 0)))
    assert both.p_value == pytest.approx(alone.p_value)
    assert both.count_proven(0.5) == alone.count_proven(0.5) == round(5 - 100 / 80)
    rng = np.random.default_rng(0)
    strata = ((4, 30, 1, 30), (3, 5, 0, 6))
    drawn = sum(rng.hypergeometric(m, n, ours + theirs, 200_000) for ours, m, theirs, n in strata)
    expected = float(np.mean(drawn >= 7))
    assert Copies(35, 36, 7, 1, strata=strata).p_value == pytest.approx(expected, rel=0.05)


def test_images_are_proof_unless_they_are_nearly_blank(audited: Audited) -> None:
    members, others, fresh = (digits(seed, 40).numpy() for seed in range(3))
    members[0] = -1
    members[0, 0, 3, 3] = 1  # one dot
    samples = np.concatenate([fresh, members[:2]])
    copies = audited(members=members, non_members=others, samples=samples).facts.copies
    assert (copies.copied_members, copies.telling_members) == (2, 1)


def test_non_members_that_were_released_are_an_error(audited: Audited) -> None:
    given = {"members": table(0, N), "non_members": table(1, N)}
    found = audited(**given, samples=pd.concat([table(3, N), given["non_members"].iloc[:20]]))
    assert "copied non-members" in {check.name for check in found.result.checks}
    assert found.verdict.word == "invalid"


def test_near_copies_are_a_leak_unless_non_members_have_as_many(audited: Audited) -> None:
    def numbers(seed: int, n: int) -> pd.DataFrame:
        values = np.random.default_rng(seed).normal(size=(n, 8))
        return pd.DataFrame(values, columns=[f"x{i}" for i in range(8)])

    given = {"members": numbers(0, N), "non_members": numbers(1, N)}
    fresh, near = numbers(2, N), [given[name].iloc[:24] + 1e-2 for name in given]
    found = audited(**given, samples=pd.concat([fresh, near[0]]))
    assert found.verdict.word == "leak"
    assert (found.verdict.copied, found.verdict.nearly) == (0, 24)
    assert "24 members, more than chance explains" in " ".join(found.summary()["headline"])
    assert "near copies" in render_audit(found)
    both = audited(**given, samples=pd.concat([fresh, *near]))
    assert both.verdict.nearly == 0


@pytest.mark.slow
def test_mirrored_images_are_copies_by_features_alone(audited: Audited) -> None:
    members, others, fresh = (digits(seed, 80).numpy() for seed in range(3))
    given = {"members": members, "non_members": others}
    samples = np.concatenate([fresh, np.flip(members[:20], 3)])
    found = {
        by: audited("attack=[full_black_box]", "show_records=true", f"copies={by}", **given,
                    samples=samples)
        for by in ("pixels", "features")
    }  # fmt: skip
    assert {by: own.verdict.nearly for by, own in found.items()} == {"pixels": 0, "features": 20}
    assert found["features"].verdict.copied == 0
    for by, own in found.items():
        assert f"compared by {by}" in render_audit(own)
        assert any(f"by {by}" in sentence for sentence in own.beside)
    shown = found["features"].result.closest
    assert shown is not None
    assert (np.flip(shown.queries[:8], 3) == shown.reconstructions[:8]).all()


@pytest.mark.parametrize(
    ("value", "unit"), [(12.5, 0.1), (1200, 100), (7, 1), (0.037, 0.001), (-3.25, 0.01)]
)
def test_the_unit_of_a_value_is_that_of_its_last_digit(value: float, unit: float) -> None:
    assert unit_of_last_digit(value) == pytest.approx(unit)


def test_a_zero_has_no_digits() -> None:
    assert unit_of_last_digit(0.0) == np.inf
