"""Verdicts: rates of false alarms, limits, and sentences that agree with the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig
from scipy.stats import hypergeom, norm

from benchmark.audit import words
from benchmark.audit.advice import next_steps
from benchmark.audit.copies import Copies
from benchmark.audit.facts import Facts
from benchmark.audit.request import Request, open_request
from benchmark.audit.verdict import Verdict, judge_audit
from benchmark.measures import metrics, rates
from benchmark.measures.checks import Check
from benchmark.measures.columns import summarise_scores
from benchmark.measures.result import JobResult

Asked = Callable[..., Request]
NONE = Copies(300, 300, released=True)
FEW = np.arange(0.0, 80, 2), np.arange(1.0, 80, 2)  # 40 and 40 scores, in turn


@pytest.fixture
def audit_request(audit_config: Callable[..., DictConfig]) -> Asked:
    given = dict.fromkeys(("members", "non_members", "samples"), "never_read.npy")
    return lambda *words: open_request(audit_config(*words), given)


def result(*groups: tuple[np.ndarray, np.ndarray], access: str = "full_black_box") -> JobResult:
    """One row for each pair of members' and non-members' scores."""
    rows, scores = [], []
    for i, (x, y) in enumerate(groups):
        base = {"attack": f"attack_{i}", "access": access, "calibrated": "none"}
        rows.append(base | {"status": "ok"} | summarise_scores(x, y))
        member = np.arange(len(x) + len(y)) < len(x)
        columns = {"member": member, "score": np.concatenate([x, y])}
        scores.append(pd.DataFrame({"attack": f"attack_{i}", "calibrated": "none"} | columns))
    return JobResult("t", {}, {}, pd.DataFrame(rows), pd.concat(scores))


def verdict(
    request: Request,
    *groups: Any,
    checks: list[Check] | None = None,
    copies: Copies = NONE,
) -> Verdict:
    return judge_audit(result(*groups), checks or [], request, copies)


def guesses(seed: int, n: int = 300, attacks: int = 6) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=n), rng.normal(size=n)) for _ in range(attacks)]


@pytest.mark.slow
def test_guessing_attacks_raise_no_more_alarms_than_promised(audit_request: Asked) -> None:
    request = audit_request()
    found = [verdict(request, *guesses(seed, 800, 4)).word for seed in range(40)]
    # 5% may be wrong: more than 6 of 40 happens by chance once in 300 times.
    assert found.count("leak") <= 6
    assert found.count("no leak found") > 20


def test_the_strongest_of_many_needs_more_than_its_own_interval(audit_request: Asked) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=1000), rng.normal(size=1000)
    shifted = x + 0.14  # its own 95% interval just lies above 0.5
    assert metrics.auroc_interval(shifted, y)[0] > 0.5
    alone = verdict(audit_request(), (shifted, y))
    among = verdict(audit_request(), (shifted, y), *guesses(1, 1000, 19))
    assert among.strongest.low < alone.strongest.low
    assert among.level == pytest.approx(1 - 0.05 / (20 * 4 + 3))
    assert among.statements == 83


def test_the_share_of_records_found_is_as_sure_as_the_page_says(audit_request: Asked) -> None:
    """The threshold is chosen on the non-members: that error is in the interval too."""
    request, truth, missed = audit_request(), norm.sf(norm.isf(0.01) - 2), 0
    for seed in range(100):
        rng = np.random.default_rng([17, seed])
        found = verdict(request, (rng.normal(size=300) + 2, rng.normal(size=300))).sharpest
        missed += not found.found_low <= truth <= found.found_high
    assert missed <= 9  # 5% of 100 may; more than 9 with a chance of 3%


def test_a_few_memorised_records_are_a_leak_though_the_auroc_is_a_guess(
    audit_request: Asked,
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=1000), rng.normal(size=1000)
    x[:40] += 10
    found = verdict(audit_request(), (x, y))
    assert found.strongest.low < 0.5
    assert found.word == "leak"
    assert found.sharpest.found == pytest.approx(0.05, abs=0.01)


def test_too_few_records_are_inconclusive_and_errors_invalid(audit_request: Asked) -> None:
    assert verdict(audit_request(), FEW).word == "inconclusive"
    broken = Check("overlap", "error", "they share records")
    assert verdict(audit_request(), FEW, checks=[broken]).word == "invalid"


@pytest.mark.parametrize(
    ("limit", "exceeded"),
    [
        ("auroc_lower=0.5", True),
        ("auroc_lower=0.9", False),
        ("auroc_upper=0.6", True),
        ("auroc_upper=0.99", False),
        ("found_upper=0.01", True),
        ("found_upper=0.9", False),
    ],
)
def test_limits(audit_request: Asked, limit: str, exceeded: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=400) + 1, rng.normal(size=400)
    found = verdict(audit_request(f"fail_if.{limit}"), (x, y))
    assert bool(found.exceeded) == exceeded
    assert found.exit_code == (3 if exceeded else 0)


def test_what_cannot_be_ruled_out_fails(audit_request: Asked) -> None:
    assert verdict(audit_request("fail_if.auroc_upper=0.6"), FEW).exit_code == 3
    found = verdict(audit_request("fail_if.found_upper=0.9"), FEW)
    assert found.exceeded == {"found_upper": "too few non-members to resolve it"}
    broken = Check("overlap", "error", "they share records")
    good = verdict(audit_request("fail_if.auroc_lower=0.9"), *guesses(0), checks=[broken])
    assert good.exceeded == {"auroc_lower": "the numbers are not valid"}


def test_a_failed_attack_rules_nothing_out_and_takes_nothing_back(audit_request: Asked) -> None:
    failed = [Check("failed attack", "warning", "x: failed: it broke")]
    limits = audit_request("fail_if.auroc_upper=0.99", "fail_if.auroc_lower=0.9")
    found = verdict(limits, *guesses(3, 2000), checks=failed)
    assert found.word == "inconclusive"
    assert found.exceeded == {"auroc_upper": "an attack failed, so nothing is ruled out"}
    text = sentences(found, facts())
    assert "An attack failed" in text
    assert "Give more records" not in text
    rng = np.random.default_rng(0)
    leak = rng.normal(size=300) + 2, rng.normal(size=300)
    assert verdict(limits, leak, checks=failed).word == "leak"


def facts(**changes: Any) -> Facts:
    base = dict.fromkeys(Facts.__dataclass_fields__, 0)
    return Facts(
        **base
        | {"copies": NONE, "members": 300, "non_members": 300, "given_members": 300}
        | changes
    )


def sentences(found: Verdict, known: Facts) -> str:
    parts = (
        words.write_headline(found, known)
        + words.write_meaning(found, known)
        + next_steps(found, known)
    )
    return " ".join(parts)


def test_sentences_agree_with_the_numbers(audit_request: Asked) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=300) + 2, rng.normal(size=300)
    found = verdict(audit_request(), (x, y), copies=Copies(300, 300, 7, released=True))
    text = sentences(found, facts(copies=Copies(300, 300, 7, released=True)))
    assert f"AUROC {metrics.auroc(x, y):.3f} [{found.strongest.low:.3f}" in text
    rate = rates.tpr_at_fpr(x, y, 0.01).tpr
    assert f"finds {round(300 * rate)} of 300 members" in text
    assert "guessing finds about 3" in text
    assert "7 of 300 members and 0 of 300 non-members" in text
    assert "Find out why the generator repeats training records (7 members" in text
    prior, share = 0.01, rate
    believed = prior * share / (prior * share + (1 - prior) * 0.01)
    assert (
        f"used is 1%, and sees the attack attack 0 raise an alarm for it (false alarms: 1%), should then think it is {believed:.0%}"
        in text
    )


def test_the_finding_names_what_leaks(audit_request: Asked) -> None:
    rng = np.random.default_rng(0)
    leak, guess = (rng.normal(size=300) + 2, rng.normal(size=300)), guesses(1)[0]
    told = {}
    for access in ("full_black_box", "white_box", "accessible_discriminator"):
        both = result(leak, guess)
        both.rows.loc[0, "access"], both.rows.loc[1, "access"] = access, "partial_black_box"
        found = judge_audit(both, [], audit_request(), NONE)
        assert (found.proven, found.unproven) == ([access], ["partial_black_box"])
        told[access] = words.write_headline(found, facts())
    assert told["full_black_box"][0].startswith("The released records give away")
    assert told["white_box"][0].startswith("The generator gives away")
    assert told["accessible_discriminator"][0].startswith("The discriminator gives away")
    assert "No leak is proven for partial black box." in told["white_box"]


def test_no_leak_claims_no_more_than_was_shown(audit_request: Asked) -> None:
    found = verdict(audit_request(), *guesses(3, 2000))
    text = sentences(found, facts())
    assert found.word == "no leak found"
    assert "and for nothing else" in text
    assert "learns nothing" in text
    assert "Train" not in text


def test_inconclusive_names_a_number_of_records_that_suffices(audit_request: Asked) -> None:
    found = verdict(audit_request(), FEW)
    (step,) = [s for s in next_steps(found, facts()) if "Give more records" in s]
    needed = int("".join(sign for sign in step.split("members")[0] if sign.isdigit()))
    # The interval of an attack that guesses, with that many records a side, ends under 0.6.
    x = np.random.default_rng(0).permutation(2 * needed).astype(float)
    low, high = metrics.auroc_interval(x[:needed], x[needed:], found.level)
    assert (high - low) / 2 == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("k", [0, 1, 3, 8])
def test_records_found_p_value_is_that_of_random_orders(k: int) -> None:
    """Members above the (k + 1)-th non-member, counted over all orders by another formula."""
    m, n = 12, 30
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=m) + 1, rng.normal(size=n)
    fpr = (k + 0.5) / n
    if k == 0:
        assert rates.found_p_value(x, y, fpr) == 1
        return
    found = int((x > np.sort(y)[::-1][k]).sum())
    # At least `found` members before the (k + 1)-th non-member: among the first found + k scores
    # there are at most k non-members.
    expected = hypergeom(m + n, n, found + k).cdf(k)
    assert rates.found_p_value(x, y, fpr) == pytest.approx(expected)


def test_records_found_p_value_is_conservative_under_ties() -> None:
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, 5, (2, 200)).astype(float) for _ in range(500)]
    assert np.mean([rates.found_p_value(x, y, 0.05) <= 0.05 for x, y in draws]) <= 0.05


SPLIT = Check("split leaks", "warning", "they differ")


def test_surely_worse_than_guessing_is_a_leak_with_the_sign_turned(audit_request: Asked) -> None:
    """A vendor removed records close to training records: members lie further away."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=300), rng.normal(size=300)
    request = audit_request("fail_if.auroc_upper=0.6")
    found = verdict(request, (x - 2, y))
    assert (found.word, found.exit_code) == ("leak", 3)
    mirror = verdict(request, (2 - x, -y))
    assert found.upper == pytest.approx(mirror.upper)
    assert found.strongest.gain == pytest.approx(mirror.strongest.gain)
    text = sentences(found, facts())
    assert "its sign turned" in text
    assert "stop doing so" in text
    # Where members and non-members differ by themselves, or nobody looked, it says nothing.
    for unsure in (
        verdict(request, (x - 2, y), checks=[SPLIT]),
        verdict(audit_request("blind=none"), (x - 2, y)),
    ):
        assert unsure.word == "invalid"
    assert words.write_headline(unsure, facts()) == ["The numbers are not valid; see the checks."]


