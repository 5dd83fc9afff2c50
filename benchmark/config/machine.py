"""The machine that a job runs on: device, threads, precision, progress bars."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partialmethod
from typing import Literal, get_type_hints

import torch
from omegaconf import DictConfig
from pydantic import NonNegativeFloat, PositiveInt
from tqdm import tqdm

from benchmark.config.build import check
from benchmark.store.keys import plain
from victims.errors import UserError

SHOW_BAR = tqdm.__init__


@dataclass(frozen=True)
class Machine:
    """Where and how fast a job runs; of all this only the precision changes what is found.

    store: folder of what is made once. accelerator: cpu, or gpu for CUDA.
    workers: processes that train a job's models and attack them; None = as many as pay.
    precision: of training. threads: of the job, all workers together; None = as torch chooses.
    batch_size: records in one call to a network. checkpoint_every_s: seconds between checkpoints.
    progress: whether bars are shown.
    renew: attacks whose scores are made anew where their file was edited since.
    """

    store: str
    accelerator: Literal["cpu", "gpu"]
    precision: Literal["32-true", "bf16-mixed"]
    workers: PositiveInt | None
    threads: PositiveInt | None
    batch_size: PositiveInt
    checkpoint_every_s: NonNegativeFloat
    progress: bool
    renew: list[str]

    @property
    def device(self) -> torch.device:
        """Where networks are."""
        return torch.device("cuda" if self.accelerator == "gpu" else "cpu")

    def set_up(self) -> None:
        """Threads and progress bars; neither may change a score beyond float rounding.

        Raises UserError where there is no such device.
        """
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise UserError("machine.accelerator=gpu: this machine has no CUDA device; use cpu")
        if self.threads:
            torch.set_num_threads(self.threads)
        torch.backends.cudnn.allow_tf32 = False  # else a GPU's convolutions keep three digits only
        # tqdm reads TQDM_DISABLE when it is imported, which is before any config is known.
        quiet = partialmethod(SHOW_BAR, disable=True)
        tqdm.__init__ = SHOW_BAR if self.progress else quiet  # type: ignore


def machine_of(config: DictConfig) -> Machine:
    """What the part `machine` of a config says; each value is checked by its annotation."""
    for name, wanted in get_type_hints(Machine, include_extras=True).items():
        check(f"machine.{name}", config[name], wanted)
    return Machine(**{name: plain(config[name]) for name in get_type_hints(Machine)})
