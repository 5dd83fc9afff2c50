"""What an audit's numbers mean, in sentences for somebody who must decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.audit.copies import Copies
from benchmark.audit.evidence import Evidence
from benchmark.audit.telling import CHANCE
from benchmark.audit.verdict import Verdict
from benchmark.audit.worst import Worst
from benchmark.measures.numbers import count_of

if TYPE_CHECKING:
    from benchmark.audit.facts import Facts
    from benchmark.audit.steps import Step

KNOWS = {
    "full_black_box": "the released samples and nothing else",
    "partial_black_box": "a generator that it may ask for the record behind any latent code",
    "full_black_box_with_reference": "the released samples, and other records of the same kind",
    "white_box": "the generator itself, so that it can follow its gradient",
    "accessible_discriminator": "the discriminator",
    "variation_api": "a service that takes a record, adds noise and gives it back denoised",
    "accessible_denoiser": "the denoiser of a diffusion model, which it may ask at any noise level",
}
"""Access -> what an attacker with it has."""
PARTS = {
    "accessible_discriminator": "The discriminator",
    "variation_api": "The diffusion model",
    "accessible_denoiser": "The diffusion model",
}
"""Access -> what gives members away by it, where that is not the generator."""
TRAINED = "attacks that train models like the generator on chosen records (LiRA, RMIA)"
"""What only an audit with `fit` tries."""
NEVER = (
    "guessing unknown columns of a known person, or linking two releases (anonymeter does)",
    "attackers who know most of the other training records, as differential privacy assumes",
    "several records of one person taken together",
    "copies of several columns whose values are common one by one, such as place, age and sex",
    "other generators trained by the same recipe, and other seeds",
)
"""What no audit of this kind tries."""
FILTERED = (
    "Members lie further from the released records than non-members do. A release looks like that "
    "after records close to training records were removed, or if the two inputs are swapped."
)
"""What an attack means that is surely worse than guessing."""
DIFFERENT = (
    "Members and non-members differ by themselves (see the check split leaks). Attacks may win, or "
    "lose, by that alone. Draw both from one source, and audit again."
)
"""Why nothing can be said of the generator."""
BELIEFS = (0.5, 0.01)
"""What somebody may have thought before: the chance that a record was used for training."""


def write_headline(verdict: Verdict, facts: Facts) -> list[str]:
    """The finding: how much better than guessing, with which access, how many records are found."""
    if verdict.word == "invalid":
        return [_say_finding(verdict), *([DIFFERENT] if verdict.doubtful else [])]
    sentences = [_say_finding(verdict), _say_ranking(verdict.strongest)]
    if verdict.strongest.turned or verdict.spared:
        sentences.append(FILTERED)
    if verdict.word == "leak" and verdict.doubtful:
        sentences.append(
            "Members and non-members differ by themselves (see the check split leaks), and attacks "
            "may win by that alone. What is called a leak here does not rest on their AUROCs."
        )
    if verdict.word == "leak" and verdict.unproven:
        sentences.append(f"No leak is proven for {_list_accesses(verdict.unproven)}.")
    if verdict.word in ("no leak found", "inconclusive"):
        sentences.append(
            f"Attacks stronger than AUROC {verdict.upper:.3f} are ruled out for the kinds that "
            f"were run, and for nothing else."
        )
    sentences.append(_say_found(verdict))
    if verdict.first.finds_first:
        sentences.append(_say_first(verdict.first))
    if facts.copies.copied_members or facts.copies.copied_non_members:
        sentences.append(_say_copies(verdict, facts.copies))
    if verdict.nearly > verdict.copied:
        sentences.append(_near_copies(verdict))
    sentences += [f"{text}." for text in verdict.repeated]
    return sentences


def _say_finding(verdict: Verdict) -> str:
    """The verdict in one sentence: what gives members away."""
    if verdict.word == "leak":
        if verdict.copied and not verdict.proven:
            return "The released records contain training records word for word."
        if verdict.nearly and not verdict.proven:
            return "The released records contain near copies of training records."
        if any(access.startswith("full_black_box") for access in verdict.proven):
            return "The released records give away who was in the training data."
        if verdict.recognised and not verdict.proven:
            return "Single records are recognised in what is released."
        if verdict.repeated and not verdict.proven:
            return "The released records repeat values that single training records have."
        parts = {PARTS.get(access, "The generator") for access in verdict.proven}
        part = next((part for part in PARTS.values() if parts == {part}), "The generator")
        return f"{part} gives away who was in the training data."
    if verdict.word == "inconclusive" and verdict.failed:
        return "An attack failed, and the others found no leak: that is not enough to tell."
    return {
        "no leak found": "No leak was found by the attacks that were run.",
        "inconclusive": (
            "Training records stand among the released ones, and it is not clear why."
            if verdict.unclear
            else "There are too few records to tell."
        ),
        "invalid": "The numbers are not valid; see the checks.",
    }[verdict.word]


def _list_accesses(accesses: Sequence[str]) -> str:
    return ", ".join(access.replace("_", " ") for access in accesses)


def _say_ranking(best: Evidence) -> str:
    area, low, high = best.gain
    compared = "better than guessing" if low > 0.5 else "which guessing explains"
    anew = ("lira", "rmia")  # by reference models, which only `fit` makes
    more = " and trainings of the generator anew" if best.calibrated.startswith(anew) else ""
    sign = ", its sign turned" if best.turned else ""
    return (
        f"Strongest attack: {best.name}{sign}, with {KNOWS.get(best.access, best.access)}{more}: "
        f"AUROC "
        f"{area:.3f} [{low:.3f}, {high:.3f}], {compared} (0.5)."
    )


def _say_found(verdict: Verdict) -> str:
    rate, best = verdict.thresholds.false_alarms.value, verdict.sharpest
    if np.isnan(best.found):
        return (
            f"How many records are found with at most {rate:.0%} false alarms cannot be told: that "
            f"takes at least {int(np.ceil(1 / rate))} non-members."
        )
    count, low, high = (
        round(share * best.members) for share in (best.found, best.found_low, best.found_high)
    )
    surely = "" if best.finds else ", a difference that guessing explains"
    return (
        f"With false alarms on at most {rate:.0%} of the non-members, {best.name} finds {count} of "
        f"{best.members} members [{low}, {high}]; guessing finds about "
        f"{round(rate * best.members)}{surely}."
    )


def _say_first(best: Evidence) -> str:
    return (
        f"{round(best.first * best.members)} of {best.members} members score above every "
        f"non-member by {best.name}: they are found without a false alarm."
    )


def _say_copies(verdict: Verdict, copies: Copies) -> str:
    once = "different " if copies.repeated else ""
    counts = (
        f"{copies.copied_members} of {copies.members} {once}members and "
        f"{copies.copied_non_members} of {copies.non_members} {once}non-members stand among the "
        f"released records word for word"
    )
    if copies.rounded:
        counts += f" ({copies.rounded} of them with other last digits)"
    if copies.certain and verdict.copied:
        return (
            f"{counts}; chance makes such copies of {copies.certain} of these members in less than "
            f"1 of {1 / CHANCE:,.0f} cases."
        )
    if verdict.unclear:
        return f"{counts}. That is no proof, but nothing says that it is chance: look at them."
    chance = "their own difference may explain" if verdict.doubtful else "chance explains"
    explained = "" if verdict.copied or verdict.spared else f", a difference that {chance}"
    return f"{counts}{explained}."


def _near_copies(verdict: Verdict) -> str:
    return (
        f"At least {count_of(verdict.nearly, 'members')}, more than chance explains, have a near "
        f"copy among the released records: far closer than 50 records are on average."
    )


def write_meaning(verdict: Verdict, facts: Facts) -> list[str]:
    """What the numbers mean for one record of this data set."""
    if verdict.word == "invalid":
        return ["Nothing: they are not valid."]
    area, low, high = verdict.strongest.gain
    sentences = [
        f"Take one record that was used for training and one that was not. The strongest attack "
        f"says correctly which is which in {100 * area:.1f} of 100 such pairs (between "
        f"{100 * low:.1f} and {100 * high:.1f}); tossing a coin does in 50."
    ]
    if facts.copies.certain and verdict.copied:
        sentences.append(
            "A person whose record stands among the released ones word for word is recognised for "
            "certain, by anybody who knows the record: no attack and no threshold is needed."
        )
    if verdict.first.finds_first:
        sentences.append(_say_surest(verdict.first))
    return [*sentences, *_say_alarms(verdict)]


def _say_surest(best: Evidence) -> str:
    """How far an alarm may be believed where no false one was seen."""
    even, rare = (_posterior_chance(prior, best.first_low, best.alarms_high) for prior in BELIEFS)
    return (
        f"A record that {best.name} scores above all {best.non_members} non-members of this test "
        f"was used with a probability of at least {even:.0%} for somebody who thought "
        f"{BELIEFS[0]:.0%} before, and of at least {rare:.0%} for somebody who thought "
        f"{BELIEFS[1]:.0%}. More non-members would show more."
    )


def _say_alarms(verdict: Verdict) -> list[str]:
    """What an alarm at the page's false alarm rate means."""
    sharp, rate = verdict.sharpest, verdict.thresholds.false_alarms.value
    if np.isnan(sharp.found):
        return []
    if not sharp.finds:
        others = " beyond those named above" if verdict.word == "leak" else ""
        return [
            f"An attacker who accepts false alarms on {rate:.0%} of the non-members learns nothing "
            f"that is sure about any single record{others}: members set off no more alarms than "
            f"chance explains."
        ]
    sentences = []
    for prior in BELIEFS:
        low, middle, high = (
            _posterior_chance(prior, share, rate)
            for share in (sharp.found_low, sharp.found, sharp.found_high)
        )
        sentences.append(
            f"Somebody who thinks the chance that a given record was used is {prior:.0%}, and sees "
            f"the attack {sharp.name} raise an alarm for it (false alarms: {rate:.0%}), should "
            f"then think it is {middle:.0%} (between {low:.0%} and {high:.0%})."
        )
    return sentences


