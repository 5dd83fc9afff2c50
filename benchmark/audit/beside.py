"""What an audit says beside its verdict: of single records, and of measures taken for proofs."""

from __future__ import annotations

import pandas as pd

from benchmark.audit.verdict import Verdict
from benchmark.audit.worst import Worst

AVERAGE_AND_WORST = (
    "Average case: how well all records together are told from others, with what was released "
    "once. The table of attacks speaks of this. It is what an attacker learns of a record drawn at "
    "random.",
    "Worst case: how well the presence of one chosen record is told, by somebody who knows all "
    "other training records and can train the generator again and again. A good average can hide a "
    "record that is always recognised, most often an unusual one.",
    "The records were chosen before these trainings: one half lies furthest from the five nearest "
    "other members, one half was most exposed in the table of attacks. All intervals hold "
    "together, so it is fair to pick the worst of them. Records that were not chosen may be worse.",
)
"""What the two kinds of numbers of an audit with `fit` mean."""


def told_of_records(verdict: Verdict, worst: Worst) -> list[str]:
    """What was told of single records, where the generator was trained anew for them."""
    if not worst.games or verdict.word == "invalid":
        return []
    told, many = worst.list_told(verdict.level), len(worst.games)
    best, highest = told[0], max(t.upper for t in told)
    if not verdict.recognised:
        return [
            f"Worst case: of {many} records that were chosen beforehand, none is recognised better "
            f"than by guessing in {worst.runs} trainings with and without it. An AUROC above "
            f"{highest:.3f} is ruled out for each of them, with either sign."
        ]
    area, low, high = best.gain
    sign = ", its sign turned" if best.turned else ""
    return [
        f"Worst case: of {many} records that were chosen beforehand, {len(verdict.recognised)} "
        f"{'is' if len(verdict.recognised) == 1 else 'are'} recognised: "
        f"{', '.join(verdict.recognised)}. Surest is record {best.id}, by the {best.by}{sign}: "
        f"AUROC {area:.3f} [{low:.3f}, {high:.3f}] over {worst.runs} trainings with and "
        f"without it."
    ]


def told_of_measures(verdict: Verdict, measured: pd.DataFrame) -> list[str]:
    """What is often taken for a proof of privacy, beside the strongest attack on the same release.

    measured: as `measures.copies.table` gives it, or empty.
    """
    if measured.empty or verdict.word == "invalid":
        return []
    names = measured["measure"]
    ours, theirs = (
        dict(zip(names, measured[kind], strict=True)) for kind in ("members", "held_out")
    )
    area, low, high = verdict.strongest.gain
    return [
        f"DCR share {ours['DCR share']:.3f} (0.5: samples lie no closer to members than to "
        f"non-members); NNDR "
        f"{ours['NNDR']:.3f} against {theirs['NNDR']:.3f}; {ours['exact copies']:.1%} of "
        f"the members that were asked about have an exact copy, of non-members "
        f"{theirs['exact copies']:.1%}, by "
        f"{measured['by'].iloc[0]}. "
        f"The strongest attack on the same release: "
        f"AUROC {area:.3f} [{low:.3f}, {high:.3f}].",
        "That such measures look fine proves nothing. They are means over released records, while "
        "an attack asks about each training record; releases that passed them gave members away "
        "(The DCR Delusion, 2025, arXiv 2505.01524).",
    ]
