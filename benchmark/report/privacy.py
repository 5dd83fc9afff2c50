"""What private training does to attacks, sample quality and time, for the claims about it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.measures.estimate import Estimate
from benchmark.report.collect import Group, Outcome
from benchmark.report.control import (
    fair_controls,
    generation_error,
    plain_partners,
    without_and_with,
)
from benchmark.report.evidence import Evidence, first_number
from benchmark.report.means import BySeed, Number, difference_of, mean_over
from benchmark.report.measures import ACCESSES, ENCODER


def defends(evidence: Evidence) -> dict[str, Estimate]:
    """Score without private training, at equal quality, minus that with it; over accesses."""
    return _gained_by_privacy(evidence, fair_controls(evidence.study))


def lowers(evidence: Evidence) -> dict[str, Estimate]:
    """Score without private training, at equal settings, minus that with it; over accesses."""
    return _gained_by_privacy(evidence, plain_partners(evidence.study))


def _gained_by_privacy(evidence: Evidence, pairs: dict[Group, Group]) -> dict[str, Estimate]:
    """pairs: private group -> the group without privacy that it is compared with."""
    found: BySeed = {}
    for access in (*ACCESSES, ENCODER):
        for seed, own in evidence.leaks(access).items():
            for private, without in pairs.items():
                if private in own and without in own:
                    gain = difference_of(own[without], own[private])
                    found.setdefault(seed, {})[private.at("access", access)] = gain
    return {"all accesses": mean_over(found, "an attack with and without private training")}


def costs_quality(evidence: Evidence) -> dict[str, Estimate]:
    """Logarithm of the generation error with private training over that without."""
    return {"generation error": _log_ratio(evidence, generation_error)}


def costs_time(evidence: Evidence) -> dict[str, Estimate]:
    """Logarithm of the training time with private training over that without."""
    return {
        "training time": _log_ratio(evidence, lambda outcome: first_number(outcome, "training"))
    }


def _log_ratio(evidence: Evidence, value: Callable[[Outcome], Number | None]) -> Estimate:
    pairs, found = without_and_with(evidence.study), BySeed()
    for seed, own in evidence.by_seed(value).items():
        for private, without in pairs.items():
            if private in own and without in own:
                values = own[private].value, own[without].value
                if min(values) > 0:  # an error may be 0, and then has no logarithm
                    ratio = float(np.log(values[0] / values[1]))
                    found.setdefault(seed, {})[private] = Number(ratio, rest=np.nan)
    return mean_over(found, "both")
