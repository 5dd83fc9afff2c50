"""How each claim is measured: pure functions of a study's stored results.

Each gives the parts of a claim by name; a part above 0 supports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from benchmark.measures.estimate import Estimate, difference_between, spearman, widen_by
from benchmark.measures.numbers import count_of
from benchmark.report.collect import Group, Row, Study
from benchmark.report.control import same_but_for
from benchmark.report.evidence import CHANCE, Evidence, frechet_distance
from benchmark.report.means import (
    BySeed,
    Lacking,
    Number,
    at_each_size,
    balanced,
    difference_of,
    mean_of,
    mean_over,
    of_seeds,
    size_of,
    victims_in,
    weighted_sum,
)

GENERATOR_CHAIN = ("full_black_box", "partial_black_box", "white_box")
"""Accesses to the generator that the paper has, each containing the one before."""
DISCRIMINATOR, ENCODER = "accessible_discriminator", "accessible_encoder"
DENOISER, GRADIENTS = "accessible_denoiser", "weight_gradients_with_shadows"
FLIP = "victim.flip"
ACCESSES = (*GENERATOR_CHAIN, DISCRIMINATOR)
CALIBRATION = "difference"
MANY = 10_000
"""The claim on overfitting is about fewer training records than this."""

VICTIMS, FAMILIES = 3, 2
"""What a claim about a kind of victims needs on each side: one or two victims are no kind, and
three of one family could differ from others in what makes them a family."""


def discriminator_is_worst(evidence: Evidence) -> dict[str, Estimate]:
    """The discriminator against each access to the generator."""
    return {
        f"against {access}": mean_over(
            evidence.gains((DISCRIMINATOR, "none"), (access, "none")), "both attacks"
        )
        for access in GENERATOR_CHAIN
    }


def generator_is_next(evidence: Evidence) -> dict[str, Estimate]:
    """The generator's gradient and control over z, each against released samples only."""
    least, *more = GENERATOR_CHAIN
    return {
        access: mean_over(evidence.gains((access, "none"), (least, "none")), "both attacks")
        for access in more
    }


def reconstruction_is_vulnerable(evidence: Evidence) -> dict[str, Estimate]:
    """White box: victims with an encoder (trained to reconstruct) against the others.

    Families count alike on each side, and how much they differ is one of the errors.
    """
    found = evidence.leaks("white_box")
    with_encoder = {where for own in evidence.leaks(ENCODER).values() for where in own}
    shared = balanced(found)
    both = victims_in(shared)
    sides = [[w for w in both if (w in with_encoder) == has] for has in (True, False)]
    for side, what in zip(sides, ("with an encoder", "without one"), strict=True):
        _require_enough(evidence, side, f"{what}, attacked by white box")
    contrast, levels = [], []
    for own in shared.values():
        kinds = [_family_means(evidence, side, own) for side in sides]
        levels.append([[number.value for number in kind] for kind in kinds])
        contrast.append(difference_of(mean_of(kinds[0]), mean_of(kinds[1])))
    over_seeds = [np.mean([level[i] for level in levels], 0) for i in range(2)]
    estimate = of_seeds(contrast, shared, found)
    return {"white_box": widen_by(estimate, difference_between(*over_seeds))}


def quality_is_vulnerable(evidence: Evidence) -> dict[str, Estimate]:
    """Rank correlation over families: the white box's score against minus the Frechet distance.

    Each victim's numbers are means over the seeds that have both, each family's over its victims.
    """
    distances, leaks = evidence.by_seed(frechet_distance), evidence.leaks("white_box")
    pairs: dict[Group, list[tuple[float, float]]] = {}
    for seed, own in distances.items():
        for where in own.keys() & leaks.get(seed, {}).keys():
            pairs.setdefault(where, []).append((-own[where].value, leaks[seed][where].value))
    victims = [where for where in evidence.study.groups if where in pairs]
    means = [
        np.mean([np.mean(pairs[where], 0) for where in own], 0)
        for own in _by_family(evidence, victims).values()
    ]
    if len(means) < 4:
        raise Lacking(
            f"{count_of(len(means), 'families')} of victims with a Frechet distance and a white "
            f"box; at least 5 are needed"
        )
    better, worse = np.array(means).T
    return {"white_box": spearman(better, worse)._replace(victims=tuple(_victim_names(victims)))}


def small_sets_leak(evidence: Evidence) -> dict[str, Estimate]:
    """Score gained per halving of the training set, over victims and accesses."""
    slopes: BySeed = {}
    for access in ACCESSES:
        for seed, own in evidence.leaks(access).items():
            for victim, points in _by_size(evidence.study, own).items():
                if len(points) > 1:
                    where = victim.at("access", access)
                    slopes.setdefault(seed, {})[where] = _per_halving(points)
    return {"all accesses": mean_over(slopes, "two sizes")}


