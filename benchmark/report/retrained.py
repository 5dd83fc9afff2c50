"""What a ranking says of models that were trained again for some of its attacks.

Whoever enters an attack trains the victims anew where nobody hands the models over. The same
settings and seed give the same model on the same processor, with the same number of threads.
Elsewhere they may give another one, and attacks on it meet another leak.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

from benchmark.measures.numbers import format_number, spaced_name
from benchmark.measures.result import NO_ACCESS
from benchmark.report.collect import Outcome, Row, Study
from benchmark.report.entries import training_of, victim_of


def retrained_models(studies: Sequence[Study]) -> Iterator[str]:
    """Sentences on victims that some attacks met in another training than the first ones did."""
    pairs = list(_trained_again(studies))
    shared = [[(*pair, Row(name, "none")) for name in _attacks_of_both(pair)] for pair in pairs]
    moved = [[row for row in rows if not _has_the_same_scores(row)] for rows in shared]
    same = [bool(rows) and not apart for rows, apart in zip(shared, moved, strict=True)]
    if any(same):
        names = _names(pair for pair, is_same in zip(pairs, same, strict=True) if is_same)
        yield (
            f"Models that were trained again for {names}, and are those that the others met: "
            f"{sum(same)}. Attacks that met both trainings have the same scores."
        )
    if all(same):
        return
    others = [pair for pair, is_same in zip(pairs, same, strict=True) if not is_same]
    yield f"Models that were trained again: {len(others)}, for {_names(others)}."
    if unknown := sum(not rows for rows in shared):
        yield (
            f"Nobody knows of {unknown} of them whether they are the models that the others met. "
            "Name one of their attacks beside yours: attack=[mine,closest_record]."
        )
    if changed := [row for rows in moved for row in rows]:
        yield _largest_change(changed)


def _trained_again(studies: Iterable[Study]) -> Iterator[tuple[Outcome, Outcome]]:
    """The first outcome on each victim and seed, and each one on another training of it."""
    first: dict[tuple[str, int], Outcome] = {}
    for outcome in (outcome for study in studies for outcome in study.done):
        known = first.setdefault((victim_of(outcome), int(outcome.job.config.seed)), outcome)
        if training_of(known) != training_of(outcome):
            yield known, outcome


def _attacks(outcome: Outcome) -> Set[str]:
    """Attacks that looked at the model, by name."""
    rows = {row: numbers["access"] for row, numbers in outcome.numbers.items()}
    raw = (row.attack for row, own in rows.items() if own != NO_ACCESS and row.calibrated == "none")
    return dict.fromkeys(raw).keys()


def _attacks_of_both(pair: tuple[Outcome, Outcome]) -> Set[str]:
    return _attacks(pair[0]) & _attacks(pair[1])


def _names(pairs: Iterable[tuple[Outcome, Outcome]]) -> str:
    """The attacks on the later trainings, as a list for a reader."""
    return ", ".join(dict.fromkeys(spaced_name(name) for _, o in pairs for name in _attacks(o)))


def _has_the_same_scores(shared: tuple[Outcome, Outcome, Row]) -> bool:
    one, other, row = shared
    return bool(one.scored[row]["score"].equals(other.scored[row]["score"]))


def _largest_change(moved: Sequence[tuple[Outcome, Outcome, Row]]) -> str:
    """How far an attack's results on two trainings are apart, at most."""
    found = [(a.numbers[row]["auroc"], b.numbers[row]["auroc"], row) for a, b, row in moved]
    one, other, row = max(found, key=lambda pair: abs(pair[0] - pair[1]))
    return (
        f"They are other models: the AUROC of {row.text} was {format_number(one)}, and is "
        f"{format_number(other)} on one of them. With one seed no interval allows for that."
    )
