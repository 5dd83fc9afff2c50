"""What Hydra calls before a sweep and at its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from victims.errors import UserError

if TYPE_CHECKING:  # what a sweep needs takes a second, and a single job is told nothing here
    from benchmark.sweep.compose import Job


class Hooks(Callback):
    """What Hydra calls: the plan before a sweep, at its end the table and the failures.

    Ends the process with code 1 if any job has no result, with 2 if the sweep makes no sense.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the plan; with plan=true, stop, with code 1 if a job cannot run."""
        from pydantic import PositiveInt

        from benchmark.config.build import check
        from benchmark.job.filing import renewed_attacks
        from benchmark.store.entries import Store
        from benchmark.sweep import plan
        from benchmark.sweep.compose import jobs_of_config

        try:
            check("machine.processes", config.machine.get("processes", 1), PositiveInt)
            self.jobs = jobs_of_config(config)
            for job in self.jobs:
                renewed_attacks(job.config)
            possible = plan.show_plan(self.jobs, Store(config.machine.store))
        except UserError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            sys.exit(2)
        if config.plan:
            sys.exit(0 if possible else 1)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print what became of the jobs."""
        from benchmark.sweep import summary

        if not summary.print_summary(self.jobs):
            sys.exit(1)

    def __getstate__(self) -> dict[str, Any]:
        return {"jobs": []}  # a job on another node is sent its callbacks, and needs no other job
