"""The machine that a job runs on: device, threads, precision, progress bars."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

import torch
from omegaconf import DictConfig
from pydantic import NonNegativeFloat, PositiveInt
from tqdm import tqdm

from benchmark.config.build import check
from victims.errors import UserError

ACCELERATORS = "cpu", "gpu"


PRECISIONS = "32-true", "bf16-mixed"


MACHINE: dict[str, Any] = {
    "threads": PositiveInt | None,
    "batch_size": PositiveInt,
    "checkpoint_every_s": NonNegativeFloat,
    "progress": bool,
    "renew": list[str],
}


SHOW_BAR = tqdm.__init__


def set_up(machine: DictConfig) -> None:
    """Threads and progress bars; neither may change a score beyond float rounding."""
    _refuse_unknown(machine)
    if machine.threads:
        torch.set_num_threads(machine.threads)
    torch.backends.cudnn.allow_tf32 = False  # else a GPU's convolutions keep three digits only
    # tqdm reads TQDM_DISABLE when it is imported, which is before any config is known.
    quiet = partialmethod(SHOW_BAR, disable=True)
    tqdm.__init__ = SHOW_BAR if machine.progress else quiet  # type: ignore


def _refuse_mistyped(machine: DictConfig) -> None:
    for name, wanted in MACHINE.items():
        check(f"machine.{name}", machine[name], wanted)


def _refuse_unknown(machine: DictConfig) -> None:
    """Refuse a device or a precision that this benchmark or this machine doesn't have."""
    _refuse_mistyped(machine)
    for name, known in {"accelerator": ACCELERATORS, "precision": PRECISIONS}.items():
        if machine[name] not in known:
            raise UserError(f"machine.{name}={machine[name]}: allowed are {', '.join(known)}")
    if machine.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("machine.accelerator=gpu: this machine has no CUDA device; use cpu")


def device_of(accelerator: str) -> torch.device:
    """The device that the setting machine.accelerator names."""
    return torch.device("cuda" if accelerator == "gpu" else "cpu")
