"""What an audit's numbers mean, in sentences for somebody who must decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.audit.verdict import Evidence, Verdict

if TYPE_CHECKING:
    from benchmark.audit.attack import Step
    from benchmark.audit.facts import Facts

KNOWS = {
    "full_black_box": "the released samples and nothing else",
    "partial_black_box": "a generator that it may ask for the record behind any latent code",
    "full_black_box_with_reference": "the released samples, and other records of the same kind",
    "white_box": "the generator itself, so that it can follow its gradient",
    "accessible_discriminator": "the discriminator",
}
"""Access -> what an attacker with it has."""
NEVER = (
    "attacks that train models like the generator on chosen records (LiRA, RMIA)",
    "guessing unknown columns of a known person, or linking two releases (anonymeter does)",
    "attackers who know most of the other training records, as differential privacy assumes",
    "several records of one person taken together",
    "other generators trained by the same recipe, and other seeds",
)
"""What no audit of this kind tries."""
BELIEFS = (0.5, 0.01)
"""What somebody may have thought before: the chance that a record was used for training."""


def headline(verdict: Verdict, facts: Facts) -> list[str]:
    """The finding: how much better than guessing, with which access, how many records are found."""
    if verdict.word == "invalid":
        return [_finding(verdict)]
    sentences = [_finding(verdict), _ranking(verdict.strongest)]
    if verdict.word == "leak" and verdict.doubtful:
        sentences.append(
            "But members and non-members differ by themselves (see the check split leaks): attacks "
            "may win by that alone."
        )
    if verdict.word == "leak" and verdict.unproven:
        sentences.append(f"No leak is proven for {_listed(verdict.unproven)}.")
    if verdict.word in ("no leak found", "inconclusive"):
        sentences.append(
            f"Attacks stronger than AUROC {verdict.upper:.3f} are ruled out for the kinds that "
            f"were run, and for nothing else."
        )
    sentences.append(_found(verdict))
    if facts.copied_members or facts.copied_non_members:
        sentences.append(_copies(facts))
    return sentences


def _finding(verdict: Verdict) -> str:
    """The verdict in one sentence: what gives members away."""
    if verdict.word == "leak":
        if any(access.startswith("full_black_box") for access in verdict.proven):
            return "The released records give away who was in the training data."
        if set(verdict.proven) == {"accessible_discriminator"}:
            return "The discriminator gives away who was in the training data."
        return "The generator gives away who was in the training data."
    if verdict.word == "inconclusive" and verdict.failed:
        return "An attack failed, and the others found no leak: that is not enough to tell."
    return {
        "no leak found": "No leak was found by the attacks that were run.",
        "inconclusive": "There are too few records to tell.",
        "invalid": "The numbers are not valid; see the checks.",
    }[verdict.word]


def _listed(accesses: Sequence[str]) -> str:
    return ", ".join(access.replace("_", " ") for access in accesses)


def _ranking(best: Evidence) -> str:
    compared = "better than guessing" if best.low > 0.5 else "which guessing explains"
    return (
        f"Strongest attack: {best.name}, with {KNOWS.get(best.access, best.access)}: AUROC "
        f"{best.auroc:.3f} [{best.low:.3f}, {best.high:.3f}], {compared} (0.5)."
    )


def _found(verdict: Verdict) -> str:
    rate, best = verdict.thresholds["false_alarms"]["value"], verdict.sharpest
    if np.isnan(best.found):
        return (
            f"How many records are found with at most {rate:.0%} false alarms cannot be told: that "
            f"takes at least {int(np.ceil(1 / rate))} non-members."
        )
    count, low, high = (
        round(share * best.members) for share in (best.found, best.found_low, best.found_high)
    )
    surely = "" if best.p_found < 1 - verdict.level else ", a difference that guessing explains"
    return (
        f"With false alarms on at most {rate:.0%} of the non-members, {best.name} finds {count} of "
        f"{best.members} members [{low}, {high}]; guessing finds about "
        f"{round(rate * best.members)}{surely}."
    )


def _copies(facts: Facts) -> str:
    return (
        f"{facts.copied_members} of {facts.members} members and {facts.copied_non_members} of "
        f"{facts.non_members} non-members stand among the released records exactly as they are."
    )


def meaning(verdict: Verdict) -> list[str]:
    """What the numbers mean for one record of this data set."""
    if verdict.word == "invalid":
        return ["Nothing: they are not valid."]
    best, sharp = verdict.strongest, verdict.sharpest
    rate = verdict.thresholds["false_alarms"]["value"]
    sentences = [
        f"Take one record that was used for training and one that was not. The strongest attack "
        f"says correctly which is which in {100 * best.auroc:.1f} of 100 such pairs (between "
        f"{100 * best.low:.1f} and {100 * best.high:.1f}); tossing a coin does in 50."
    ]
    if np.isnan(sharp.found):
        return sentences
    if sharp.p_found >= 1 - verdict.level:
        sentences.append(
            f"An attacker who accepts false alarms on {rate:.0%} of the non-members learns nothing "
            f"that is sure about any single record: members set off no more alarms than chance "
            f"explains."
        )
        return sentences
    for prior in BELIEFS:
        low, middle, high = (
            _posterior(prior, share, rate)
            for share in (sharp.found_low, sharp.found, sharp.found_high)
        )
        sentences.append(
            f"Somebody who thinks the chance that a given record was used is {prior:.0%}, and sees "
            f"the attack {sharp.name} raise an alarm for it (false alarms: {rate:.0%}), should "
            f"then think it is {middle:.0%} (between {low:.0%} and {high:.0%})."
        )
    return sentences


def _posterior(prior: float, found: float, alarms: float) -> float:
    """Bayes: the chance of a member among the records with an alarm."""
    return prior * found / (prior * found + (1 - prior) * alarms)


def assumed(steps: Sequence[Step]) -> list[str]:
    """What the attackers of the table were given beforehand."""
    ran = dict.fromkeys(step.access for step in steps if step.places is not None)
    sentences = [
        "Every attacker has the whole candidate record, all columns or pixels, and asks only "
        "whether it was used for training."
    ]
    sentences += [f"{a.replace('_', ' ')}: {KNOWS[a]}." for a in ran if a in KNOWS]
    if any("reference" in step.what for step in steps if step.places is not None):
        sentences.append("Calibrated rows: reference records of the same kind besides.")
    return sentences


def not_tried(steps: Sequence[Step], unselected: Sequence[str]) -> list[str]:
    """Attacks that did not run and why, those not selected, and what no audit tries."""
    skipped = [
        f"{step.name.replace('_', ' ')}: {step.what.removeprefix('not run: ')}"
        for step in steps
        if step.places is None
    ]
    others = ", ".join(name.replace("_", " ") for name in unselected)
    skipped += [f"attacks of this benchmark that were not selected: {others}"] if others else []
    return [*skipped, *NEVER]


def next_steps(verdict: Verdict, facts: Facts) -> list[str]:
    """What follows from the numbers."""
    best, steps = verdict.strongest, []
    if verdict.word == "invalid":
        return ["Mend what the checks name and audit again; decide nothing before."]
    if facts.copied_members > facts.copied_non_members:
        steps.append(
            f"Remove released records that equal a training record ({facts.copied_members} members "
            f"are affected), and find out why the generator repeats them."
        )
    if verdict.failed:
        steps.append("Find out why an attack failed (see its row), and audit again.")
    if verdict.word == "inconclusive" and verdict.upper > verdict.thresholds["small"]["value"]:
        steps.append(
            f"Give more records: about {_needed(verdict):,} members and as many non-members would "
            f"rule out (or find) an AUROC above {verdict.thresholds['small']['value']:g}."
        )
    if verdict.word == "leak":
        if best.access == "accessible_discriminator":
            steps.append("Do not give the discriminator away; its output is the strongest leak.")
        if best.access in ("partial_black_box", "white_box"):
            steps.append(
                "Release samples instead of the generator: with it the attack is stronger."
            )
        steps += [
            f"Train on more records than the present {facts.given_members:,}, or for fewer epochs, "
            f"and audit again: both lower memorisation.",
            "Train with differential privacy where records must be protected whoever attacks; an "
            "audit can show a leak but never prove that there is none.",
        ]
    if verdict.word == "no leak found":
        steps.append(
            "Audit again with everything that will be released (a generator tells more than "
            "samples), with reference records for calibration, and after every new training."
        )
    return steps


def _needed(verdict: Verdict) -> int:
    """Records a side for the interval of a guessing attack to end at the threshold `small`.

    From the variance (m + n + 1) / (12 m n) of a guess's AUROC (Mann and Whitney 1947).
    """
    from scipy.stats import norm

    margin = verdict.thresholds["small"]["value"] - 0.5
    return int(np.ceil((norm.ppf((1 + verdict.level) / 2) / margin) ** 2 / 6)) if margin > 0 else 0