def small_sets_overfit(evidence: Evidence) -> dict[str, Estimate]:
    """The discriminator's score above chance for the median GAN at the largest size under MANY."""
    last: BySeed = {}
    for seed, own in evidence.leaks(DISCRIMINATOR).items():
        for victim, points in _by_size(evidence.study, own).items():
            if few := [size for size in points if size < MANY]:
                last.setdefault(seed, {})[victim] = points[max(few)]
    shared = balanced(last)
    both = victims_in(shared)
    _require_enough(evidence, both, f"with a discriminator at a size under {MANY} for every seed")
    chance = Number(CHANCE[evidence.score])
    middle = (len(both) - 1) // 2  # of an even count the lower one: most are at least there
    medians = [
        difference_of(sorted((own[where] for where in both), key=lambda n: n.value)[middle], chance)
        for own in shared.values()
    ]
    return {"discriminator": of_seeds(medians, shared, last)}


def calibration_helps(evidence: Evidence) -> dict[str, Estimate]:
    """Calibrated minus raw, for each access."""
    return {
        access: mean_over(
            evidence.gains((access, CALIBRATION), (access, "none")), f"a calibrated {access}"
        )
        for access in ACCESSES
    }


def diffusion_leaks_more(evidence: Evidence) -> dict[str, Estimate]:
    """The denoiser of each diffusion model against the GANs' discriminators on the same records."""
    found, gans = BySeed(), _usual(evidence, evidence.leaks(DISCRIMINATOR))
    for seed, own in _usual(evidence, evidence.leaks(DENOISER)).items():
        for group, number in own.items():
            theirs = [
                leak
                for other, leak in gans.get(seed, {}).items()
                if same_but_for(evidence.study, group, other, "victim")
            ]
            if theirs:
                found.setdefault(seed, {})[group] = difference_of(number, mean_of(theirs))
    return at_each_size(evidence.study, found, "a denoiser, and a GAN with the same records")


def samples_leak_less(evidence: Evidence) -> dict[str, Estimate]:
    """The denoiser against released samples."""
    gains = evidence.gains((DENOISER, "none"), ("full_black_box", "none"))
    return at_each_size(evidence.study, _usual(evidence, gains), "both attacks")


def pia_beats_the_loss(evidence: Evidence) -> dict[str, Estimate]:
    """Two attacks of one access."""
    gains = evidence.between(Row("pia", "none"), Row("denoising_loss", "none"))
    return at_each_size(evidence.study, _usual(evidence, gains), "both attacks")


def gradients_beat_questions(evidence: Evidence) -> dict[str, Estimate]:
    """Weight gradients against the denoiser."""
    gains = evidence.gains((GRADIENTS, "none"), (DENOISER, "none"))
    return at_each_size(evidence.study, _usual(evidence, gains), "both attacks")


def flips_defend(evidence: Evidence) -> dict[str, Estimate]:
    """The denoiser's score without mirrored training images minus that with them."""
    study, found = evidence.study, BySeed()
    if FLIP not in study.labels:
        raise Lacking("the study has no victims with and without mirrored training images")
    for seed, own in evidence.leaks(DENOISER).items():
        for plain, mirrored in permutations(own, 2):
            pair = (plain.value_of(FLIP), mirrored.value_of(FLIP)) == (False, True)
            if pair and same_but_for(study, plain, mirrored, FLIP):
                found.setdefault(seed, {})[plain] = difference_of(own[plain], own[mirrored])
    return at_each_size(study, found, "an attack with and without mirrored images")


# --- parts of them --------------------------------------------------------------------------------


def _victim_names(places: Iterable[Group]) -> list[str]:
    """The victims' names."""
    return list(dict.fromkeys(where.victim for where in places))


def _usual(evidence: Evidence, found: BySeed) -> BySeed:
    """What is about victims with the settings that the study runs first of each."""

    def own_settings(group: Group) -> list[tuple[str, Any]]:
        return [pair for pair in group.settings if pair[0].startswith("victim.")]

    first: dict[str, list[tuple[str, Any]]] = {}
    for group in evidence.study.every_group:
        first.setdefault(group.victim, own_settings(group))
    return {
        seed: {at: number for at, number in own.items() if own_settings(at) == first[at.victim]}
        for seed, own in found.items()
    }


def _by_family(evidence: Evidence, places: Iterable[Group]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for where in places:
        found.setdefault(evidence.families[where.victim], []).append(where)
    return found


def _family_means(
    evidence: Evidence, places: Sequence[Group], own: Mapping[Group, Number]
) -> list[Number]:
    families = _by_family(evidence, places).values()
    return [mean_of([own[where] for where in family]) for family in families]


def _require_enough(evidence: Evidence, places: Sequence[Group], what: str) -> None:
    """Raise Lacking unless these victims are enough of a kind."""
    victims, families = _victim_names(places), _by_family(evidence, places)
    if len(victims) < VICTIMS or len(families) < FAMILIES:
        raise Lacking(
            f"{count_of(len(victims), 'victims')} of {count_of(len(families), 'families')} {what}; "
            f"at least {VICTIMS} of {FAMILIES} families are needed"
        )


def _by_size(study: Study, own: Mapping[Group, Number]) -> dict[Group, dict[int, Number]]:
    """Numbers by victim (group without the size) and by the number of training records."""
    found: dict[Group, dict[int, Number]] = {}
    for group, number in own.items():
        victim = group.without(str(study.x))
        found.setdefault(victim, {})[size_of(study, group)] = number
    return found


def _per_halving(points: Mapping[int, Number]) -> Number:
    """Minus the least-squares slope of the score over log2 of the size."""
    x = np.log2(list(points))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return weighted_sum(points.values(), -weights)
