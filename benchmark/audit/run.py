"""One audit from what was handed in to a verdict, and everything that is written of it.

config, inputs ── request ── case ─┬─ plan ── scores ─┬─ rows ─┬─ verdict ── page, audit.json
                                   ├─ fit: trainings ─┘        │
                                   └─ near copies, facts, ─────┘
                                      differences, checks
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from benchmark.audit.again import restore_settings
from benchmark.audit.arguments import ATTACKED
from benchmark.audit.differences import check_differences
from benchmark.audit.facts import checks_of, exposed_of, facts_of, near_copies_of
from benchmark.audit.found import Found
from benchmark.audit.given.case import Case
from benchmark.audit.given.gather import open_case
from benchmark.audit.given.inputs import name_of
from benchmark.audit.request import Request, open_request
from benchmark.audit.retrain import retrain_and_score
from benchmark.audit.steps import Step, distance_in_words, plan_steps, run_attacks
from benchmark.audit.verdict import judge_audit
from benchmark.config.build import choices, composing
from benchmark.config.commandline import one_line, refuse_mistakes, register_resolvers
from benchmark.measures.result import JobResult
from benchmark.show import output, terminal
from benchmark.store.folders import refuse_another, with_home
from benchmark.store.provenance import provenance
from victims.errors import UserError
from victims.given.networks import kept_as_before, networks_of


@dataclass(frozen=True)
class Audit(Found):
    """What an audit found, to print and to write."""

    def print(self, console: Console | None = None) -> None:
        """The table, the checks and the headline."""
        said = [*self.headline, *self.beside]
        print_found(self.result, said, self.verdict.exceeded, console)

    def write(self, folder: Path | str) -> Path:
        """Write audit.json, index.html, the scores and the table; return the page.

        Raises UserError where the folder holds another result; this audit's own is written anew.
        """
        from benchmark.audit.page import (
            render_audit,  # matplotlib: not needed for the numbers alone
        )

        return write_found(
            self.result, self.config, Path(folder), render_audit(self), self.summary()
        )


def print_found(
    result: JobResult, said: list[str], exceeded: Mapping[str, str], console: Console | None
) -> None:
    """The table, the checks, the sentences of the headline, and limits that are exceeded."""
    terminal.print_table(result, console)
    console = console or terminal.wide_console()
    for sentence in [*said, *(f"fail_if.{limit}: {why}" for limit, why in exceeded.items())]:
        console.print(sentence, markup=False, soft_wrap=True)


def write_found(
    result: JobResult, config: dict[str, Any], folder: Path, page: str, summary: dict[str, Any]
) -> Path:
    """Write audit.json, the page, the scores and the table; see `Audit.write`."""
    refuse_another(folder, config)
    scores = folder / "scores.parquet"  # objects of the same type have the same settings
    if scores.exists() and scores.read_bytes() != result.scores.to_parquet(index=False):
        raise UserError(f"{folder}: it holds an audit of other records; choose another folder")
    written = output.write_folder(result, folder, page, config)
    (folder / "audit.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return written


def audit(
    members: Any,
    non_members: Any,
    *,
    samples: Any = None,
    generator: Any = None,
    discriminator: Any = None,
    diffusion: Any = None,
    reference: Any = None,
    fit: Any = None,
    data: Any = None,
    settings: Sequence[str] = (),
) -> Audit:
    """How well attackers tell members from non-members, by everything else that is given.

    members, non_members, samples, reference: path, DataFrame or array: (n, d) for tables,
    (n, h, w), (n, c, h, w) or (n, h, w, c) for images; with `data`, the first two are ids in it.
    generator, discriminator: path, `my_module:function`, torch module, callable, or `Generator` and
    `Discriminator`, which take the size of the latent code, the range of pixels and the prior.
    diffusion: folder or pipeline of diffusers, or `Diffusion`, which takes a callable (x, t) ->
    noise and its schedule.
    fit: `my_module:function` or a callable that trains the generator anew, see `given.fit.Fit`.
    settings: as on the command line, "attack=[full_black_box]" or "fail_if.auroc_upper=0.6".
    Nothing is printed; modules are left as they were. Raises UserError, one line, for whatever
    cannot be used.
    """
    given = {
        "members": members,
        "non_members": non_members,
        "samples": samples,
        "generator": generator,
        "discriminator": discriminator,
        "diffusion": diffusion,
        "reference": reference,
        "fit": fit,
        "data": data,
    }
    with kept_as_before([generator, discriminator, *networks_of(diffusion)]):
        return run_audit(open_request(compose_audit(settings), given))


def compose_audit(settings: Sequence[str]) -> DictConfig:
    """The config with these settings. Raises UserError for what it does not have."""
    if isinstance(settings, str) or not all(isinstance(word, str) for word in settings):
        raise UserError(f"settings={settings!r}: a list of texts is needed, such as ['seed=1']")
    register_resolvers()
    words = with_home(settings)
    refuse_mistakes(words)
    try:
        with composing():
            return restore_settings(compose("audit", words), words)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"settings: {one_line(error)}") from error


def run_audit(request: Request, console: Console | None = None) -> Audit:
    """The life of an audit; whatever the store holds is not done again.

    What was handed in is read, the models are tried, and the queries are drawn. The plan says what
    each attack will do; then the attacks score the queries. Where the generator can be trained
    anew, that adds rows and what is told of single records. The rest counts, doubts and judges.
    Raises UserError, one line, before any attack for whatever cannot be used.
    """
    request.machine.set_up()
    case = open_case(request)
    steps = plan_steps(request, case)
    print_plan(console, request, case, steps)

    attacked = run_attacks(request, case, steps)
    attacked, worst = retrain_and_score(request, case, attacked)

    near, apart = near_copies_of(request, case), check_differences(request, case)
    facts = facts_of(request, case, near)
    result = JobResult(
        title=f"Audit of {name_subject(request)}: {facts.members} members, {facts.non_members} "
        f"non-members",
        config=request.named_settings,
        provenance=provenance(),
        rows=attacked.rows,
        scores=attacked.scores,
        copies=near.table,
        closest=near.pictures,
        checks=checks_of(request, case, facts, attacked, apart),
    )
    verdict = judge_audit(result, result.checks, request, facts.copies, worst, facts.cells)
    return Audit(
        result=result,
        config=request.repeatable_settings,
        verdict=verdict,
        steps=attacked.steps,
        facts=facts,
        exposed=exposed_of(request, case, result, verdict),
        unselected=[name for name in choices("attack") if name not in request.attackers],
        closest=near.rows,
        worst=worst,
    )


def print_plan(
    console: Console | None,
    request: Request,
    case: Case,
    steps: Sequence[Step],
    said_of: Callable[[str], str] = str,
) -> None:
    """How the inputs were read, and what each attack will do; nothing without a console.

    said_of: how a sentence about members and non-members is to be said.
    """
    if console is None:
        return
    left_out = case.left_out.list_checks(request.thresholds.overlap.value)
    said = [*case.notes, *(f"{check.name}: {check.message}" for check in left_out)]
    said += [by for by in [distance_in_words(request, case)] if by]
    said += [f"{step.name.replace('_', ' ')}: {step.what}" for step in steps]
    console.print("Plan:")
    for sentence in said:
        console.print(f"  {said_of(sentence)}", markup=False, soft_wrap=True)


def name_subject(request: Request) -> str:
    """What is attacked, by its names."""
    names = [name_of(request.sources[n]) for n in ATTACKED if n in request.sources]
    return ", ".join(str(name) for name in names if name)
