"""`python -m benchmark`: run one job, or with `-m` or `+sweep=NAME` a sweep of jobs."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchmark.config import imports
from benchmark.config.build import CONF, build
from benchmark.config.cluster import requeue_when_told, task
from benchmark.config.commandline import and_end, one_line, register_resolvers, run
from benchmark.job.filing import Filing
from benchmark.store.entries import Store
from benchmark.store.folders import claim
from benchmark.sweep import compose
from victims.errors import NonFiniteLoss, UserError

if TYPE_CHECKING:
    from benchmark.measures.result import JobResult

log = logging.getLogger(__name__)


EXPECTED = (UserError, NonFiniteLoss, OmegaConfBaseException)
"""Errors whose one line says it all; a traceback would only hide it."""

MANY = {"-m", "--multirun"}

FOLDER = "hydra.sweep.dir="


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> None:
    """Run one job, print its table, write its page, log a copy.

    A job of a sweep that fails leaves its record in the store, and the sweep goes on.
    """
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own affair
    requeue_when_told()
    try:
        _job(config)
    except Exception as error:
        expected = isinstance(error, EXPECTED)
        if expected:
            print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            if not expected:
                log.exception("this job failed")
        elif expected:
            sys.exit(2)
        else:
            raise


def _refuse_without_launcher() -> None:
    """Refuse to run a job here that was meant for a cluster: only a sweep is launched."""
    hydra_config = HydraConfig.get()
    launcher = hydra_config.runtime.choices["hydra/launcher"]
    if hydra_config.mode == RunMode.RUN and "slurm" in launcher:
        raise UserError(
            "machine=slurm: jobs are submitted with -m or +sweep=NAME only, a single one too; "
            "to run here, on a node with a GPU, choose machine=gpu"
        )


def _job(config: DictConfig) -> None:
    from benchmark.job import record  # with it comes pandas, which --help needs not wait for
    from benchmark.show import output, terminal

    if config.plan:
        from benchmark.sweep import plan

        words = HydraConfig.get().overrides.task
        possible = plan.show_plan(
            [compose.Job(tuple(words), config, {})], Store(config.machine.store)
        )
        sys.exit(0 if possible else 1)
    _refuse_without_launcher()

    def make() -> JobResult:
        print("not stored yet; bars show how long each training and attack takes", flush=True)
        with imports.kept_for_good():  # torch takes seconds; a stored result needs none of it
            from benchmark.job.run import run
        return run(config)

    number, tasks = task()
    if number:
        from benchmark.job.workers import assist

        return assist(config, number, tasks)
    logger = build(config.logger, "logger")
    folder = Path(HydraConfig.get().runtime.output_dir)
    lock = claim(folder, config)
    found = record.obtain_record(Filing(config), make)
    terminal.print_table(found.result)
    page = output.write_folder(found.result, folder, found.page)
    if found.fresh or config.logger.get("stored"):
        logger.log(found.result, folder)
    lock.release()
    print(f"page: {page.absolute().as_uri()}\ntables and scores: {folder.absolute()}", flush=True)


def command() -> None:
    """Run what the command line asks for; a sweep that has parts runs them one after the other."""
    flags = [word for word in sys.argv[1:] if word.startswith("-")]
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    lines, plain = [words], set(flags) <= MANY
    if any(word.lstrip("+").startswith("sweep=") for word in words) and plain:
        with suppress(Exception):  # what is wrong with a command line, Hydra says itself
            lines = [part.words for part in compose.parts_of_sweep(words)]
    if lines == [words]:  # else as it was written: an option's value must stay behind it
        sys.exit(_exit_code([*words, *flags] if plain else sys.argv[1:]))
    _plan(words)
    apart = [_in_own_folder(line, number) for number, line in enumerate(lines, 1)]
    sys.exit(max((_exit_code([*line, *flags]) for line in apart), default=0))


def _in_own_folder(words: list[str], number: int) -> list[str]:
    """The words of a sweep's part, whose jobs count from 0 as all others do: each has a folder."""
    return [f"{w}/part-{number}" if w.startswith(FOLDER) else w for w in words]


def _plan(words: list[str]) -> None:
    """Print what all parts of a sweep are going to do; end if that was all that was asked for."""
    from benchmark.sweep import plan

    try:
        jobs = compose.list_jobs(words)
        possible = plan.show_plan(jobs, Store(jobs[0].config.machine.store))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if jobs[0].config.plan:
        sys.exit(0 if possible else 1)


def _exit_code(words: list[str]) -> int:
    sys.argv[1:] = words
    try:
        run(main)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    return 0


def main_and_end() -> None:
    """The command, and the end of the process."""
    and_end(command)


register_resolvers()

if __name__ == "__main__":
    main_and_end()