def _posterior_chance(prior: float, found: float, alarms: float) -> float:
    """Bayes: the chance of a member among the records with an alarm."""
    return prior * found / (prior * found + (1 - prior) * alarms)


def list_assumptions(steps: Sequence[Step], worst: Worst, facts: Facts) -> list[str]:
    """What the attackers of the table were given beforehand."""
    ran = dict.fromkeys(step.access for step in steps if step.places is not None)
    sentences = [
        "Every attacker has the whole candidate record, all columns or pixels, and asks only "
        "whether it was used for training."
    ]
    sentences += [f"{a.replace('_', ' ')}: {KNOWS[a]}." for a in ran if a in KNOWS]
    if facts.distance:
        sentences.append(f"{facts.distance[0].upper()}{facts.distance[1:]}.")
    if any("reference" in step.what for step in steps if step.places is not None):
        sentences.append("Calibrated rows: reference records of the same kind besides.")
    if worst.references:
        sentences.append(
            f"Rows by LiRA and RMIA: the attacker can also train the generator, here "
            f"{worst.references} times on random halves of the records."
        )
    return sentences


def not_tried(steps: Sequence[Step], unselected: Sequence[str], worst: Worst) -> list[str]:
    """Attacks that did not run and why, those not selected, and what no audit tries."""
    skipped = [
        f"{step.name.replace('_', ' ')}: {step.what.removeprefix('not run: ')}"
        for step in steps
        if step.places is None
    ]
    others = ", ".join(name.replace("_", " ") for name in unselected)
    skipped += [f"attacks of this benchmark that were not selected: {others}"] if others else []
    return [*skipped, *([] if worst.references else [TRAINED]), *NEVER]
