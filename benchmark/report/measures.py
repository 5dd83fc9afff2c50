"""How each claim of the paper is measured: pure functions of a study's stored results.

Each gives the parts of a claim by name; a part above 0 supports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from benchmark.report.collect import Outcome, Study, quality
from benchmark.report.estimate import Estimate, over_seeds, spearman, wider_side

GENERATOR = ("full_black_box", "partial_black_box", "white_box")
DISCRIMINATOR, ENCODER = "accessible_discriminator", "accessible_encoder"
ACCESSES = (*GENERATOR, DISCRIMINATOR)
CALIBRATION = "difference"
MANY = 10_000
"""The claim on overfitting is about fewer training records than this."""

SOME_EPSILON = 10.0
"""The claim on privacy is tested at the largest epsilon up to this that a study has."""

Number = tuple[float, float]
"""A value of one victim and seed, and the half-width of its 95% interval (NaN: none)."""

BySeed = dict[int, dict[Any, Number]]
"""Seed -> victim (or what else is averaged over) -> number."""


class Lacking(Exception):
    """A study does not have what a claim is about; the message says what."""


# --- numbers of victims ---------------------------------------------------------------------------


def aurocs(study: Study, access: str, calibrated: str = "none") -> BySeed:
    """AUROC of the first attack with an access, by seed and group."""
    return _by_seed(study, lambda outcome: _auroc(outcome, access, calibrated))


def gains(study: Study, a: tuple[str, str], b: tuple[str, str]) -> BySeed:
    """AUROC with a minus AUROC with b, (access, calibration) each, on the same queries."""

    def gain(outcome: Outcome) -> Number | None:
        rows = [_row(outcome, *own) for own in (a, b)]
        found = outcome.differences.get((rows[0], rows[1])) if rows[0] and rows[1] else None
        return (found.difference, wider_side(*found[:3])) if found else None

    return _by_seed(study, gain)


def _by_seed(study: Study, value: Callable[[Outcome], Number | None]) -> BySeed:
    found: BySeed = {}
    for group, seeds in study.groups.items():
        for seed, outcome in seeds.items():
            number = value(outcome)
            if number is not None and np.isfinite(number[0]):
                found.setdefault(seed, {})[group] = number
    return found


def _row(outcome: Outcome, access: str, calibrated: str) -> tuple[str, str] | None:
    row = outcome.rows.get((access, calibrated))
    return (row["attack"], calibrated) if row else None


def _auroc(outcome: Outcome, access: str, calibrated: str) -> Number | None:
    row = outcome.rows.get((access, calibrated))
    if not row:
        return None
    value, low, high = (float(row[name]) for name in ("auroc", "auroc_low", "auroc_high"))
    return value, wider_side(value, low, high)


def mean_over(found: BySeed, what: str) -> Estimate:
    """The mean over victims, then over seeds; of the victims that every seed has."""
    shared = _shared(found)
    if not shared:
        raise Lacking(f"no victim has {what} for every seed")
    values, halves = [], []
    for numbers in found.values():
        own = np.array([numbers[group] for group in shared])
        values.append(own[:, 0].mean())
        halves.append(np.sqrt((own[:, 1] ** 2).sum()) / len(own))
    return over_seeds(values, halves if np.isfinite(halves).all() else None)


def _shared(found: BySeed) -> list[Any]:
    """What every seed has, in the order of the first one."""
    every: Iterable[dict[Any, Number]] = found.values()
    return [group for group in next(iter(every), {}) if all(group in own for own in every)]


# --- the claims -----------------------------------------------------------------------------------


def discriminator_is_worst(study: Study) -> dict[str, Estimate]:
    """The discriminator against each access to the generator."""
    return {
        f"against {access}": mean_over(
            gains(study, (DISCRIMINATOR, "none"), (access, "none")), "both attacks"
        )
        for access in GENERATOR
    }


def generator_is_next(study: Study) -> dict[str, Estimate]:
    """The generator's gradient and control over z, each against released samples only."""
    return {
        access: mean_over(gains(study, (access, "none"), (GENERATOR[0], "none")), "both attacks")
        for access in GENERATOR[1:]
    }


def reconstruction_is_vulnerable(study: Study) -> dict[str, Estimate]:
    """White box: victims with an encoder (trained to reconstruct) against the others."""
    found = aurocs(study, "white_box")
    with_encoder = {group for own in aurocs(study, ENCODER).values() for group in own}
    shared = _shared(found)
    ours = [group for group in shared if group in with_encoder]
    others = [group for group in shared if group not in with_encoder]
    if not ours or not others:
        raise Lacking("needed are victims with an encoder and without, attacked by white box")
    contrast = {
        seed: {"": _minus(_mean(own, ours), _mean(own, others))} for seed, own in found.items()
    }
    return {"white_box": mean_over(contrast, "it")}


def quality_is_vulnerable(study: Study) -> dict[str, Estimate]:
    """Rank correlation over victims: AUROC of the white box against minus the Frechet distance.

    Each victim's numbers are means over the seeds that have both.
    """
    distances, leaks = _by_seed(study, _frechet), aurocs(study, "white_box")
    pairs: dict[Any, list[tuple[float, float]]] = {}
    for seed, own in distances.items():
        for group in own.keys() & leaks.get(seed, {}).keys():
            pairs.setdefault(group, []).append((-own[group][0], leaks[seed][group][0]))
    if len(pairs) < 4:
        raise Lacking(f"victims with a Frechet distance and a white-box AUROC: {len(pairs)}")
    quality, leak = np.array([np.mean(own, axis=0) for own in pairs.values()]).T
    return {"white_box": spearman(quality, leak)}


