"""Claims of the paper and of this benchmark: what each says, and what is measured of it.

Source of the paper's: Chen, Yu, Zhang, Fritz 2020, arXiv 1909.03935. Those of this benchmark are
about privacy without a control, and about diffusion models, which the paper does not have. The
latter were written down before they were run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmark.measures.checks import COLLAPSE, MIN_SHARE, SPLIT_LEAKS
from benchmark.measures.estimate import Estimate
from benchmark.report import measures, privacy
from benchmark.report.control import MAX_WORSE
from benchmark.report.evidence import Evidence
from benchmark.report.means import ENOUGH

PAPER, OURS = "the paper", "this benchmark"


@dataclass(frozen=True)
class Claim:
    """A statement and the test of it.

    says: in our words. test: what is measured; the claim is that it is above 0. unit: of the
    estimate, where it is not the score's. study: the sweep that it is measured on. margin: the
    smallest effect worth the claim. of, repetitions: what is counted as a repetition, and how many
    are needed. voids: checks that void a result, beside errors. is_leak: whether it is about
    attacks, and so tested in two scores; {score} in `test` stands for either.
    at_each_size: whether its parts are sizes of the training set. source: whose it is.
    """

    says: str
    test: str
    unit: str
    study: str
    margin: float
    measure: Callable[[Evidence], dict[str, Estimate]]
    of: str = "seeds"
    repetitions: int = ENOUGH
    voids: tuple[str, ...] = (COLLAPSE, SPLIT_LEAKS)
    is_leak: bool = True
    at_each_size: bool = False
    source: str = PAPER


CLAIMS = (
    Claim(
        "The discriminator is the most dangerous thing to give away.",
        "{score} of the discriminator attack minus that of each attack on the generator, same "
        "queries, mean over the victims that have a discriminator",
        "{score}",
        "taxonomy",
        0.01,
        measures.discriminator_is_worst,
    ),
    Claim(
        "After it come the generator and control over its latent code.",
        "{score} under white-box access, and under partial black-box access, minus that of the "
        "full black box, same queries, mean over victims",
        "{score}",
        "taxonomy",
        0.01,
        measures.generator_is_next,
    ),
    Claim(
        "Models whose objective contains data reconstruction are the most vulnerable.",
        "{score} under white-box access: victims with an encoder minus those without, mean over "
        "the families of each; at least three victims of two families on each side; with the error "
        "of how much families differ",
        "{score}",
        "taxonomy",
        0.01,
        measures.reconstruction_is_vulnerable,
    ),
    Claim(
        "Vulnerability follows the quality of generation.",
        "Spearman's correlation over families of the {score} under white-box access with minus the "
        "Fréchet distance; a family's numbers are means over its victims, a victim's over the "
        "seeds it has; exact permutation test",
        "rank correlation",
        "taxonomy",
        0.2,
        measures.quality_is_vulnerable,
        "families",
        5,
    ),
    Claim(
        "Smaller training sets leak more.",
        "{score} gained per halving of the training set (least squares over all sizes), mean over "
        "victims and accesses",
        "{score} per halving",
        "train_size",
        0.005,
        measures.small_sets_leak,
    ),
    Claim(
        "Under 10 000 training records most GANs can overfit to single records.",
        "{score} of the discriminator attack above that of guessing, median over the victims that "
        "have one (at least three, of two families), at the largest size under 10 000 that was run",
        "{score}",
        "train_size",
        0.01,
        measures.small_sets_overfit,
    ),
    Claim(
        "Calibration improves the attack in every setting.",
        "{score} calibrated by a reference model minus {score} without, for each access, same "
        "queries, mean over victims",
        "{score}",
        "taxonomy",
        0.01,
        measures.calibration_helps,
    ),
    Claim(
        "Differential privacy defends against practical attacks, at equal sample quality.",
        "{score} of a control without private training minus {score} with it, at the largest "
        "epsilon up to 10 that was run, mean over victims and accesses. The control is the same "
        f"victim stopped early: its Fréchet distance is no smaller, at most {MAX_WORSE} times as "
        "large, and its precision and recall are no larger. Of tables, the same holds for the "
        "marginal error, and the error of correlations is no smaller. Without a control there is "
        "no verdict, nor where either model has learnt next to nothing: precision or recall "
        f"under {MIN_SHARE}, or, of tables, this share of the way from an untrained model's "
        "errors to those between real records",
        "{score}",
        "privacy",
        0.01,
        privacy.defends,
    ),
    Claim(
        "Differential privacy costs sample quality.",
        "logarithm of the Fréchet distance (of tables: of the marginal error) with private "
        "training over that without, mean over victims",
        "log ratio",
        "privacy",
        0.05,
        privacy.costs_quality,
        voids=(),
        is_leak=False,
    ),
    Claim(
        "Differential privacy costs compute.",
        "logarithm of the training time with private training over that without, mean over victims",
        "log ratio",
        "privacy",
        0.05,
        privacy.costs_time,
        voids=(),
        is_leak=False,
    ),
    Claim(
        "Private training lowers what attacks find, if quality may fall with it.",
        "{score} without private training minus {score} with it, all other settings equal, at the "
        "largest epsilon up to 10 that was run, mean over victims and accesses. There is no "
        "verdict where the private model has learnt next to nothing, as for the claim that privacy "
        "defends",
        "{score}",
        "privacy",
        0.01,
        privacy.lowers,
        source=OURS,
    ),
    Claim(
        "Diffusion models leak more than GANs, each through its own access.",
        "{score} of the first attack on a diffusion model's denoiser minus that of the "
        "discriminator attack on a GAN with the same training records, at each size of the "
        "training set",
        "{score}",
        "diffusion",
        0.01,
        measures.diffusion_leaks_more,
        at_each_size=True,
        source=OURS,
    ),
    Claim(
        "A diffusion model's samples leak little where its denoiser leaks much.",
        "{score} of the first attack on the denoiser minus that of the full black box, same "
        "queries, at each size of the training set",
        "{score}",
        "diffusion",
        0.1,
        measures.samples_leak_less,
        at_each_size=True,
        source=OURS,
    ),
    Claim(
        "PIA beats the loss attack on diffusion models.",
        "{score} of PIA minus that of the denoising loss, same queries, at each size of the "
        "training set",
        "{score}",
        "diffusion",
        0.01,
        measures.pia_beats_the_loss,
        at_each_size=True,
        source=OURS,
    ),
    Claim(
        "Gradients of the weights tell more than questions to the denoiser.",
        "{score} of the attack on the weights' gradients minus that of the first attack on the "
        "denoiser, same queries, at each size of the training set",
        "{score}",
        "diffusion",
        0.01,
        measures.gradients_beat_questions,
        at_each_size=True,
        source=OURS,
    ),
    Claim(
        "Mirrored training images defend a diffusion model.",
        "{score} of the first attack on the denoiser where training images were not mirrored, "
        "minus that where half of them were, at each size of the training set",
        "{score}",
        "diffusion",
        0.01,
        measures.flips_defend,
        at_each_size=True,
        source=OURS,
    ),
)
"""The paper's in its order, where some are parts of one statement; then this benchmark's."""
