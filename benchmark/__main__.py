"""`python -m benchmark`: run one job, or with `-m` or `+sweep=NAME` a sweep of jobs."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from benchmark.config import build, register_resolvers
from victims.access import UserError
from victims.base import NonFiniteLoss

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(config: DictConfig) -> None:
    """Run one job, print its table, write its page, log a copy."""
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's own affair
    try:
        _job(config)
    except (UserError, NonFiniteLoss, OmegaConfBaseException) as error:
        # One line for a person; the traceback would only hide it.
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        sys.exit(2)


def _job(config: DictConfig) -> None:
    from benchmark import job, output  # torch takes seconds to import; --help needs none of it

    logger = build(config.logger, "logger")
    result = job.run(config)
    folder = Path(HydraConfig.get().runtime.output_dir)
    output.print_table(result)
    page = output.write(result, folder)
    logger.log(result, folder)
    print(f"page: {page.absolute().as_uri()}\ntables and scores: {folder.absolute()}")


register_resolvers()

if __name__ == "__main__":
    main()
