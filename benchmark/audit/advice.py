"""What an audit's numbers ask its owner to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from benchmark.audit.verdict import Verdict
from benchmark.measures.rates import tpr_interval

if TYPE_CHECKING:
    from benchmark.audit.facts import Facts


RELEASE = "Release samples instead of the"
INSTEAD = {
    "accessible_discriminator": "Do not give the discriminator away; its output is the strongest "
    "leak.",
    "partial_black_box": f"{RELEASE} generator: with it the attack is stronger.",
    "white_box": f"{RELEASE} generator: with it the attack is stronger.",
    "accessible_denoiser": f"{RELEASE} network: whoever may ask it what noise it sees in a record "
    "learns much more.",
    "variation_api": "Offer no variations of records that users bring: release samples.",
}
"""Access of the strongest attack -> what to give away in its place."""


def next_steps(verdict: Verdict, facts: Facts) -> list[str]:
    """What follows from the numbers."""
    best, steps = verdict.strongest, []
    if verdict.word == "invalid":
        return ["Mend what the checks name and audit again; decide nothing before."]
    copied = max(facts.copies.copied_members, verdict.nearly)
    if verdict.copied or verdict.nearly or copied > facts.copies.copied_non_members:
        steps.append(
            f"Find out why the generator repeats training records ({copied} members are affected), "
            f"and train it anew. To remove the copies alone leaves holes that attacks find."
        )
    if verdict.failed:
        steps.append("Find out why an attack failed (see its row), and audit again.")
    if verdict.word == "inconclusive" and verdict.upper > verdict.thresholds.small.value:
        steps.append(
            f"Give more records: about {_records_needed(verdict):,} members and as many "
            "non-members would rule out (or find) an AUROC above "
            f"{verdict.thresholds.small.value:g}."
        )
    elif verdict.word == "inconclusive" and not verdict.failed:
        steps.append(
            f"Give more records: about {_needed_found(verdict):,} members and as many non-members "
            f"would rule out (or find) that more than {verdict.thresholds.few.value:.0%} of "
            f"the members are found."
        )
    if verdict.word == "leak" and (best.turned or verdict.spared):
        steps.append(
            "If records close to training records were removed before the release, stop doing so: "
            "the hole shows where the training records are. Choose what is removed without them."
        )
    if verdict.word == "leak":
        steps += [INSTEAD[best.access]] if best.access in INSTEAD else []
        steps += [
            f"Train on more records than the present {facts.given_members:,}, or for fewer epochs, "
            f"and audit again: both lower memorisation.",
            "Train with differential privacy where records must be protected whoever attacks; an "
            "audit can show a leak but never prove that there is none.",
        ]
    steps += _of_single_records(verdict)
    if verdict.word == "no leak found":
        steps.append(
            "Audit again with everything that will be released (a generator tells more than "
            "samples), with reference records for calibration, and after every new training."
        )
    return steps


def _of_single_records(verdict: Verdict) -> list[str]:
    if not verdict.recognised:
        return []
    return [
        f"Look at the records {', '.join(verdict.recognised)}: ask what is unusual in them; leave "
        f"such values out, or make them coarser, before the generator is trained."
    ]


def _needed_found(verdict: Verdict) -> int:
    """Records a side at which a guess's interval of records found ends at the threshold `few`.

    Of a guess that is lucky by two standard deviations, since the best of several is looked at.
    """
    rate = verdict.thresholds.false_alarms.value
    for count in np.ceil(np.geomspace(1 / rate, 1000 / rate, 31)).astype(int):
        x, y = np.arange(2.0 * count).reshape(-1, 2).T
        x[: int(2 * np.sqrt(2 * rate * count))] = np.inf
        ends = tpr_interval(np.minimum(x, 2 * count), y, rate, verdict.level)
        if ends[1] <= verdict.thresholds.few.value:
            return int(np.ceil(count / 100) * 100)
    return int(1000 / rate)


def _records_needed(verdict: Verdict) -> int:
    """Records a side for the interval of a guessing attack to end at the threshold `small`.

    From the variance (m + n + 1) / (12 m n) of a guess's AUROC (Mann and Whitney 1947).
    """
    margin = verdict.thresholds.small.value - 0.5
    return int(np.ceil((norm.ppf((1 + verdict.level) / 2) / margin) ** 2 / 6)) if margin > 0 else 0
