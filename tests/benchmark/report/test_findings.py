"""Claims: the verdict, against stores where the truth is known, and the numbers, against scipy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from report_store import known_auroc, known_result
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmark.report.collect import collect
from benchmark.report.estimate import Estimate, over_seeds
from benchmark.report.findings import (
    CLAIMS,
    FAILS,
    HOLDS,
    OPEN,
    Claim,
    Finding,
    corrected,
    findings,
)
from benchmark.result import JobResult
from benchmark.sweep import Job

Fill = Callable[..., list[str]]

GENERATOR = ("full_black_box", "partial_black_box", "white_box")
PAIR = ["victim=dcgan,vae", "calibration=[difference]"]


def made(order: dict[str, int], calibration: int = 4) -> Callable[[Job], JobResult]:
    """Results in which each attack shifts members by so many ranks, a seed by one rank more."""

    def result(job: Job) -> JobResult:
        victim, seed = job.choices["victim"], int(job.config.seed)
        lacking = {"vae": {"discriminator"}, "dcgan": {"encoder"}}
        encoder = 6 * (victim == "vae")
        shifts = {}
        for attack, shift in order.items():
            for variant, more in {"none": 0, "difference": calibration}.items():
                has = attack not in lacking.get(victim, ())
                own = shift + more + encoder + seed if has else None
                shifts[attack, variant] = own
        return known_result(job, shifts)

    return result


def found(line: list[str]) -> dict[str, Finding]:
    return {finding.claim.measure.__name__: finding for finding in findings(collect(line))}


TRUE = {**dict(zip(GENERATOR, (2, 8, 12), strict=True)), "discriminator": 24, "encoder": 14}


def test_claims_that_are_true_hold(fill: Fill) -> None:
    ours = found(fill(made(TRUE), "taxonomy", *PAIR, "seed=0,1,2"))
    for name in (
        "discriminator_is_worst", "generator_is_next", "reconstruction_is_vulnerable",
        "calibration_helps",
    ):  # fmt: skip
        assert ours[name].verdict == HOLDS, (name, ours[name].reason)
        assert ours[name].p_holm < 0.05
    worst = ours["discriminator_is_worst"]
    assert worst.weakest[0] == "against white_box"
    steps = [known_auroc(24 + s) - known_auroc(12 + s) for s in range(3)]  # a VAE has none
    assert worst.weakest[1].mean == pytest.approx(np.mean(steps))
    assert worst.weakest[1].p_value >= stats.ttest_1samp(steps, 0, alternative="greater").pvalue
    tested = [finding for finding in ours.values() if finding.is_tested]
    corrected = multipletests([one.weakest[1].p_value for one in tested], method="holm")[1]
    assert [finding.p_holm for finding in tested] == pytest.approx(corrected)
    assert len(tested) == 4


def test_claims_that_are_false_do_not_hold(fill: Fill) -> None:
    order = {**dict(zip(GENERATOR, (20, 14, 8), strict=True)), "discriminator": 1, "encoder": 3}
    ours = found(fill(made(order, calibration=-6), "taxonomy", *PAIR, "seed=0,1,2"))
    for name in ("discriminator_is_worst", "generator_is_next", "calibration_helps"):
        assert ours[name].verdict == FAILS, (name, ours[name].reason)


def test_two_seeds_are_not_enough(fill: Fill) -> None:
    ours = found(fill(made(TRUE), "taxonomy", *PAIR, "seed=0,1"))
    finding = ours["discriminator_is_worst"]
    assert finding.verdict == OPEN
    assert "2 seeds, at least 3" in finding.reason
    assert np.isnan(finding.p_holm)


def test_what_was_not_run_is_not_decided(fill: Fill, words: list[str]) -> None:
    ours = found(["+sweep=taxonomy", *words])
    assert {finding.verdict for finding in ours.values()} == {OPEN}
    assert ours["small_sets_leak"].reason == "no job of the study train_size is done"
    assert "+sweep=train_size" in ours["small_sets_leak"].command


def test_size(fill: Fill) -> None:
    def result(job: Job) -> JobResult:
        shift = {16: 20, 24: 10}[job.config.split.members] + int(job.config.seed)
        return known_result(job, {("discriminator", "none"): shift})

    ours = found(fill(result, "train_size", "victim=dcgan,pggan", "seed=0,1,2"))
    leak = ours["small_sets_leak"].parts["all accesses"]
    halvings = np.log2(24 / 16)
    steps = [(known_auroc(20 + s) - known_auroc(10 + s)) / halvings for s in range(3)]
    assert leak.mean == pytest.approx(np.mean(steps))
    assert ours["small_sets_leak"].verdict == HOLDS
    overfit = ours["small_sets_overfit"].parts["discriminator"]
    assert overfit.mean == pytest.approx(np.mean([known_auroc(10 + s) - 0.5 for s in range(3)]))


def test_a_victim_s_quality_and_leak_are_means_over_the_seeds_it_has(fill: Fill) -> None:
    """Equal to scipy's correlation where only half of the victims have a second seed."""
    victims = ("dcgan", "wgan_gp", "pggan", "vae", "vaegan")
    shifts, distances = (
        dict(zip(victims, (2, 9, 5, 20, 14), strict=True)),
        (3.0, 1.0, 4.0, 2.0, 6.0),
    )

    def result(job: Job) -> JobResult | None:
        at, seed = victims.index(job.choices["victim"]), int(job.config.seed)
        if at > 2 and seed:
            return None
        distance = distances[at] + 2.5 * seed * (at == 1)
        numbers = {f"Frechet distance{what}": distance for what in ("", ", untrained", ", real")}
        return known_result(job, {("white_box", "none"): shifts[victims[at]]}, **numbers)

    line = fill(result, "taxonomy", f"victim={','.join(victims)}", "seed=0,1")
    rho = found(line)["quality_is_vulnerable"].parts["white_box"]
    means = np.add(distances, (0, 1.25, 0, 0, 0))
    assert rho.mean == pytest.approx(stats.spearmanr(-means, list(shifts.values())).statistic)
    assert rho.seeds == len(victims)


