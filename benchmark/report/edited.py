"""What a report says of scores that were made by code which was edited since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmark.job.record import edited_attacks
from benchmark.measures.numbers import spaced_name
from benchmark.report.collect import Outcome


def edited_since(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """A sentence on the attacks whose file was edited after they were scored, if any was."""
    found = dict.fromkeys(
        name
        for outcome in outcomes
        if outcome.record
        for name in edited_attacks(outcome.job.filing, outcome.record.result)
    )
    if found:
        yield (
            f"Scores that may be of older code, because the attack's file was edited since: "
            f"{', '.join(map(spaced_name, found))}. machine.renew=[NAME] scores anew."
        )
