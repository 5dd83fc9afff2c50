import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from benchmark.measures import checks, metrics, pairs

RNG = np.random.default_rng(0)


def digests(numbers):
    return np.array([[i // 256, i % 256] for i in numbers], dtype=np.uint8).reshape(-1, 2)


def row(attack, access, low, auroc, high, calibrated="none"):
    return {
        "attack": attack,
        "access": access,
        "calibrated": calibrated,
        "auroc": auroc,
        "auroc_low": low,
        "auroc_high": high,
    }


def only(found):
    assert len(found) == 1
    return found[0]


def test_overlap():
    sets = {"members": range(300), "non-members": range(297, 400), "reference": range(500, 600)}
    found = only(checks.overlapping_splits({k: digests(v) for k, v in sets.items()}))
    assert (found.name, found.level) == ("overlap", "error")
    assert "members and non-members share 3 of 300 and 3 of 103 records" in found.message
    often = {"a": digests([7] * 9 + [1]), "b": digests([2, 7])}  # records, not contents
    assert "share 9 of 10 and 1 of 2 records" in only(checks.overlapping_splits(often)).message


def test_disjoint_sets_pass():
    # 1 = (0, 1) and 256 = (1, 0) have the same bytes in another order
    sets = {"members": digests([1, 2]), "non-members": digests([256]), "reference": digests([])}
    assert checks.overlapping_splits(sets) == []


def test_ties():
    members, non_members = RNG.normal(size=100), RNG.normal(size=100)
    assert checks.tied_scores("nn", members, non_members) == []
    members[:20], non_members[:10] = 0.5, 0.5
    found = only(checks.tied_scores("nn", members, non_members))
    assert found.level == "warning"
    assert found.message.startswith("nn: 15% of the scores")
    assert "30 queries score 0.5" in found.message


def test_ties_within_one_group_or_few_do_not_matter():
    members, non_members = RNG.normal(size=100), RNG.normal(size=100)
    members[:50] = 9.0
    assert checks.tied_scores("nn", members, non_members) == []
    non_members[:5] = members[50:55]  # ten of 200: exactly the limit
    assert checks.tied_scores("nn", members, non_members) == []
    non_members[5] = members[55]
    assert checks.tied_scores("nn", members, non_members) != []


def test_reversed_sign():
    members, non_members = RNG.normal(size=200) - 0.6, RNG.normal(size=200)
    found = only(checks.sign_error("white_box", members, non_members))
    assert found.level == "warning"
    assert "white_box: AUROC 0.3" in found.message
    assert "under 0.5" in found.message
    assert checks.sign_error("white_box", -members, -non_members) == []


def test_guessing_is_rarely_called_a_reversed_sign():
    hits = 0
    for seed in range(300):
        rng = np.random.default_rng([1, seed])
        hits += bool(checks.sign_error("guess", rng.normal(size=50), rng.normal(size=50)))
    assert hits <= 10  # expected 3; more than 10 has probability 2e-4


CHAIN = ("full_black_box", "partial_black_box", "white_box")


def order(*attacks, shared=0.95, seed=0, n=250, lacks=()):
    """The check on normal scores: attacks (name, access, strength, calibration).

    shared: correlation of two attacks' scores. lacks: queries that the first attack does not judge.
    """
    rng = np.random.default_rng([7, seed])
    member = np.arange(2 * n) < n
    common, rows, scores = rng.normal(size=2 * n), [], []
    for i, (name, access, strength, calibrated) in enumerate(attacks):
        own = rng.normal(size=2 * n)
        values = np.sqrt(shared) * common + np.sqrt(1 - shared) * own + strength * member
        columns = {"query": np.arange(2 * n), "member": member, "score": values}
        frame = pd.DataFrame({"attack": name, "calibrated": calibrated} | columns)
        scores.append(frame[~frame["query"].isin(lacks)] if i == 0 else frame)
        area = metrics.auroc(values[member], values[~member])
        rows.append(row(name, access, np.nan, area, np.nan, calibrated))
    return checks.weaker_beats_stronger(rows, pairs.compare_rows(pd.concat(scores)))


def test_weaker_access_beats_stronger():
    attacks = [
        ("nearest", "full black box", 1.0, "none"),
        ("powell", "partial_black_box", 0.5, "none"),
        ("lbfgs", "white box", 1.2, "none"),
    ]
    message = only(order(*attacks)).message
    assert re.match(
        r"nearest \(full black box, AUROC 0.7\d\d\) is better than powell \(partial", message
    )
    assert "corrected p < 0.001" in message


def test_it_must_beat_every_attack_of_the_stronger_access_and_is_said_once():
    weak = [(name, "full_black_box", 1.0, "none") for name in ("nearest", "twin")]
    slow, good = ("zero", "white_box", 0.2, "none"), ("started", "white_box", 1.3, "none")
    assert order(*weak, slow, good) == []
    assert "better than zero" in only(order(*weak, slow)).message


def test_a_query_that_one_attack_does_not_judge_is_left_out_of_its_pairs():
    attacks = [("nearest", CHAIN[0], 1.0, "none"), ("lbfgs", CHAIN[2], 0.4, "none")]
    assert only(order(*attacks, lacks=range(200, 240))).name == "access order"
    assert order(*attacks, lacks=range(250)) == []  # without a member there is no AUROC to compare


def test_the_order_of_access_is_tested_in_pairs():
    """Correlated scores: the paired test finds what intervals of each attack alone do not."""
    attacks = [("nearest", CHAIN[0], 1.0, "none"), ("lbfgs", CHAIN[2], 0.8, "none")]
    found = sum(len(order(*attacks, seed=seed)) for seed in range(40))
    assert found >= 36


@pytest.mark.slow
def test_equal_attacks_are_seldom_said_to_be_in_the_wrong_order():
    """Four attacks and two calibrations that are equally good: at most 5% of jobs."""
    attacks = [
        (f"{access} {i}", access, 0.7, calibrated)
        for access, many in zip(CHAIN, (2, 1, 1), strict=True)
        for i in range(many)
        for calibrated in ("none", "difference")
    ]
    fired = sum(bool(order(*attacks, seed=seed, n=60)) for seed in range(100))
    assert fired <= 12  # 5% of 100 is 5; three standard errors are 6.5


@pytest.mark.parametrize(
    "strong",
    [
        ("lbfgs", "white_box", 1.0, "none"),  # as good
        ("lbfgs", "white_box", 0.4, "reference"),
        ("logan", "accessible_discriminator", 0.4, "none"),
    ],
)
def test_only_like_is_compared_with_like(strong):
    assert order(("nearest", "full_black_box", 1.0, "none"), strong) == []


def test_without_attacks_no_order_is_wrong():
    assert checks.weaker_beats_stronger([], pd.DataFrame(columns=pairs.COMPARISONS)) == []


def test_mode_collapse():
    rng = np.random.default_rng(3)
    real = rng.normal(size=(40, 1, 8, 8))
    collapsed = real[:2][np.arange(60) % 2] + 0.01 * rng.normal(size=(60, 1, 8, 8))
    found = only(checks.mode_collapse(collapsed, real, 0))
    assert found.level == "warning"
    ours, held_out = (
        np.mean([np.linalg.norm(a - b) for i, a in enumerate(x) for b in x[:i]])
        for x in (collapsed, real)
    )
    assert f"on average {ours:.3g} apart, two held-out records {held_out:.3g}" in found.message
    assert f"(ratio {ours / held_out:.2f}," in found.message


def test_diverse_samples_pass():
    real, released = RNG.normal(size=(2, 400, 16))
    assert checks.mode_collapse(released.astype(np.float32), real, 0) == []
    assert checks.mode_collapse(0.75 * released, real, 0) == []  # blurred, not collapsed
    assert checks.mode_collapse(released[:1], real, 0) == []


def test_mode_collapse_looks_at_drawn_rows():
    """Ten classes far apart, written class by class: the first rows are of one class."""
    released, real = (
        10 * (np.arange(4000) // 400)[:, None] + RNG.normal(size=(4000, 3)) for _ in "ab"
    )
    assert checks.mode_collapse(released, real, 0) == []
    assert checks.mode_collapse(released, real[RNG.permutation(4000)], 0) == []
    assert checks.mode_collapse(released[:400], real, 0)


def test_few_queries():
    found = only(checks.too_few_queries(200, 50))
    assert "200 members and 50 non-members" in found.message
    # Closed form: 1.96 * sqrt(251 / (12 * 200 * 50)) = 0.0896
    assert "0.5 +- 0.09" in found.message
    assert checks.too_few_queries(100, 100) == []


def test_few_queries_interval_by_simulation():
    members, others = np.random.default_rng(2).normal(size=(2, 800, 30))
    areas = mannwhitneyu(members, others, axis=1).statistic / 30**2
    stated = float(checks.too_few_queries(30, 30)[0].message.split("+- ")[1].split()[0])
    assert 1.96 * np.std(areas) == pytest.approx(stated, rel=0.1)


def table_quality(correlation):
    marginal = {"marginal error": 0.1, "marginal error, untrained": 0.6, "marginal error, real": 0}
    own = {"correlation error": correlation, "correlation error, untrained": 0.06}
    return marginal | own | {"correlation error, real": 0.02}


def test_a_victim_that_learnt_little_is_said_where_nothing_was_found():
    guess = pd.DataFrame([row("full_black_box", "full_black_box", 0.47, 0.51, 0.55)])
    found = pd.DataFrame([row("white_box", "white_box", 0.51, 0.55, 0.59)])
    blind = pd.DataFrame([row("blind", "none", 0.51, 0.55, 0.59)])
    said = only(checks.learnt_little(table_quality(0.058), pd.concat([guess, blind]))).message
    assert "way to a small correlation error 0.05;" in said
    assert not checks.learnt_little(table_quality(0.058), pd.concat([guess, found]))
    assert not checks.learnt_little(table_quality(0.055), guess)
    assert (
        "recall 0.05;"
        in only(checks.learnt_little({"precision": 0.5, "recall": 0.05}, guess)).message
    )
    for unknown in ({}, {"precision": np.nan, "recall": np.nan}, {"marginal error": 0.1}):
        assert not checks.learnt_little(unknown, guess)


def test_how_much_was_learnt_runs_from_an_untrained_model_to_real_records():
    assert checks.learnt_shares(table_quality(0.03))["way to a small correlation error"] == (
        pytest.approx(0.75)
    )
    assert np.isnan(
        checks.learnt_shares(table_quality(0.03) | {"correlation error, real": 1.0})[
            "way to a small correlation error"
        ]
    )
