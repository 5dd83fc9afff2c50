"""A job's models made at the same time: several processes take what nobody else has begun.

    this process ──┬─ starts the others ─ train, then attack what is free ─ waits ─ goes on as one
    worker 1, 2, … └─ open the same config ─ train, then attack what is free ─ end

The locks of the store decide who makes what. A worker writes nothing but its entries. In a SLURM
job of several tasks the first one is the job, and the others are the workers, on any node.
"""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partialmethod
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from benchmark.config import imports
from benchmark.config.cluster import task
from benchmark.config.commandline import one_line, register_resolvers
from benchmark.config.machine import SHOW_BAR, Machine
from benchmark.job.assemble import judge_victim
from benchmark.job.attack import incomparable, is_granted, scores_under, target_of
from benchmark.job.prepare import Prepared, Trial, load_distances, read_and_draw
from benchmark.job.request import open_request
from benchmark.job.strips import has_strip, strip_of_attack
from benchmark.models.recipe import Model, obtain_model
from benchmark.scores import knowledge
from benchmark.store.entries import Busy, Store
from victims.errors import NoAccess, Unsuited

log = logging.getLogger(__name__)

MEMORY = 1.2 * 2**30
"""Bytes that a worker is taken to need."""


def side_by_side(job: Prepared) -> None:
    """Train a job's models and attack them in several processes, where that pays.

    It ends when nothing is left, or when only what other jobs make is. What a worker could not do
    is left to this process. A stopped job stops its workers; they keep what they have done.
    """
    if task()[1] > 1:  # SLURM has started the others
        do_what_is_free(job, first=0)
        return
    missing = [not job.store.has("victim", recipe.filed_under(data)) for recipe, data in job.models]
    count = workers(job.request.machine, sum(missing))
    if count < 2:
        return
    every = torch.get_num_threads()
    threads = max(1, every // count)
    context, given = multiprocessing.get_context("spawn"), job.request.settings
    processes = [
        context.Process(
            target=imports.call,  # which imports this file in the worker
            args=(__name__, _work.__name__, given, number, count, threads),
            daemon=True,
        )
        for number in range(1, count)
    ]
    for process in processes:
        process.start()
    torch.set_num_threads(threads)
    try:
        do_what_is_free(job, first=0)
        for process in processes:
            process.join()
    finally:
        torch.set_num_threads(every)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def workers(machine: Machine, missing: int) -> int:
    """How many processes shall make so many models: a core each, and as memory allows."""
    if machine.workers is not None:
        return min(machine.workers, missing)
    if machine.accelerator != "cpu" or multiprocessing.current_process().daemon:
        return 1
    return min(missing, torch.get_num_threads(), int(_memory() // MEMORY))


def _memory() -> float:
    """Bytes that processes can still take; half of what there is where the system says no more."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable"))
        return float(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def do_what_is_free(job: Prepared, first: int) -> None:
    """Train each model that nobody else trains; then make each score that nobody else makes.

    All trainings come first: attacks take less time each, so that they end more evenly.
    first: number of the model to begin with, so that workers do not meet.
    """
    hasty = dataclasses.replace(job, store=Store(job.store.root, waits=False))
    trials = [job.trial, *([job.canaries] if job.canaries else [])]
    made = [(trial.recipe, trial) for trial in trials]
    made += [(recipe, job.trial) for recipe in job.references]
    made = [*made[first:], *made[:first]]
    for recipe, trial in made:
        with suppress(Busy):
            obtain_model(recipe, hasty.workshop(trial))
    for recipe, trial in made:
        with suppress(Busy):
            _attack(hasty, trial, obtain_model(recipe, hasty.workshop(trial)))


def _attack(hasty: Prepared, trial: Trial, model: Model) -> None:
    """Make the scores of one model that nobody else makes; of the victim all that is shown."""
    is_victim = model.recipe is hasty.trial.recipe
    is_reference = model.recipe is not trial.recipe
    target = target_of(hasty, trial, model, [])
    for attacker in hasty.request.attackers.values() if trial.is_attacked else ():
        access = attacker.access
        useless = not hasty.scores_references or incomparable(access, target)
        if (is_reference and useless) or knowledge.has_shadows(access):
            continue
        if is_granted(access, model, trial):
            with suppress(Busy, Unsuited, NoAccess):
                scores_under(hasty, trial, attacker, target)
                if is_victim and has_strip(hasty, attacker):
                    strip_of_attack(hasty, attacker, target)
    if is_victim:
        model.draw_bank()  # the job looks at its samples, whatever the attacks do
        judge_victim(hasty, model)


# --- in a worker ----------------------------------------------------------------------------------


def assist(
    settings: Mapping[str, Any], number: int, count: int, threads: int | None = None
) -> None:
    """Do what is free of a job, as worker `number` of `count`.

    Whatever goes wrong is left to the job, which meets it itself.
    settings: the job's whole config. threads: of this process; None = as the config says.
    """
    try:
        request = open_request(DictConfig(settings))
        request.machine.set_up()
        if threads is not None:
            torch.set_num_threads(threads)
        if request.machine.progress:  # each worker has a line of its own
            tqdm.__init__ = partialmethod(SHOW_BAR, position=number)  # type: ignore
        job = read_and_draw(request)
        load_distances(job)
        do_what_is_free(job, first=number * len(job.models) // count)
    except Exception as error:
        log.warning("worker %d stopped: %s", number, one_line(error))


def _work(settings: dict[str, Any], number: int, count: int, threads: int) -> None:
    """A process of its own that assists a job."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    register_resolvers()
    try:
        assist(settings, number, count, threads)
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_parent() -> None:
    """End this process once the job's has ended, however that died; a step in hand is kept."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