def test_a_single_victim_without_counterpart_is_said(fill: Fill) -> None:
    ours = found(fill(made(TRUE), "taxonomy", "victim=dcgan", "calibration=none", "seed=0,1,2"))
    finding = ours["reconstruction_is_vulnerable"]
    assert finding.verdict == OPEN
    assert "with an encoder and without" in finding.reason


def claim(*parts: Estimate, margin: float = 0.01) -> Finding:
    """A claim whose parts have been measured."""
    own = Claim("c", "t", "AUROC", "taxonomy", margin, lambda study: {})
    return Finding(own, {f"part {i}": part for i, part in enumerate(parts)})


def seeds(rng: np.random.Generator, mean: float) -> Estimate:
    return over_seeds(rng.normal(mean, 0.01, 3).tolist())


def test_true_claims_are_seldom_rejected_however_many_there_are() -> None:
    """Ten claims of two parts, each with just the effect that is worth it."""
    rng, runs = np.random.default_rng(0), 200
    wrong = sum(
        any(
            f.verdict == FAILS
            for f in corrected(claim(seeds(rng, 0.01), seeds(rng, 0.01)) for _ in range(10))
        )
        for _ in range(runs)
    )
    assert wrong / runs <= 0.1  # nominal 5%, three standard errors are 4.6%; uncorrected it is 40%


def test_false_claims_are_rejected_though_there_are_many() -> None:
    rng = np.random.default_rng(0)
    found = corrected(claim(seeds(rng, -0.5), seeds(rng, 0.5)) for _ in range(10))
    assert {finding.verdict for finding in found} == {FAILS}


def test_the_reason_names_the_part_that_is_excluded() -> None:
    excluded, unknown = Estimate(-0.2, -0.21, -0.19, 1.0, 30), Estimate(-1.0, -9.0, 7.0, 1.0, 30)
    (found,) = corrected([claim(unknown, excluded)])
    assert found.verdict == FAILS
    assert found.reason == "0.01 AUROC or more is excluded (part 1)"


def test_the_reason_says_no_more_than_the_test() -> None:
    """One-sided at 5% is less than a 95% interval above 0."""
    (found,) = corrected([claim(Estimate(0.1, -0.01, 0.21, 0.04, 30))])
    assert found.verdict == HOLDS
    assert found.reason == "above 0 at 5%, one-sided and corrected for the number of claims"


def test_every_claim_says_what_it_tests() -> None:
    assert len({claim.says for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.test and claim.unit and claim.margin > 0 for claim in CLAIMS)