def test_a_weak_turned_sign_is_bounded_too(audit_request: Asked) -> None:
    """An AUROC of 0.42 is 0.58 to an attacker: no_leak needs both sides under the threshold."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=2000), rng.normal(size=2000)
    found = verdict(audit_request("fail_if.auroc_upper=0.55"), (x - 0.1, y))
    assert found.upper == pytest.approx(1 - found.strongest.low)
    assert found.exceeded


def test_ten_copies_among_a_thousand_are_a_leak(audit_request: Asked) -> None:
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=1000), rng.normal(size=1000)
    request = audit_request("fail_if.copies=0", "fail_if.auroc_upper=0.6")
    few = Copies(1000, 1000, 10, 0, released=True)
    found = verdict(request, (x, y), copies=few)
    assert (found.word, found.copied, found.proven) == ("leak", 10, [])
    assert list(found.exceeded) == ["copies"]
    assert words.write_headline(found, facts(copies=few))[0].endswith(
        "training records word for word."
    )
    by_chance = Copies(1000, 1000, 10, 8, released=True)
    found = verdict(request, (x, y), copies=by_chance)
    assert (found.word, found.copied, found.exit_code) == ("no leak found", 0, 0)
    assert "a difference that chance explains" in sentences(found, facts(copies=by_chance))


def test_members_that_are_copied_less_often_than_others_were_removed(audit_request: Asked) -> None:
    """Coarse records: a vendor removed all that equal a training record."""
    spared = Copies(1000, 1000, 0, 25, released=True)
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=1000), rng.normal(size=1000)
    found = verdict(audit_request(), (x, y), copies=spared)
    assert (found.word, found.copied) == ("leak", 0)
    assert "stop doing so" in sentences(found, facts(copies=spared))
    assert verdict(audit_request(), (x, y), copies=spared, checks=[SPLIT]).word == "invalid"


def test_members_above_every_non_member_are_a_leak(audit_request: Asked) -> None:
    """Copies of 1.2% of the members move neither the AUROC nor the share found at 1%."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=1000), rng.normal(size=1000)
    x[:12] = 99
    found = verdict(audit_request(), (x, y))
    assert found.word == "leak"
    assert found.strongest.low < 0.5
    assert found.first.first == pytest.approx(0.012, abs=0.002)
    text = sentences(found, facts(members=1000))
    assert "score above every non-member" in text
    assert "with a probability of at least" in text


