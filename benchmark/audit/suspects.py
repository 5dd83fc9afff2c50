"""Was a whole set of records used for training? Suspects against records that certainly were not.

All attacks' scores of a record are its features. If the suspects were not used and are drawn as the
unseen records are, no classifier can tell the two by them: `set_p_value` tests that. The same test
on what the records are like, and tests of how far they lie from one another, see no model. They
must be far from finding anything, or the sets may differ by themselves.
Source: see `benchmark.measures.dataset_inference`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from benchmark.audit.found import SCHEMA, without_nan
from benchmark.audit.given.doubts import doubt_columns
from benchmark.audit.given.gather import open_case
from benchmark.audit.request import SET_LIMIT, Request, open_request
from benchmark.audit.run import (
    compose_audit,
    name_subject,
    print_found,
    print_plan,
    write_found,
)
from benchmark.audit.steps import plan_steps, run_attacks
from benchmark.data.queries import Queries
from benchmark.measures import checks
from benchmark.measures.blind import Blind
from benchmark.measures.checks import Check
from benchmark.measures.dataset_inference import set_p_value
from benchmark.measures.numbers import format_p_value
from benchmark.measures.pairs import scores_by_row
from benchmark.measures.remoteness import compare_remoteness
from benchmark.measures.result import JobResult
from benchmark.store.provenance import provenance
from benchmark.store.seeds import sub_seed
from victims.errors import UserError
from victims.given.networks import kept_as_before, networks_of

ALIKE = 0.1
"""Tests without a model must give at least this p-value before a set is called used: one that just
misses its level is no sign that two sets are alike."""
WORDS = ("used", "not shown", "inconclusive")
SAID = {
    "non_members": "unseen",
    "non-members": "unseen records",
    "non-member": "unseen record",
    "members": "suspects",
    "member": "suspect",
}
"""What audits call records -> what audits of sets call them."""


@dataclass(frozen=True)
class Finding:
    """p_value: of "suspects and unseen records are alike to the model"; blind_p_value: of "they are
    alike", by all tests without a model together, NaN where nobody looked. suspects, unseen: how
    many were judged. features: rows of the table whose scores they were judged by. level: p-values
    under it count.
    """

    p_value: float
    blind_p_value: float
    suspects: int
    unseen: int
    features: tuple[str, ...]
    level: float

    @property
    def word(self) -> str:
        """One of WORDS. Where the sets may differ by themselves, or nobody looked, nothing is
        shown."""
        if self.p_value >= self.level:
            return "not shown"
        return "used" if self.blind_p_value >= ALIKE else "inconclusive"

    def headline(self) -> list[str]:
        """What was found, in sentences."""
        said = {
            "used": (
                "If both sets were drawn alike, the suspects were used: the model treats them "
                "unlike records it never saw."
            ),
            "not shown": "It is not shown that the suspects were used.",
            "inconclusive": "It cannot be told whether the suspects were used.",
        }[self.word]
        found = [
            said,
            f"{self.suspects} suspects and {self.unseen} unseen records, by "
            f"{len(self.features)} scores each: p {format_p_value(self.p_value)} "
            f"(exact permutation test; under {self.level:g} counts).",
        ]
        if np.isnan(self.blind_p_value):
            return [*found, "Nobody looked whether the two sets differ by themselves (blind=none)."]
        found.append(
            f"Tests without any model: p {format_p_value(self.blind_p_value)}. {self._say_apart()}"
        )
        if self.word == "not shown":
            found.append("That proves nothing: more suspects, or more access, may show it.")
        return found

    def _say_apart(self) -> str:
        """Whether the two sets differ by themselves."""
        if self.blind_p_value < self.level:
            return "The two sets differ by themselves; draw both from one source."
        if self.blind_p_value < ALIKE:
            return "The two sets may differ by themselves; draw both from one source, and more."
        none = "No difference was found between the two sets by themselves."
        if self.word != "used":
            return none
        return f"{none} One too small for these tests could make the model's scores differ too."


@dataclass(frozen=True)
class SetAudit:
    """What an audit of a set found, to print and to write."""

    result: JobResult
    config: dict[str, Any]
    finding: Finding

    @property
    def word(self) -> str:
        """See `Finding.word`."""
        return self.finding.word

    @property
    def exceeded(self) -> dict[str, str]:
        """The limit of fail_if, where it is exceeded, and why."""
        limit, p = self.config["fail_if"].get(SET_LIMIT), self.finding.p_value
        if limit is None or self.word != "used" or p >= limit:
            return {}
        return {SET_LIMIT: f"{p:.4g} is under {limit:g}"}

    @property
    def exit_code(self) -> int:
        """0, or 3 where the limit of fail_if is exceeded."""
        return 3 if self.exceeded else 0

    def print(self, console: Console | None = None) -> None:
        """The table, the checks and the headline."""
        print_found(self.result, self.finding.headline(), self.exceeded, console)

    def write(self, folder: Path | str) -> Path:
        """Write audit.json, index.html, the scores and the table; see `Audit.write`."""
        from benchmark.audit.page import render_set  # matplotlib takes a second to import

        page = render_set(self.result, self.word, self.finding.headline(), self.exceeded)
        return write_found(self.result, self.config, Path(folder), page, self.summary())

    def summary(self) -> dict[str, Any]:
        """The finding as plain numbers and text: the content of audit.json."""
        return without_nan(
            {
                "schema": SCHEMA,
                "verdict": self.word,
                "headline": self.finding.headline(),
                **asdict(self.finding),
                "fail_if": {SET_LIMIT: self.config["fail_if"].get(SET_LIMIT)},
                "exceeded": self.exceeded,
                "exit_code": self.exit_code,
                "attacks": self.result.rows.replace({np.nan: None}).to_dict("records"),
                "checks": [asdict(check) for check in self.result.checks],
                "provenance": self.result.provenance,
            }
        )


def audit_set(
    suspects: Any,
    unseen: Any,
    *,
    samples: Any = None,
    generator: Any = None,
    discriminator: Any = None,
    diffusion: Any = None,
    reference: Any = None,
    data: Any = None,
    settings: Sequence[str] = (),
) -> SetAudit:
    """Whether a set of suspects was used for training; unseen: records of the same kind, not used.

    The arguments are those of `audit`, with suspects in place of members. Raises UserError, one
    line, for whatever cannot be used.
    """
    given = {
        "suspects": suspects,
        "unseen": unseen,
        "samples": samples,
        "generator": generator,
        "discriminator": discriminator,
        "diffusion": diffusion,
        "reference": reference,
        "data": data,
    }
    with kept_as_before([generator, discriminator, *networks_of(diffusion)]):
        return run_set_audit(open_request(compose_audit(settings), given))


def run_set_audit(request: Request, console: Console | None = None) -> SetAudit:
    """The life of an audit of a set, as `benchmark.audit.run.run_audit` up to the scores."""
    request.machine.set_up()
    with _of_suspects():
        case = open_case(request)
        steps = plan_steps(request, case)
        print_plan(console, request, case, steps, said_of=of_suspects)
        attacked = run_attacks(request, case, steps)
        finding = find_in_suspects(request, case.queries, attacked.scores)
    found = case.left_out.list_checks(request.thresholds.overlap.value) + doubt_columns(case)
    statuses = attacked.rows[["attack", "status"]].itertuples(index=False, name=None)
    found += checks.failed_attacks({"attack": a, "status": status} for a, status in statuses)
    result = JobResult(
        title=f"Were {finding.suspects} suspects used? Audit of {name_subject(request)}",
        config=request.named_settings,
        provenance=provenance(),
        rows=attacked.rows,
        scores=attacked.scores,
        checks=[Check(c.name, c.level, of_suspects(c.message)) for c in found],
    )
    return SetAudit(result, request.repeatable_settings, finding)


def find_in_suspects(request: Request, queries: Queries, scores: pd.DataFrame) -> Finding:
    """Test suspects, the members among the queries, against the others, with and without a model.

    Attacks that search the latent space score some of the records only; where such ran, these are
    the ones that are judged. Raises UserError for fewer than two of a kind.
    """
    columns, member = scores_by_row(scores)
    features = np.stack(list(columns.values()), axis=1)
    judged = ~np.isnan(features).any(axis=1)
    sizes = int((judged & member).sum()), int((judged & ~member).sum())
    if min(sizes) < 2:
        raise UserError(f"{sizes[0]} suspects and {sizes[1]} unseen records: at least 2 are needed")
    seed = sub_seed(request.seed, "suspects")
    asked = queries.take(np.flatnonzero(np.isin(queries.numbers, _judged_queries(scores, judged))))
    return Finding(
        p_value=set_p_value(features[judged & member], features[judged & ~member], seed),
        blind_p_value=_blind_p_value(request.blind, asked, seed),
        suspects=sizes[0],
        unseen=sizes[1],
        features=tuple(" + ".join(row).removesuffix(" + none") for row in columns),
        level=request.thresholds.set_level.value,
    )


def _judged_queries(scores: pd.DataFrame, judged: np.ndarray) -> np.ndarray:
    """Numbers of the queries that are judged; in the order of `scores_by_row`."""
    return np.unique(scores["query"].to_numpy())[judged]


def _blind_p_value(baseline: Blind | None, queries: Queries, seed: int) -> float:
    """P-value of the same test on what the records are like, and of tests on how far they lie from
    one another, all together (Bonferroni); NaN where that was not asked for."""
    if baseline is None:
        return np.nan
    features, member = baseline.features_of(queries, seed), queries.is_member
    p = set_p_value(features[member], features[~member], seed)
    return min(1.0, 2 * min(p, compare_remoteness(queries)[1]))


@contextmanager
def _of_suspects() -> Iterator[None]:
    """Mistakes are named by the words in which the question was asked."""
    try:
        yield
    except UserError as error:
        raise UserError(of_suspects(str(error))) from error


def of_suspects(text: str) -> str:
    """A sentence about members and non-members as one about suspects and unseen records.

    >>> of_suspects("non_members=b.csv: 3 members and 4 non-members")
    'unseen=b.csv: 3 suspects and 4 unseen records'
    >>> of_suspects("members=members.csv: no member or no non-member")
    'suspects=members.csv: no suspect or no unseen record'
    """
    return re.sub(rf"(?<![\w/.'-])({'|'.join(SAID)})(?!\w|[/.]\w)", lambda m: SAID[m[1]], text)
