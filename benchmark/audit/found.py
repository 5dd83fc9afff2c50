"""What an audit found, as data: the verdict, the table, and audit.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmark.audit import beside, words
from benchmark.audit.advice import next_steps
from benchmark.audit.facts import Exposed, Facts, RowPair
from benchmark.audit.steps import Step
from benchmark.audit.verdict import Verdict
from benchmark.audit.worst import Worst
from benchmark.measures.result import JobResult

SCHEMA = 2
"""Version of audit.json: raised when a field changes its meaning or goes."""


def without_nan(tree: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(tree, Mapping):
        return {str(name): without_nan(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [without_nan(value) for value in tree]
    if isinstance(tree, np.generic):
        tree = tree.item()
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree


@dataclass(frozen=True)
class Found:
    """What an audit found.

    result: table, scores, checks; verdict: what follows from them; steps: the plan; unselected:
    attacks of the benchmark that were not asked for; config: its settings, inputs with their paths;
    closest: of tables, the records that released ones come closest to, where they may be shown;
    worst: what is told of single records, where the generator could be trained anew.
    """

    result: JobResult
    config: dict[str, Any]
    verdict: Verdict
    steps: list[Step]
    facts: Facts
    exposed: list[Exposed]
    unselected: list[str]
    closest: Sequence[RowPair] = ()
    worst: Worst = field(default_factory=Worst)

    @property
    def word(self) -> str:
        """The verdict in one or a few words."""
        return self.verdict.word

    @property
    def exceeded(self) -> dict[str, str]:
        """Limits of fail_if that are exceeded, and why."""
        return self.verdict.exceeded

    @property
    def exit_code(self) -> int:
        """0, or 3 where a limit of fail_if is exceeded."""
        return self.verdict.exit_code

    @property
    def headline(self) -> list[str]:
        """The finding in a few sentences."""
        return words.write_headline(self.verdict, self.facts) + beside.told_of_records(
            self.verdict, self.worst
        )

    @property
    def beside(self) -> list[str]:
        """Other measures of the same release, and what they do not prove."""
        return beside.told_of_measures(self.verdict, self.result.copies)

    def summary(self) -> dict[str, Any]:
        """The verdict as plain numbers and text: the content of audit.json."""
        verdict = self.verdict
        rows = self.result.rows.replace({np.nan: None}).to_dict("records")
        return without_nan(
            {
                "schema": SCHEMA,
                "verdict": verdict.word,
                "headline": self.headline,
                "beside": self.beside,
                "strongest": asdict(verdict.strongest),
                "sharpest": asdict(verdict.sharpest),
                "first": asdict(verdict.first),
                "copied": verdict.copied,
                "nearly_copied": verdict.nearly,
                "spared": verdict.spared,
                "proven": verdict.proven,
                "unproven": verdict.unproven,
                "auroc_lower": verdict.strongest.gain[1],
                "auroc_upper": verdict.upper,
                "found_upper": verdict.found_upper,
                "level_of_each_statement": verdict.level,
                "thresholds": asdict(verdict.thresholds),
                "fail_if": verdict.limits,
                "exceeded": verdict.exceeded,
                "exit_code": verdict.exit_code,
                "distance": self.config["distance"]["_target_"].rpartition(".")[2],
                "facts": asdict(self.facts),
                "attacks": rows,
                "copies": self.result.copies.to_dict("records"),
                "checks": [asdict(check) for check in self.result.checks],
                "exposed": [{"id": e.id, "score": e.score, "above": e.above} for e in self.exposed],
                "worst": {
                    "runs": self.worst.runs,
                    "recognised": verdict.recognised,
                    "records": [
                        asdict(told) | {"proven": told.proven}
                        for told in self.worst.list_told(verdict.level)
                    ],
                },
                "assumed": words.list_assumptions(self.steps, self.worst, self.facts),
                "not_tried": words.not_tried(self.steps, self.unselected, self.worst),
                "next_steps": next_steps(verdict, self.facts),
                "provenance": self.result.provenance,
            }
        )