def test_no_leak_needs_a_bound_on_the_records_found(audit_request: Asked) -> None:
    """An AUROC surely under 0.6 leaves room for many records found at 1% false alarms."""
    rng = np.random.default_rng(4)
    scores = rng.permutation(1200.0 + np.arange(1200))
    x, y = scores[:900], scores[900:]
    x[:55] = np.sort(y)[-3] + rng.random(55) * 1e-3  # some members just under the top
    found = verdict(audit_request(), (x, y))
    assert found.upper <= 0.6
    assert (found.word, found.found_upper > 0.1) == ("inconclusive", True)
    assert "of the members are found" in " ".join(next_steps(found, facts()))


@pytest.mark.slow
def test_ten_non_members_prove_nothing_by_chance(audit_request: Asked) -> None:
    """Normal quantiles proved a leak in 5% of such audits, where at most 2.5% are allowed."""
    request, leaks = audit_request(), 0
    for seed in range(300):
        rng = np.random.default_rng([6, seed])
        leaks += verdict(request, (rng.normal(size=400), rng.normal(size=10))).word == "leak"
    assert leaks <= 20  # 5% of 300 and a little more than one standard error


def test_what_groups_show_by_themselves_is_no_leak_of_the_generator(audit_request: Asked) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=300), rng.normal(size=300)
    first = np.concatenate([y.max() + 1 + np.arange(20.0), x[20:]])
    request = audit_request()
    for scores in (x, x + 0.5, x + 9, x - 0.5, first):  # first: twenty members before all
        found = verdict(request, (scores, y), checks=[SPLIT])
        assert found.word == "invalid"
        assert "differ by themselves" in " ".join(words.write_headline(found, facts()))
    assert verdict(request, (x + 0.5, y)).word == verdict(request, (first, y)).word == "leak"

    telling = Copies(300, 300, copied_members=3, telling_members=3, released=True)
    beyond = verdict(request, (x + 2, y), checks=[SPLIT], copies=telling)
    assert (beyond.word, beyond.proven) == ("leak", [])
    assert "does not rest on" in " ".join(words.write_headline(beyond, facts(copies=telling)))
    alike = verdict(request, (x + 2, y), copies=telling)
    assert "does not rest on" not in " ".join(words.write_headline(alike, facts(copies=telling)))


def test_copies_prove_a_leak_of_different_groups_only_if_they_are_no_accident(
    audit_request: Asked,
) -> None:
    (x, y), *_ = guesses(0)
    coarse = Copies(300, 300, copied_members=60, copied_non_members=20, released=True)
    telling = Copies(300, 300, copied_members=3, telling_members=3, released=True)
    assert verdict(audit_request(), (x, y), copies=coarse).word == "leak"
    apart = [verdict(audit_request(), (x, y), checks=[SPLIT], copies=c) for c in (coarse, telling)]
    assert [found.word for found in apart] == ["invalid", "leak"]
