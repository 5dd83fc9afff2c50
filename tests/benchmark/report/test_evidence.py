"""Errors of means over the same queries, and which attack stands for an access: by simulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import NormalDist

import numpy as np
import pytest
from report_store import auroc_alone, result_of, study_of

from benchmark.measures import metrics
from benchmark.measures.result import JobResult
from benchmark.report.collect import Group, Study
from benchmark.report.evidence import Evidence
from benchmark.report.means import (
    BySeed,
    Number,
    balanced,
    difference_of,
    mean_over,
    victims_in,
    weighted_sum,
)
from benchmark.sweep import compose
from benchmark.sweep.compose import Job

ACCESSES = ("full_black_box", "partial_black_box", "white_box")
N = 100
MEMBER = np.arange(2 * N) < N


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    store = tmp_path_factory.mktemp("store")
    words = ["scale=smoke", "logger=none", "distance=l2", f"machine.store={store}"]
    return compose.list_jobs(["+sweep=taxonomy", *words, "victim=dcgan,wgan_gp,vae", "seed=0"])


def area(strength: float) -> float:
    """AUROC of normal scores that members have higher by so many standard deviations."""
    return NormalDist().cdf(strength / np.sqrt(2))


def attacks(
    rng: np.random.Generator, strengths: Mapping[str, float], shared: float, common: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    """Normal scores of each attack; any two have the correlation `shared`."""
    return {
        (name, "none"): np.sqrt(shared) * common
        + np.sqrt(1 - shared) * rng.normal(size=len(common))
        + strength * MEMBER
        for name, strength in strengths.items()
    }


def studies(
    jobs: list[Job], runs: int, strengths: Mapping[str, float], shared: float
) -> Iterator[Study]:
    """One-seed studies in which all victims' attacks judge the same queries."""
    for run in range(runs):
        rng = np.random.default_rng([11, run])
        common = rng.normal(size=2 * N)

        def result(job: Job, rng: object = rng, common: np.ndarray = common) -> JobResult:
            scores = attacks(rng, strengths, shared, common)  # type: ignore[arg-type]
            return result_of(job, scores, MEMBER, compared=runs == 1, summarise=auroc_alone)

        yield study_of(jobs, result, "taxonomy")


def every_access(study: Study) -> BySeed:
    """All victims' leaks under all accesses."""
    evidence = Evidence(study)
    own = [(access, evidence.leaks(access)[0]) for access in ACCESSES]
    return {
        0: {group.at("access", access): n for access, found in own for group, n in found.items()}
    }


@pytest.mark.slow
def test_a_mean_over_the_same_queries_covers_the_truth(jobs: list[Job]) -> None:
    """Nine AUROCs that share most of their noise; as if independent the interval covers half."""
    strengths = dict(zip(ACCESSES, (0.5, 0.8, 1.1), strict=True))
    truth = np.mean([area(strength) for strength in strengths.values()])
    covered, naive = [], []
    for study in studies(jobs, 60, strengths, 0.8):
        found = every_access(study)
        estimate = mean_over(found, "it")
        halves = np.array([number.half for number in found[0].values()])
        covered.append(estimate.low < truth < estimate.high)
        naive.append(abs(estimate.mean - truth) < np.sqrt((halves**2).sum()) / len(halves))
    assert np.mean(covered) >= 0.88  # 95% of 60; 0.88 or less has probability 1%
    assert np.mean(naive) <= 0.75


def test_errors_add_up_to_delong_s_covariance(jobs: list[Job]) -> None:
    """Of a difference of two AUROCs: equal to the paired test."""
    (study,) = studies(jobs[:1], 1, dict(zip(ACCESSES, (0.4, 0.5, 0.9), strict=True)), 0.6)
    evidence = Evidence(study)
    a, b = (next(iter(evidence.leaks(access)[0].values())) for access in ACCESSES[::2])
    scores = {row: own for row, (own, _) in study.outcomes[0].scores.items()}
    paired = metrics.delong_test(*(scores[name, "none"] for name in ACCESSES[::2]), MEMBER)
    assert difference_of(a, b).value == pytest.approx(paired.difference)
    half = (paired.high - paired.low) / 2
    assert difference_of(a, b).half == pytest.approx(
        half, rel=0.12
    )  # each one's own interval is a logit's
    (gain,) = evidence.gains((ACCESSES[0], "none"), (ACCESSES[2], "none"))[0].values()
    assert gain.half == pytest.approx(half)


def test_auroc_errors_are_delong_s_variance() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=40) + 0.5, rng.normal(size=60)
    ours = np.concatenate(metrics.auroc_errors(x, y))
    above = x[:, None] > y[None]
    variance = above.mean(1).var(ddof=1) / len(x) + above.mean(0).var(ddof=1) / len(y)
    assert (ours**2).sum() == pytest.approx(variance)
    assert not np.concatenate(metrics.auroc_errors([1.0], [0.0])).any()


def test_what_no_query_is_known_to_add_errs_in_one_direction() -> None:
    whole = Number(1.0, rest=0.02)
    assert weighted_sum([whole] * 3, [1 / 3] * 3).half == pytest.approx(0.02)
    assert difference_of(whole, whole).half == pytest.approx(0.04)
    assert np.isnan(weighted_sum([whole, Number(1.0, rest=np.nan)], [0.5, 0.5]).half)