def small_sets_leak(study: Study) -> dict[str, Estimate]:
    """AUROC gained per halving of the training set, over victims and accesses."""
    slopes: BySeed = {}
    for access in ACCESSES:
        for seed, own in aurocs(study, access).items():
            for victim, points in _by_size(study, own).items():
                if len(points) > 1:
                    slopes.setdefault(seed, {})[victim, access] = _per_halving(points)
    return {"all accesses": mean_over(slopes, "two sizes")}


def small_sets_overfit(study: Study) -> dict[str, Estimate]:
    """AUROC of the discriminator above 0.5 for the median GAN at the largest size under MANY."""
    medians: BySeed = {}
    for seed, own in aurocs(study, DISCRIMINATOR).items():
        sizes = _by_size(study, own).values()
        last = [max((p for p in points.items() if p[0] < MANY), default=None) for points in sizes]
        numbers = sorted(point[1] for point in last if point)
        if numbers:
            middle = numbers[(len(numbers) - 1) // 2]  # of an even count the lower one
            medians[seed] = {"": (middle[0] - 0.5, middle[1])}
    return {"discriminator": mean_over(medians, f"a size under {MANY}")}


def calibration_helps(study: Study) -> dict[str, Estimate]:
    """Calibrated minus raw, for each access."""
    return {
        access: mean_over(
            gains(study, (access, CALIBRATION), (access, "none")), f"a calibrated {access}"
        )
        for access in ACCESSES
    }


def privacy_defends(study: Study) -> dict[str, Estimate]:
    """AUROC without private training minus AUROC with it, over victims and accesses."""
    found: BySeed = {}
    for access in ACCESSES:
        for seed, (off, on) in _without_and_with(study, aurocs(study, access)).items():
            for victim in off.keys() & on.keys():
                found.setdefault(seed, {})[victim, access] = _minus(off[victim], on[victim])
    return {"all accesses": mean_over(found, "an attack with and without private training")}


def privacy_costs_quality(study: Study) -> dict[str, Estimate]:
    """Logarithm of the Frechet distance with private training over that without."""
    return {"Frechet distance": _log_ratio(study, _frechet)}


def privacy_costs_time(study: Study) -> dict[str, Estimate]:
    """Logarithm of the training time with private training over that without."""
    return {"training time": _log_ratio(study, lambda outcome: _quality(outcome, "training"))}


# --- parts of them --------------------------------------------------------------------------------


def _mean(own: Mapping[Any, Number], groups: Iterable[Any]) -> Number:
    numbers = np.array([own[group] for group in groups])
    return float(numbers[:, 0].mean()), float(np.sqrt((numbers[:, 1] ** 2).sum()) / len(numbers))


def _minus(a: Number, b: Number) -> Number:
    return a[0] - b[0], float(np.hypot(a[1], b[1]))


def _by_size(study: Study, own: Mapping[Any, Number]) -> dict[Any, dict[int, Number]]:
    """Numbers by victim (group without the size) and by the number of training records."""
    if study.x not in study.group:
        raise Lacking("the study has one size of the training set")
    at = study.group.index(study.x)
    found: dict[Any, dict[int, Number]] = {}
    for group, number in own.items():
        found.setdefault((*group[:at], *group[at + 1 :]), {})[int(group[at])] = number
    return found


def _per_halving(points: Mapping[int, Number]) -> Number:
    """Minus the least-squares slope of AUROC over log2 of the size, and its half-width."""
    x = np.log2(list(points))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    values = np.array(list(points.values()))
    return -float(weights @ values[:, 0]), float(np.sqrt(weights**2 @ values[:, 1] ** 2))


def _without_and_with(
    study: Study, found: BySeed
) -> dict[int, tuple[dict[Any, Number], dict[Any, Number]]]:
    """Numbers by victim without private training, and with the epsilon of the claim."""
    epsilons = {group: _epsilon(next(iter(jobs.values()))) for group, jobs in study.groups.items()}
    private = [epsilon for epsilon in epsilons.values() if epsilon <= SOME_EPSILON]
    if not private or not any(np.isinf(epsilon) for epsilon in epsilons.values()):
        raise Lacking(f"needed are victims without privacy and with epsilon up to {SOME_EPSILON:g}")
    chosen = max(private)
    return {
        seed: (
            {group[:2]: own[group] for group in own if np.isinf(epsilons[group])},
            {group[:2]: own[group] for group in own if epsilons[group] == chosen},
        )
        for seed, own in found.items()
    }


def _epsilon(outcome: Outcome) -> float:
    """What was asked for, or else what was spent; infinite without private training."""
    dp = outcome.job.config.get("dp")
    if not dp:
        return np.inf
    first = next(iter(outcome.rows.values()))
    return float(first["epsilon"] if dp.epsilon is None else dp.epsilon)


def _log_ratio(study: Study, value: Callable[[Outcome], Number | None]) -> Estimate:
    found: BySeed = {}
    for seed, (off, on) in _without_and_with(study, _by_seed(study, value)).items():
        for victim in off.keys() & on.keys():
            ratio = np.log(on[victim][0] / off[victim][0])
            found.setdefault(seed, {})[victim] = float(ratio), np.nan
    return mean_over(found, "both")


def _frechet(outcome: Outcome) -> Number | None:
    return _quality(outcome, "Frechet distance", "FID")


def _quality(outcome: Outcome, *starts: str) -> Number | None:
    """The first number about the victim whose name starts so."""
    assert outcome.record is not None
    numbers = quality(outcome.record.result)
    found = [value for name, value in numbers.items() if name.startswith(starts)]
    return (found[0], np.nan) if found else None
