import numpy as np
import pytest

from benchmark import checks

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
    assert "members and non-members share 3 of 300 and 103 records" in found.message


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


def test_weaker_access_beats_stronger():
    rows = [
        row("nearest", "full black box", 0.70, 0.75, 0.80),
        row("powell", "partial_black_box", 0.55, 0.60, 0.65),
        row("lbfgs", "white box", 0.72, 0.77, 0.82),
    ]
    message = only(checks.weaker_beats_stronger(rows)).message
    assert "nearest (full black box, AUROC 0.750 [0.700, 0.800]) is better than powell" in message


def test_best_attack_of_each_access_is_compared():
    rows = [
        row("nearest", "full_black_box", 0.70, 0.75, 0.80),
        row("lbfgs from zero", "white_box", 0.50, 0.55, 0.60),
        row("lbfgs from nearest", "white_box", 0.74, 0.79, 0.84),
    ]
    assert checks.weaker_beats_stronger(rows) == []
    assert len(checks.weaker_beats_stronger(rows[:2])) == 1


@pytest.mark.parametrize(
    "strong",
    [
        row("lbfgs", "white_box", 0.66, 0.71, 0.76),  # intervals overlap
        row("lbfgs", "white_box", 0.50, 0.55, 0.60, calibrated="reference"),
        row("logan", "accessible_discriminator", 0.50, 0.55, 0.60),
        row("lbfgs", "white_box", np.nan, np.nan, np.nan),
    ],
)
def test_only_like_is_compared_with_like(strong):
    rows = [row("nearest", "full_black_box", 0.70, 0.75, 0.80), strong]
    assert checks.weaker_beats_stronger(rows) == []


def test_mode_collapse():
    rng = np.random.default_rng(3)
    real = rng.normal(size=(40, 1, 8, 8))
    collapsed = real[:2][np.arange(60) % 2] + 0.01 * rng.normal(size=(60, 1, 8, 8))
    found = only(checks.mode_collapse(collapsed, real))
    assert found.level == "warning"
    ours, held_out = (
        np.mean([np.linalg.norm(a - b) for i, a in enumerate(x) for b in x[:i]])
        for x in (collapsed, real)
    )
    assert f"on average {ours:.3g} apart, two held-out records {held_out:.3g}" in found.message
    assert f"(ratio {ours / held_out:.2f}," in found.message


def test_diverse_samples_pass():
    real, released = RNG.normal(size=(2, 400, 16))
    assert checks.mode_collapse(released.astype(np.float32), real) == []
    assert checks.mode_collapse(0.75 * released, real) == []  # blurred, not collapsed
    assert checks.mode_collapse(released[:1], real) == []


def test_few_queries():
    found = only(checks.too_few_queries(200, 50))
    assert "200 members and 50 non-members" in found.message
    # Closed form: 1.96 * sqrt(251 / (12 * 200 * 50)) = 0.0896
    assert "0.5 +- 0.09" in found.message
    assert checks.too_few_queries(100, 100) == []


def test_few_queries_interval_by_simulation():
    from sklearn.metrics import roc_auc_score

    labels = np.arange(60) < 30
    areas = [
        roc_auc_score(labels, np.random.default_rng([2, i]).normal(size=60)) for i in range(800)
    ]
    stated = float(checks.too_few_queries(30, 30)[0].message.split("+- ")[1].split()[0])
    assert 1.96 * np.std(areas) == pytest.approx(stated, rel=0.1)