def test_perfect_separation_keeps_its_width(jobs: list[Job]) -> None:
    (study,) = studies(jobs[:1], 1, dict.fromkeys(ACCESSES, 50.0), 0.5)
    numbers = [next(iter(Evidence(study).leaks(access)[0].values())) for access in ACCESSES]
    assert [number.value for number in numbers] == [1.0] * 3
    assert weighted_sum(numbers, [1 / 3] * 3).half == pytest.approx(1 - 0.025 ** (1 / N), abs=1e-9)


def chosen_mean(jobs: list[Job], known: bool, runs: int = 60) -> float:
    """Mean white-box leak where three attacks guess, chosen on reference models or declared."""
    found = []
    for run in range(runs):
        rng = np.random.default_rng([12, run])
        scores = attacks(rng, dict.fromkeys(ACCESSES, 0.0), 0.0, rng.normal(size=2 * N))
        columns = {row: {"auroc_reference": rng.normal(0.5, 0.05)} for row in scores if known}
        study = study_of(
            jobs[:1],
            lambda job, s=scores, c=columns: result_of(
                job, s, MEMBER, c, compared=False, summarise=auroc_alone
            ),
            "taxonomy",
        )
        found.append(next(iter(Evidence(study).leaks("white_box")[0].values())).value)
    return float(np.mean(found))


def test_the_choice_of_an_attack_does_not_raise_its_score(jobs: list[Job]) -> None:
    """The best of three guesses on the queries themselves would have 0.535 on average."""
    for known in (True, False):
        assert abs(chosen_mean(jobs, known) - 0.5) < 3 * 0.041 / np.sqrt(60)


def leak_of(jobs: list[Job], access: str, references: Mapping[str, float]) -> float:
    """The leak under an access of attacks with AUROCs in rising order of their access."""
    strengths = dict(zip((*ACCESSES, "discriminator"), (3.0, 1.0, 0.2, 2.0), strict=True))
    rng = np.random.default_rng(5)
    scores = attacks(rng, strengths, 0.0, np.zeros(2 * N))
    columns = {(name, "none"): {"auroc_reference": at} for name, at in references.items()}
    study = study_of(jobs[:1], lambda job: result_of(job, scores, MEMBER, columns), "taxonomy")
    evidence = Evidence(study)
    value = next(iter(evidence.leaks(access)[0].values())).value
    names = {metrics.auroc(s[MEMBER], s[~MEMBER]): name for (name, _), s in scores.items()}
    return names[value]


def test_the_leak_is_that_of_the_best_attack_that_the_access_allows(jobs: list[Job]) -> None:
    references = {"full_black_box": 0.9, "partial_black_box": 0.7, "white_box": 0.6}
    assert leak_of(jobs, "white_box", references | {"discriminator": 0.99}) == "full_black_box"
    assert leak_of(jobs, "full_black_box", references) == "full_black_box"
    worse = {"full_black_box": 0.5, "partial_black_box": 0.7, "white_box": 0.6}
    assert leak_of(jobs, "white_box", worse) == "partial_black_box"  # not the best on the queries
    assert leak_of(jobs, "accessible_discriminator", references) == "discriminator"


def test_the_text_says_how_the_attack_was_chosen(jobs: list[Job]) -> None:
    rng, row = np.random.default_rng(0), ("white_box", "none")
    scores = attacks(rng, {"white_box": 1.0}, 0.0, np.zeros(2 * N))
    known = {row: {"auroc_reference": 0.7}}

    def result(job: Job) -> JobResult:
        return result_of(job, scores, MEMBER, known if job.choices["victim"] == "vae" else {})

    some, none = study_of(jobs, result, "taxonomy"), study_of(jobs[:1], result, "taxonomy")
    assert "so in 1 of 3 results" in Evidence(some).choice
    assert "the first made for each access" in Evidence(none).choice
    assert "the first made for each access" in Evidence(some, "tpr_at_1").choice


def test_without_reference_models_the_declared_attack_stands_for_its_access(
    jobs: list[Job],
) -> None:
    for access in ACCESSES:
        assert leak_of(jobs, access, {}) == access


@pytest.mark.parametrize(
    ("given", "both", "kept"),
    [
        ({"a": [0], "b": [0, 1]}, ["b"], [0, 1]),
        ({"a": [0, 1, 2], "b": [0, 1, 2, 3, 4, 5]}, ["a", "b"], [0, 1, 2]),
        ({"a": [0], "b": [0, 1, 2], "c": [0, 1, 2, 3]}, ["b", "c"], [0, 1, 2]),
        ({"a": [0, 1, 2], "b": [3, 4, 5]}, [], []),
        ({"a": [0, 1], "b": [0, 1]}, ["a", "b"], [0, 1]),
        ({}, [], []),
    ],
)
def test_a_mean_is_about_victims_with_enough_seeds_at_the_seeds_that_they_share(
    given: dict[str, list[int]], both: list[str], kept: list[int]
) -> None:
    groups = {name: Group(name, "digits") for name in given}
    found = {
        seed: {groups[name]: Number(1.0 * seed) for name, own in given.items() if seed in own}
        for seed in range(6)
    }
    part = balanced(found)
    assert [where.victim for where in victims_in(part)] == both
    assert [*part] == kept
    assert all([*own] == victims_in(part) for own in part.values())
    if both:
        assert mean_over(found, "both").mean == pytest.approx(np.mean(kept))
