"""`python -m benchmark`: run one job, or with `-m` or `+sweep=NAME` a sweep of jobs."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchmark import output, record
from benchmark.cluster import requeue_when_told
from benchmark.config import build, register_resolvers
from benchmark.result import JobResult
from victims.access import NonFiniteLoss, UserError

log = logging.getLogger(__name__)


EXPECTED = (UserError, NonFiniteLoss, OmegaConfBaseException)
"""Errors whose one line says it all; a traceback would only hide it."""


CONF = Path(__file__).parents[1] / "conf"


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
            print(f"error: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            if not expected:
                log.exception("this job failed")
        elif expected:
            sys.exit(2)
        else:
            raise


def _job(config: DictConfig) -> None:
    def make(config: DictConfig) -> JobResult:
        from benchmark import job  # torch takes seconds to import; a stored result needs none of it

        return job.run(config)

    logger = build(config.logger, "logger")
    found = record.obtain(config, make)
    folder = Path(HydraConfig.get().runtime.output_dir)
    output.print_table(found.result)
    page = output.write(found.result, folder, found.page)
    if found.fresh or config.logger.get("stored"):
        logger.log(found.result, folder)
    print(f"page: {page.absolute().as_uri()}\ntables and scores: {folder.absolute()}", flush=True)


register_resolvers()

if __name__ == "__main__":
    main()
