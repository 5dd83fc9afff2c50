"""One audit from what was handed in to a verdict, and everything that is written of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from benchmark.audit.again import restore_settings
from benchmark.audit.arguments import ATTACKED, SOURCES
from benchmark.audit.facts import checks_of, exposed_of, facts_of, near_copies_of
from benchmark.audit.found import Found
from benchmark.audit.given.case import Case
from benchmark.audit.given.gather import open_case
from benchmark.audit.given.inputs import name_of, place_of
from benchmark.audit.retrain import calibrations_of, retrain_and_score
from benchmark.audit.steps import Attacks, Step, choose_attacks, plan_steps, run_attacks
from benchmark.audit.verdict import SET_LIMIT, check_settings, judge_audit
from benchmark.config.build import choices, composing
from benchmark.config.commandline import one_line, refuse_nothing, register_resolvers
from benchmark.config.machine import machine_of
from benchmark.measures.result import JobResult
from benchmark.show import output, terminal
from benchmark.store.entries import Store
from benchmark.store.folders import refuse_another, with_home
from benchmark.store.keys import plain
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
        return run_audit(
            compose_audit(settings), {n: own for n, own in given.items() if own is not None}
        )


def compose_audit(settings: Sequence[str]) -> DictConfig:
    """The config with these settings. Raises UserError for what it does not have."""
    if isinstance(settings, str) or not all(isinstance(word, str) for word in settings):
        raise UserError(f"settings={settings!r}: a list of texts is needed, such as ['seed=1']")
    register_resolvers()
    words = with_home(settings)
    refuse_nothing(words)
    try:
        with composing():
            return restore_settings(compose("audit", words), words)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"settings: {one_line(error)}") from error


def run_audit(
    config: DictConfig, sources: Mapping[str, Any], console: Console | None = None
) -> Audit:
    """One audit. sources: name -> path or object, see SOURCES; config: as conf/audit.yaml.

    Raises UserError, one line, before any attack for whatever cannot be used.
    """
    if config.fail_if.get(SET_LIMIT) is not None:
        raise UserError(f"fail_if.{SET_LIMIT}: leave it out, it is a limit of suspects= alone")
    if "fit" in sources:
        calibrations_of(config)
    asked, case, steps, rows, scores = attack_case(config, sources, console)
    rows, scores, worst = retrain_and_score(config, asked, case, steps, (rows, scores))
    facts, (near, closest, rows_beside) = facts_of(case), near_copies_of(config, case)
    result = JobResult(
        title=f"Audit of {name_subject(sources)}: {facts.members} members, {facts.non_members} "
        f"non-members",
        config=plain(config) | {"given": {n: name_of(sources.get(n)) for n in SOURCES}},
        provenance=provenance(),
        rows=rows,
        scores=scores,
        copies=near,
        closest=closest,
        checks=checks_of(config, asked.blind, case, facts, rows, scores),
    )
    verdict = judge_audit(result, result.checks, config, facts.copies, worst)
    exposed = exposed_of(config, case, result, verdict)
    unselected = [name for name in choices("attack") if name not in asked.attacks]
    return Audit(
        result=result,
        config=with_places(config, sources),
        verdict=verdict,
        steps=steps,
        facts=facts,
        exposed=exposed,
        unselected=unselected,
        closest=rows_beside,
        worst=worst,
    )


class Attacked(NamedTuple):
    """What was asked of a case, the plan as it was carried out, rows and scores."""

    asked: Attacks
    case: Case
    steps: list[Step]
    rows: pd.DataFrame
    scores: pd.DataFrame


def attack_case(
    config: DictConfig,
    sources: Mapping[str, Any],
    console: Console | None,
    said_of: Callable[[str], str] = str,
) -> Attacked:
    """Read and check what was handed in, print the plan, and run it. See `run_audit`.

    said_of: how a sentence about members and non-members is to be said.
    """
    if unknown := set(sources) - set(SOURCES):
        raise UserError(f"{sorted(unknown)[0]}: allowed are {', '.join(SOURCES)}")
    machine_of(config.machine).set_up()
    check_settings(config)
    store = Store(Path(config.machine.store))
    store.check()
    asked = choose_attacks(config, store, sources)
    case = open_case(config, sources, store)
    steps = plan_steps(asked, case)
    if console is not None:
        left_out = case.left_out.list_checks(config.thresholds.overlap.value)
        said = [*case.notes, *(f"{check.name}: {check.message}" for check in left_out)]
        said += [f"{step.name.replace('_', ' ')}: {step.what}" for step in steps]
        console.print("Plan:")
        for sentence in said:
            console.print(f"  {said_of(sentence)}", markup=False, soft_wrap=True)
    rows, scores, steps = run_attacks(asked, case, steps)
    return Attacked(asked, case, steps, rows, scores)


def with_places(config: DictConfig, sources: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an audit, its inputs by their whole paths."""
    return plain(config) | {"given": {name: place_of(sources.get(name)) for name in SOURCES}}


def name_subject(sources: Mapping[str, Any]) -> str:
    """What is attacked, by its names."""
    names = [name_of(sources[n]) for n in ATTACKED if n in sources]
    return ", ".join(str(name) for name in names if name)
