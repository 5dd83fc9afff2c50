"""What is claimed, each claim as a test that was fixed before it was run.

Sources of the claims: see `benchmark.report.claims`. The p-values are one-sided, in the direction
of the claim, and corrected by Holm's method over all findings that have one. A claim that says
"and" or "every" has several parts and is tested by the weakest, the one with the largest p-value.
It is rejected where one of its parts is surely less than the effect worth the claim: p-values of
that, times the parts, corrected over all findings likewise (a correction that was added during the
first reference run; it can only make rejections fewer). Claims about leaks are tested on the AUROC,
and beside it on the true positive rate at 1% false positives, corrected among themselves: each of
the two promises 5%. Each data set of a study is tested by itself: its parts are parts of the claim,
and one that lacks what a claim needs is named (a rule from before the first images beside digits
were run). Results whose checks void them are left out and counted. Attacks are compared without
calibration unless the claim is about it; which attack stands for an access, see
`benchmark.report.evidence`; what a seed's error is, and what is assumed, see
`benchmark.measures.estimate`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from benchmark.measures.estimate import Estimate
from benchmark.measures.metrics import holm
from benchmark.measures.numbers import count_of, spaced_name
from benchmark.report.claims import CLAIMS, Claim
from benchmark.report.collect import Outcome, Study
from benchmark.report.evidence import Evidence, Score, data_set_of
from benchmark.report.findings import Finding, too_few
from benchmark.report.means import Lacking


def judge_claims(studies: Sequence[Study]) -> list[Finding]:
    """Every claim, tested on what there is; claims about leaks in both scores."""
    by_name = {study.name: study for study in studies}
    leaks = [claim for claim in CLAIMS if claim.is_leak]
    first = holm_corrected(
        _finding_of(claim, by_name.get(claim.study), "auroc") for claim in CLAIMS
    )
    other = holm_corrected(
        _finding_of(claim, by_name.get(claim.study), "tpr_at_1") for claim in leaks
    )
    beside = dict(zip(leaks, other, strict=True))
    return [dataclasses.replace(own, beside=beside.get(own.claim)) for own in first]


def holm_corrected(measured: Iterable[Finding]) -> list[Finding]:
    """The findings with the p-values that hold for all of them together."""
    found = list(measured)
    tested = [i for i, finding in enumerate(found) if finding.is_tested]
    if not tested:
        return found
    above = [found[i].weakest[1].p_value for i in tested]
    worth = [
        min(1.0, len(found[i].parts) * found[i].least[1].p_at_least(found[i].claim.margin))
        for i in tested
    ]
    columns = [holm(p_values) for p_values in (above, worth)]
    for i, p_holm, p_worth in zip(tested, *columns, strict=True):
        found[i] = dataclasses.replace(
            found[i], p_holm=float(p_holm), p_worth=float(p_worth), together=len(tested)
        )
    return found


def _finding_of(claim: Claim, study: Study | None, score: Score) -> Finding:
    if study is None or not study.done:
        command = study.command if study else f"python -m benchmark +sweep={claim.study} -m"
        why = f"no job of the study {claim.study} is done"
        return Finding(claim, lacking=why, command=command, score=score)
    kept, left_out = without_void_results(study, claim.voids)
    evidence = Evidence(kept, score)
    parts, lacking = _on_each_data_set(claim, evidence)
    several = len(parts) + len(lacking) > 1
    why = "; ".join(f"{spaced_name(data)}: {said}" if several else said for data, said in lacking)
    tested = _evidence_on(parts, evidence) if parts else evidence
    return Finding(
        claim,
        parts=_with_data_in_names(parts) if several else next(iter(parts.values()), {}),
        lacking="" if parts else why,
        command=study.command,
        score=score,
        families=evidence.families,
        data={data: _victims_of(own) for data, own in parts.items()} if several else {},
        untested=f"not tested on {why}" if parts and why else "",
        left_out=left_out,
        choice=tested.choice if claim.is_leak else "",
    )


def _victims_of(parts: Mapping[str, Estimate]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts.values() for name in part.victims))


def _with_data_in_names(parts: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """The parts of each data set as one, and whom they leave aside; each says on which data."""
    return {
        f"{name}, {spaced_name(data)}" if len(parts) > 1 else name: part._replace(
            aside=tuple(f"{victim} on {spaced_name(data)}" for victim in part.aside)
        )
        for data, own in parts.items()
        for name, part in own.items()
    }


def _on_each_data_set(
    claim: Claim, evidence: Evidence
) -> tuple[dict[str, dict[str, Estimate]], list[tuple[str, str]]]:
    """Data set -> the claim's parts there; and pairs of a data set and what it lacks.

    Where one has enough repetitions, those with fewer are among the latter.
    """
    parts: dict[str, dict[str, Estimate]] = {}
    lacking: list[tuple[str, str]] = []
    for data in _data_sets_of(evidence.study):
        own_evidence = _evidence_on([data], evidence)
        if not own_evidence.study.done:
            lacking.append((data, "no result"))
            continue
        try:
            parts[data] = claim.measure(own_evidence)
        except Lacking as error:
            lacking.append((data, str(error)))
    few = {data: too_few(claim, own) for data, own in parts.items()}
    if not all(few.values()):
        lacking += [(data, too) for data, too in few.items() if too]
        parts = {data: own for data, own in parts.items() if not few[data]}
    return parts, lacking


def _data_sets_of(study: Study) -> list[str]:
    """The data sets of a study, whether or not they have results."""
    return list(dict.fromkeys(data_set_of(o) for o in study.outcomes))


def _evidence_on(data: Collection[str], evidence: Evidence) -> Evidence:
    """What the study says of these data sets."""
    own = tuple(o for o in evidence.study.outcomes if data_set_of(o) in data)
    return dataclasses.replace(evidence, study=dataclasses.replace(evidence.study, outcomes=own))


def without_void_results(study: Study, voids: Sequence[str]) -> tuple[Study, str]:
    """The study without results that an error or one of these checks voids, and what that was."""
    kept, why, several = [], dict[str, list[str]](), len(_data_sets_of(study)) > 1
    for outcome in study.outcomes:
        checks = outcome.record.result.checks if outcome.record else []
        void = [check.name for check in checks if check.level == "error" or check.name in voids]
        kept.append(Outcome(outcome.job, f"left out: {void[0]}") if void else outcome)
        if void:
            at = study.coordinates(outcome.job)
            on = f" on {spaced_name(at['data'])}" if several else ""
            why.setdefault(void[0], []).append(f"{at['victim']}{on}")
    if not why:
        return study, ""
    names = ", ".join(
        f"{name}: {len(own)} ({', '.join(dict.fromkeys(own))})" for name, own in why.items()
    )
    left = sum(map(len, why.values()))
    text = f"{left} of {count_of(len(study.done), 'results')} left out ({names})"
    return dataclasses.replace(study, outcomes=tuple(kept)), text
