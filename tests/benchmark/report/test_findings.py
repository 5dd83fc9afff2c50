"""Claims: the verdict, against stores where the truth is known, and the numbers, against scipy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from report_store import N, known_auroc, known_result, known_scores, result_of, study_of
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmark.measures.estimate import Estimate, over_seeds, seeds_to_tell
from benchmark.measures.result import Check, JobResult
from benchmark.report.claims import CLAIMS, Claim
from benchmark.report.collect import Outcome, studies_of
from benchmark.report.findings import FAILS, HOLDS, OPEN, Finding
from benchmark.report.judge import holm_corrected, judge_claims
from benchmark.sweep import compose
from benchmark.sweep.compose import Job

Fill = Callable[..., list[str]]

GENERATOR = ("full_black_box", "partial_black_box", "white_box")
PAIR = ["victim=dcgan,vae", "calibration=[difference]"]
KINDS = ["victim=dcgan,wgan_gp,pggan,vae,vaegan,vaegan_larsen", "calibration=[difference]"]


def made(order: dict[str, int], calibration: int = 4) -> Callable[[Job], JobResult]:
    """Results in which each attack shifts members by so many ranks, a seed by one rank more."""

    def result(job: Job) -> JobResult:
        victim, seed = job.choices["victim"], int(job.config.seed)
        lacking = {"discriminator": victim == "vae", "encoder": "vae" not in victim}
        encoder = 6 * ("vae" in victim)
        shifts = {}
        for attack, shift in order.items():
            for variant, more in {"none": 0, "difference": calibration}.items():
                has = not lacking.get(attack)
                own = shift + more + encoder + seed if has else None
                shifts[attack, variant] = own
        return known_result(job, shifts)

    return result


def found(line: list[str]) -> dict[str, Finding]:
    return {finding.claim.measure.__name__: finding for finding in judge_claims(studies_of(line))}


def claimed(
    words: list[str], result: Callable[[Job], JobResult], name: str, *overrides: str
) -> dict[str, Finding]:
    """The findings on results that no store holds."""
    study = study_of(compose.list_jobs([f"+sweep={name}", *words, *overrides]), result, name)
    return {finding.claim.measure.__name__: finding for finding in judge_claims([study])}


TRUE = {**dict(zip(GENERATOR, (2, 8, 12), strict=True)), "discriminator": 24, "encoder": 14}


def test_claims_that_are_true_hold(words: list[str]) -> None:
    ours = claimed(words, made(TRUE), "taxonomy", *KINDS, "seed=0,1,2")
    for name in (
        "discriminator_is_worst", "generator_is_next", "reconstruction_is_vulnerable",
        "calibration_helps",
    ):  # fmt: skip
        assert ours[name].verdict == HOLDS, (name, ours[name].reason)
        assert ours[name].p_holm < 0.05
    worst = ours["discriminator_is_worst"]
    assert worst.weakest[0] == "against white_box"
    steps = [
        np.mean(
            [known_auroc(24 + s + more) - known_auroc(12 + s + more) for more in (0, 0, 0, 6, 6)]
        )
        for s in range(3)
    ]  # a VAE has none
    assert worst.scope == "5 victims of 4 families"
    assert ours["reconstruction_is_vulnerable"].scope == "6 victims of 5 families"
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


@pytest.fixture
def two_data_sets(words: list[str]) -> list[Job]:
    """Jobs of the taxonomy on digits and on faces."""
    names = ["victim=dcgan,wgan_gp,pggan,vae,vaegan,vaegan_larsen", "data=mnist5k,lfw"]
    return compose.list_jobs(["+sweep=taxonomy", *words, *names, "seed=0,1,2"])


def on_two(jobs: list[Job], result: Callable[[Job], JobResult]) -> dict[str, Finding]:
    judged = judge_claims([study_of(jobs, result, "taxonomy")])
    return {finding.claim.measure.__name__: finding for finding in judged}


def test_a_claim_holds_where_it_does_on_every_data_set(two_data_sets: list[Job]) -> None:
    """A mean over both would hide that it is false on one."""

    def result(job: Job) -> JobResult:
        on_faces = job.choices["data"] == "lfw"
        return made(TRUE | ({"discriminator": 1} if on_faces else {}))(job)

    both = on_two(two_data_sets, made(TRUE))["discriminator_is_worst"]
    one = on_two(two_data_sets, result)["discriminator_is_worst"]
    assert both.verdict == HOLDS
    assert both.scope == "5 victims of 4 families on mnist5k and lfw"
    assert list(both.parts)[-1] == "against white_box, lfw"
    assert one.verdict == FAILS
    assert one.least[0].endswith(", lfw")


def test_a_data_set_that_lacks_what_a_claim_needs_is_named(two_data_sets: list[Job]) -> None:
    def has(job: Job) -> bool:
        few = job.choices["victim"] in ("dcgan", "vae", "vaegan") and job.config.seed < 2
        return job.choices["data"] == "mnist5k" or few

    ours = on_two([job for job in two_data_sets if has(job)], made(TRUE))
    worst, kinds = ours["discriminator_is_worst"], ours["reconstruction_is_vulnerable"]
    assert worst.verdict == HOLDS
    assert list(worst.parts)[-1] == "against white_box"
    assert worst.scope == "5 victims of 4 families on mnist5k"
    assert worst.reason.endswith("not tested on lfw: 2 seeds, at least 3 are needed")
    assert kinds.verdict == HOLDS
    assert "not tested on lfw: 2 victims of 2 families with an encoder" in kinds.reason


def test_what_is_said_of_a_data_set_is_not_said_of_another(two_data_sets: list[Job]) -> None:
    """Digits have every victim and seed. Faces have the two VAE-GANs and a void result of a GAN."""

    def has(job: Job) -> bool:
        return job.choices["data"] == "mnist5k" or job.choices["victim"] in ("dcgan", *vae_gans)

    def broken(job: Job) -> JobResult:
        at = job.choices["data"], job.choices["victim"], job.config.seed
        checks = [Check("mode collapse", "warning", "...")] if at == ("lfw", "dcgan", 0) else []
        return dataclasses.replace(made(TRUE)(job), checks=checks)

    vae_gans = ("vaegan", "vaegan_larsen")
    ours = on_two([job for job in two_data_sets if has(job)], broken)
    worst, kinds = ours["discriminator_is_worst"], ours["reconstruction_is_vulnerable"]
    assert worst.scope == "5 victims of 4 families on mnist5k, 2 victims of 1 family on lfw"
    assert "without dcgan on lfw: run with fewer seeds" in worst.reason
    assert worst.reason.endswith("1 of 27 results left out (mode collapse: 1 (dcgan on lfw))")
    assert kinds.scope == "6 victims of 5 families on mnist5k"


def test_attacks_are_counted_on_the_data_sets_that_were_tested(two_data_sets: list[Job]) -> None:
    def result(job: Job) -> JobResult:
        found = made(TRUE)(job)
        chosen = found.rows.assign(auroc_reference=found.rows["auroc"])
        on_faces = job.choices["data"] == "lfw"
        return found if on_faces else dataclasses.replace(found, rows=chosen)

    few = [job for job in two_data_sets if job.choices["data"] == "mnist5k" or not job.config.seed]
    worst = on_two(few, result)["discriminator_is_worst"]
    assert worst.scope.endswith(" on mnist5k")
    assert "so in 18 of 18 results" in worst.choice


def test_a_data_set_of_which_nothing_is_done_is_named(two_data_sets: list[Job]) -> None:
    done = [job for job in two_data_sets if job.choices["data"] == "mnist5k"]
    study = study_of(done, made(TRUE), "taxonomy")
    others = tuple(Outcome(job, "not started") for job in two_data_sets if job not in done)
    study = dataclasses.replace(study, outcomes=study.outcomes + others)
    for finding in judge_claims([study]):
        if finding.claim.study == "taxonomy" and finding.verdict != OPEN:
            assert finding.reason.endswith("not tested on lfw: no result")


def test_two_seeds_are_not_enough(words: list[str]) -> None:
    ours = claimed(words, made(TRUE), "taxonomy", *PAIR, "seed=0,1")
    finding = ours["discriminator_is_worst"]
    assert finding.verdict == OPEN
    assert "2 seeds, at least 3" in finding.reason
    assert np.isnan(finding.p_holm)


def test_what_was_not_run_is_not_decided(fill: Fill, words: list[str]) -> None:
    ours = found(["+sweep=taxonomy", *words])
    assert {finding.verdict for finding in ours.values()} == {OPEN}
    assert ours["small_sets_leak"].reason == "no job of the study train_size is done"
    assert "+sweep=train_size" in ours["small_sets_leak"].command


def test_size(words: list[str]) -> None:
    def result(job: Job) -> JobResult:
        shift = {16: 20, 24: 10}[job.config.split.members] + int(job.config.seed)
        return known_result(job, {("discriminator", "none"): shift})

    ours = claimed(words, result, "train_size", "victim=dcgan,pggan,vaegan", "seed=0,1,2")
    leak = ours["small_sets_leak"].parts["all accesses"]
    halvings = np.log2(24 / 16)
    steps = [(known_auroc(20 + s) - known_auroc(10 + s)) / halvings for s in range(3)]
    assert leak.mean == pytest.approx(np.mean(steps))
    assert ours["small_sets_leak"].verdict == HOLDS
    overfit = ours["small_sets_overfit"].parts["discriminator"]
    assert overfit.mean == pytest.approx(np.mean([known_auroc(10 + s) - 0.5 for s in range(3)]))


def test_one_size_decides_whether_gans_overfit_there(words: list[str]) -> None:
    """A data set that was run at one size had no verdict."""
    line = ["victim=dcgan,pggan,vaegan", "split.members=24", "seed=0,1,2"]
    ours = claimed(words, made({"discriminator": 20}), "train_size", *line)
    assert ours["small_sets_overfit"].verdict == HOLDS
    assert ours["small_sets_leak"].reason == "no victim has two sizes for every seed"


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


def test_a_single_victim_without_counterpart_is_said(words: list[str]) -> None:
    ours = claimed(words, made(TRUE), "taxonomy", "victim=dcgan", "calibration=none", "seed=0,1,2")
    finding = ours["reconstruction_is_vulnerable"]
    assert finding.verdict == OPEN
    assert "0 victims of 0 families with an encoder" in finding.reason


@pytest.mark.parametrize(
    ("victims", "lacking"),
    [
        ("dcgan,wgan_gp,pggan,vae,vaegan", "2 victims of 2 families with an encoder"),
        ("dcgan,wgan_gp,vae,vaegan,vaegan_larsen", "2 victims of 2 families without one"),
        ("dcgan,vae", "1 victim of 1 family with an encoder"),
    ],
)
def test_a_kind_of_victims_needs_three_on_each_side(
    words: list[str], victims: str, lacking: str
) -> None:
    ours = claimed(words, made(TRUE), "taxonomy", f"victim={victims}", PAIR[1], "seed=0")
    finding = ours["reconstruction_is_vulnerable"]
    assert finding.verdict == OPEN
    assert finding.reason.startswith(lacking)
    assert finding.beside is not None
    assert finding.beside.verdict == OPEN


def test_most_of_two_gans_are_not_most_gans(words: list[str]) -> None:
    order = {"discriminator": 20}
    two = claimed(words, made(order), "train_size", "victim=dcgan,pggan", "seed=0,1,2")
    assert two["small_sets_overfit"].verdict == OPEN
    assert two["small_sets_overfit"].reason.startswith("2 victims of 2 families")
    assert two["small_sets_leak"].scope == "2 victims of 2 families"


def test_three_victims_of_one_family_are_no_kind(words: list[str]) -> None:
    of_one = ["victim=wgan_gp,wgan_gp_dcgan,dp_gan", "seed=0"]
    ours = claimed(words, made({"discriminator": 20}), "train_size", *of_one)
    assert ours["small_sets_overfit"].reason.startswith("3 victims of 1 family")


def test_results_whose_checks_void_them_do_not_count(words: list[str]) -> None:
    def broken(job: Job) -> JobResult:
        voids = {"dcgan": ("mode collapse", "warning"), "pggan": ("overlap", "error")}
        name, level = voids.get(job.choices["victim"], ("few queries", "warning"))
        checks = [Check(name, level, "...")] if job.config.seed == 0 else []
        return dataclasses.replace(made(TRUE)(job), checks=checks)

    ours = claimed(words, broken, "taxonomy", *KINDS, "seed=0,1,2")
    worst = ours["discriminator_is_worst"]
    assert worst.scope == "3 victims of 2 families"  # wgan_gp, vaegan, vaegan_larsen
    assert "2 of 18 results left out (mode collapse: 1 (dcgan), overlap: 1 (pggan))" in worst.reason
    assert ours["reconstruction_is_vulnerable"].verdict == OPEN


def claim(*parts: Estimate, margin: float = 0.01) -> Finding:
    """A claim whose parts have been measured."""
    own = Claim("c", "t", "AUROC", "taxonomy", margin, lambda evidence: {})
    return Finding(own, {f"part {i}": part for i, part in enumerate(parts)})


def seeds(rng: np.random.Generator, mean: float) -> Estimate:
    return over_seeds(rng.normal(mean, 0.01, 3).tolist())


@pytest.mark.slow
def test_true_claims_are_seldom_rejected_however_many_there_are() -> None:
    """Ten claims of two parts, each with just the effect that is worth it."""
    rng, runs = np.random.default_rng(0), 200
    wrong = sum(
        any(
            f.verdict == FAILS
            for f in holm_corrected(claim(seeds(rng, 0.01), seeds(rng, 0.01)) for _ in range(10))
        )
        for _ in range(runs)
    )
    assert wrong / runs <= 0.1  # nominal 5%, three standard errors are 4.6%; uncorrected it is 40%


def test_false_claims_are_rejected_though_there_are_many() -> None:
    rng = np.random.default_rng(0)
    found = holm_corrected(claim(seeds(rng, -0.5), seeds(rng, 0.5)) for _ in range(10))
    assert {finding.verdict for finding in found} == {FAILS}


def test_the_reason_names_the_part_that_is_excluded() -> None:
    excluded, unknown = Estimate(-0.2, -0.21, -0.19, 1.0, 30), Estimate(-1.0, -9.0, 7.0, 1.0, 30)
    (found,) = holm_corrected([claim(unknown, excluded)])
    assert found.verdict == FAILS
    assert found.reason == "0.01 AUROC or more is excluded (part 1)"


def test_an_open_claim_says_how_many_seeds_would_decide_it() -> None:
    near, nothing = over_seeds([0.0, 0.1, 0.2]), over_seeds([-0.3, 0.0, 0.3])
    (found,) = holm_corrected([claim(near)])
    assert found.verdict == OPEN
    assert found.seeds_needed == 8
    assert "about 8 seeds would decide it" in found.reason
    assert "more than 999 seeds" in holm_corrected([claim(nothing)])[0].reason
    assert "more families" in holm_corrected([claim(near._replace(error=np.nan))])[0].reason
    among_many = holm_corrected([claim(near)] * 10)[0]
    assert among_many.seeds_needed is not None
    assert among_many.seeds_needed > 8
    away = holm_corrected([claim(over_seeds([-0.2, -0.1, 0.0]))])[0]
    assert away.seeds_needed == seeds_to_tell(0.11, away.least[1], 0.05)
    nearly = holm_corrected([claim(over_seeds([-0.056, -0.036, -0.016]))])[0]
    assert nearly.verdict == OPEN
    assert "about 4 seeds would decide it" in nearly.reason  # three did not


def test_more_seeds_can_decide_against_a_claim_whose_other_part_they_would_not() -> None:
    """Families differ on one data set; on another the effect is nearly excluded."""
    families = over_seeds([0.0, 0.1, 0.2])._replace(error=np.nan)
    nearly = over_seeds([-0.056, -0.036, -0.016])
    (found,) = holm_corrected([claim(families, nearly)])
    assert found.verdict == OPEN
    assert f"about {found.seeds_needed} seeds would decide it" in found.reason


def test_one_attack_for_both_accesses_decides_nothing(words: list[str]) -> None:
    """On reference models the black box does best: its gain over itself is 0, without an error."""
    best = {(name, "none"): {"auroc_reference": at} for name, at in REFERENCES.items()}

    def result(job: Job) -> JobResult:
        scores = {(name, "none"): known_scores(TRUE[name] + job.config.seed) for name in REFERENCES}
        return result_of(job, scores, np.arange(2 * N) < N, best)

    ours = claimed(words, result, "taxonomy", *KINDS, "seed=0,1,2")["generator_is_next"]
    assert {(part.mean, part.half) for part in ours.parts.values()} == {(0.0, 0.0)}
    assert (ours.verdict, ours.together) == (OPEN, 1)
    assert ours.reason == (
        "all seeds gave the same number (partial_black_box, white_box), so that no error of it is "
        "known"
    )


REFERENCES = dict(zip(GENERATOR, (0.9, 0.7, 0.6), strict=True))


def test_the_reason_says_no_more_than_the_test() -> None:
    """One-sided at 5% is less than a 95% interval above 0."""
    (found,) = holm_corrected([claim(Estimate(0.1, -0.01, 0.21, 0.04, 30))])
    assert found.verdict == HOLDS
    assert found.reason == "above 0 at 5%, one-sided and corrected for the number of claims"


def test_every_claim_says_what_it_tests() -> None:
    assert len({claim.says for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.test and claim.unit and claim.margin > 0 for claim in CLAIMS)
