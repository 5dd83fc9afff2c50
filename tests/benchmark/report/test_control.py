"""Privacy defends, or does not, against a control that generates as badly: stores with a truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_store import result_of, study_of

from benchmark.measures.result import JobResult
from benchmark.report import privacy
from benchmark.report.claims import CLAIMS
from benchmark.report.evidence import Evidence
from benchmark.report.findings import FAILS, HOLDS, OPEN, Finding
from benchmark.report.judge import judge_claims
from benchmark.report.means import Lacking
from benchmark.sweep import compose
from benchmark.sweep.compose import Job

N = 100
MEMBER = np.arange(2 * N) < N
GOOD = (10.0, 0.7, 0.6)
"""Frechet distance, precision and recall."""
TABLE, GOOD_TABLE, UNTRAINED, REAL = (
    ("marginal error", "correlation error"),
    (0.03, 0.03),
    0.5,
    0.02,
)


def jobs_of(victim: str, store: Path) -> list[Job]:
    words = ["scale=smoke", "logger=none", "distance=l2", f"machine.store={store}"]
    return compose.list_jobs(["+sweep=privacy", f"victim={victim}", *words, "seed=0,1,2"])


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    return jobs_of("dcgan", tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    return jobs_of("vae_table", tmp_path_factory.mktemp("store"))


def kind(job: Job) -> str:
    """Private, stopped early, or neither."""
    if job.config.dp:
        return "private" if job.config.dp.epsilon == 10 else "other"
    return "early" if job.config.victim.steps < 4 else "plain"


def made(
    jobs: list[Job],
    leaks: dict[str, float],
    quality: dict[str, tuple[float, ...]],
    seed: int = 0,
) -> list[Finding]:
    """The findings where models of each kind leak so much and generate so well."""

    def result(job: Job) -> JobResult:
        own = kind(job)
        rng = np.random.default_rng([seed, jobs.index(job)])
        strength = leaks.get(own, 0.0)
        scores = {
            (name, "none"): rng.normal(size=2 * N) + strength * MEMBER
            for name in ("full_black_box", "discriminator")
        }
        table = "table" in job.choices["victim"]
        names = TABLE if table else ("Frechet distance", "precision", "recall")
        values = quality.get(own, GOOD_TABLE if table else GOOD)
        numbers = dict(zip(names, values, strict=True))
        for what, error in (("untrained", UNTRAINED), ("real", REAL)):
            numbers |= {f"{name}, {what}": error for name in names}
        return result_of(job, scores, MEMBER, compared=False, **numbers)

    return judge_claims([study_of(jobs, result, "privacy")])


def defends(*given: object, **more: object) -> Finding:
    found = made(*given, **more)  # type: ignore[arg-type]
    return next(one for one in found if one.claim.measure is privacy.defends)


WORSE = {"private": (40.0, 0.5, 0.4), "early": (45.0, 0.4, 0.3)}


def test_the_study_has_controls(jobs: list[Job]) -> None:
    assert {kind(job) for job in jobs} == {"private", "other", "early", "plain"}


def test_privacy_that_leaks_less_than_its_control_defends(jobs: list[Job]) -> None:
    found = defends(jobs, {"plain": 2.0, "early": 1.5, "private": 0.0}, WORSE)
    assert found.verdict == HOLDS, found.reason
    assert found.scope == "1 victim (dcgan)"


@pytest.mark.slow
def test_a_control_that_leaks_no_more_takes_the_defence_away(jobs: list[Job]) -> None:
    """The plain victim leaks plainly; the one stopped early does as well as the private one."""
    verdicts = [
        defends(jobs, {"plain": 2.0, "early": 0.0, "private": 0.0}, WORSE, seed=seed).verdict
        for seed in range(10)
    ]
    assert verdicts.count(HOLDS) <= 2  # more than 2 of 10 has probability 1% at a level of 5%


def test_privacy_lowers_what_a_model_of_equal_settings_leaks_whatever_a_control_does(
    jobs: list[Job],
) -> None:
    found = made(jobs, {"plain": 2.0, "early": 0.0, "private": 0.0}, WORSE)
    lowers = next(one for one in found if one.claim.measure is privacy.lowers)
    assert lowers.verdict == HOLDS, lowers.reason
    nothing = made(jobs, {"plain": 2.0}, {"private": (201.0, 0.0, 0.0)})
    lowers = next(one for one in nothing if one.claim.measure is privacy.lowers)
    assert lowers.verdict == OPEN
    assert "what generates nothing has nothing to leak" in lowers.reason


def test_privacy_that_leaks_more_than_its_control_does_not_defend(jobs: list[Job]) -> None:
    assert defends(jobs, {"private": 2.0}, WORSE).verdict == FAILS


@pytest.mark.parametrize("private", [(201.0, 0.000167, 0.0), (115.0, 1.0, 0.0), (60.0, 0.05, 0.9)])
def test_what_generates_nothing_has_nothing_to_leak(
    jobs: list[Job], private: tuple[float, float, float]
) -> None:
    quality = {"private": private, "early": (private[0], 0.0, 0.0)}
    found = defends(jobs, {"plain": 2.0, "early": 2.0}, quality)
    assert found.verdict == OPEN
    assert "at least 0.1 of both are needed" in found.reason


@pytest.mark.parametrize(
    "early", [(30.0, 0.4, 0.3), (45.0, 0.6, 0.3), (45.0, 0.4, 0.5), (90.0, 0.1, 0.1)]
)
def test_a_control_is_no_better_and_not_far_worse(
    jobs: list[Job], early: tuple[float, float, float]
) -> None:
    found = defends(jobs, {"early": 2.0}, {"private": WORSE["private"], "early": early})
    assert found.verdict == OPEN
    assert "no control without privacy generates as badly" in found.reason


@pytest.mark.parametrize("early", [(45.0, 0.01, 0.3), (45.0, 0.4, 0.0)])
def test_a_control_that_generates_nothing_takes_no_defence_away(
    jobs: list[Job], early: tuple[float, float, float]
) -> None:
    quality = {"private": WORSE["private"], "early": early}
    assert defends(jobs, {"private": 0.8}, quality).verdict == OPEN


def test_a_control_needs_the_seeds_of_the_private_model(jobs: list[Job]) -> None:
    some = [job for job in jobs if kind(job) != "early" or job.config.seed < 2]
    found = defends(some, {"early": 1.5}, WORSE)
    assert found.verdict == OPEN
    assert "generates as badly (Frechet distance 40 to 60) with seeds 0, 1, 2" in found.reason


WORSE_TABLE = {"private": (0.06, 0.05), "early": (0.08, 0.05)}


def test_a_private_table_that_leaks_less_than_its_control_defends(tables: list[Job]) -> None:
    assert {kind(job) for job in tables} == {"private", "early", "plain"}
    found = defends(tables, {"plain": 2.0, "early": 1.5, "private": 0.0}, WORSE_TABLE)
    assert found.verdict == HOLDS, found.reason
    assert found.scope == "1 victim (vae_table)"


@pytest.mark.parametrize("private", [(0.46, 0.1), (0.1, 0.46), (0.06, 0.6)])
def test_a_private_table_that_learnt_next_to_nothing_has_nothing_to_leak(
    tables: list[Job], private: tuple[float, float]
) -> None:
    """A tenth of the way from .5 to .02 ends at .452."""
    found = defends(tables, {"plain": 2.0, "early": 2.0}, {"private": private, "early": private})
    assert found.verdict == OPEN
    assert "at least 0.1 of both are needed" in found.reason


@pytest.mark.parametrize("early", [(0.05, 0.06), (0.08, 0.04), (0.1, 0.06), (0.08, 0.46)])
def test_a_table_s_control_is_no_better_and_not_far_worse(
    tables: list[Job], early: tuple[float, float]
) -> None:
    quality = {"private": WORSE_TABLE["private"], "early": early}
    found = defends(tables, {"private": 0.8}, quality)
    assert found.verdict == OPEN
    assert "generates as badly (marginal error 0.06 to 0.09)" in found.reason


def test_a_table_s_cost_is_that_of_its_marginal_error(tables: list[Job]) -> None:
    found = made(tables, {}, WORSE_TABLE)
    cost = next(one for one in found if one.claim.measure is privacy.costs_quality)
    assert cost.parts["generation error"].mean == pytest.approx(np.log(0.06 / 0.03))


def test_an_error_of_zero_has_no_logarithm(tables: list[Job]) -> None:
    found = made(tables, {}, {"plain": (0.0, 0.0)})
    cost = next(one for one in found if one.claim.measure is privacy.costs_quality)
    assert cost.lacking == "no victim has both for every seed"


@pytest.mark.parametrize("lacks", ["correlation error", "marginal error, untrained"])
def test_a_measure_of_one_s_own_may_give_fewer_numbers(tables: list[Job], lacks: str) -> None:
    scores = {("full_black_box", "none"): MEMBER * 1.0}
    errors = {f"{name}{end}": 0.1 for name in TABLE for end in ("", ", untrained", ", real")}
    numbers = {name: value for name, value in errors.items() if name != lacks}
    study = study_of(tables, lambda job: result_of(job, scores, MEMBER, **numbers), "privacy")
    with pytest.raises(Lacking, match="was not measured"):
        privacy.defends(Evidence(study))


def test_a_data_set_that_lacks_a_seed_is_named(jobs: list[Job], tables: list[Job]) -> None:
    """Its numbers may say the opposite."""
    fewer = [job for job in jobs if job.config.seed < 2]
    found = made([*fewer, *tables], {}, {})
    cost = next(one for one in found if one.claim.measure is privacy.costs_quality)
    assert cost.scope == "1 victim (vae_table) on randhie binary"
    assert "not tested on mnist5k: 2 seeds, at least 3 are needed" in cost.reason


def test_costs_are_told_from_the_same_settings_without_privacy(jobs: list[Job]) -> None:
    found = made(jobs, {}, WORSE)
    cost = next(one for one in found if one.claim.measure is privacy.costs_quality)
    assert cost.parts["generation error"].mean == pytest.approx(np.log(40 / 10))
    assert cost.beside is None


def test_a_private_model_that_no_attack_could_score_crashes_no_report(jobs: list[Job]) -> None:
    def result(job: Job) -> JobResult:
        found = result_of(job, {("full_black_box", "none"): MEMBER * 1.0}, MEMBER)
        if kind(job) == "private":
            found.rows["status"] = "no access"
        return found

    with pytest.raises(Lacking, match="was not measured"):
        privacy.defends(Evidence(study_of(jobs, result, "privacy")))


def test_without_privacy_nothing_is_compared(jobs: list[Job]) -> None:
    plain = [job for job in jobs if kind(job) == "plain"]
    study = study_of(plain, lambda job: result_of(job, {("white_box", "none"): MEMBER * 1.0}, MEMBER), "privacy")  # fmt: skip
    with pytest.raises(Lacking, match="without privacy and with epsilon up to 10"):
        privacy.defends(Evidence(study))
    assert any(claim.measure is privacy.defends for claim in CLAIMS)
