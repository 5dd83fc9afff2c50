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
from benchmark.report.ranking import training_of, victim_of


def retrained_models(studies: Sequence[Study]) -> Iterator[str]:
    """Sentences on victims that some attacks met in another training than the first ones did."""
    pairs = list(_trained_again(studies))
    if not pairs:
        return
    names = dict.fromkeys(spaced_name(name) for _, other in pairs for name in _attacks(other))
    yield f"Models that were trained again: {len(pairs)}, for {', '.join(names)}."
    shared = [(*pair, name) for pair in pairs for name in _attacks(pair[0]) & _attacks(pair[1])]
    if unknown := len(pairs) - len({id(other) for _, other, _ in shared}):
        yield (
            f"Nobody knows of {unknown} of them whether they are the models that the others met. "
            "Name one of their attacks beside yours: attack=[mine,closest_record]."
        )
    if shared:
        yield _largest_change(shared)


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


def _largest_change(shared: Sequence[tuple[Outcome, Outcome, str]]) -> str:
    """How far an attack's results on two trainings are apart, at most."""
    rows = [(a, b, Row(name, "none")) for a, b, name in shared]
    if all(a.scored[row]["score"].equals(b.scored[row]["score"]) for a, b, row in rows):
        return "Attacks that met both trainings have the same scores: these are the same models."
    found = [(a.numbers[row]["auroc"], b.numbers[row]["auroc"], row) for a, b, row in rows]
    one, other, row = max(found, key=lambda pair: abs(pair[0] - pair[1]))
    return (
        f"They are other models: the AUROC of {row.text} was {format_number(one)}, and is "
        f"{format_number(other)} on one of them. With one seed no interval allows for that."
    )
