"""What does not fit into memory is tried again with fewer records at a time."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from victims.access import View
from victims.errors import UserError

log = logging.getLogger(__name__)


T = TypeVar("T")


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class Fitting:
    """A view through which attacks run out of memory only if a single record does not fit."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __call__(self, work: Callable[[Any], T]) -> T:
        """`work(view)`; where memory runs out, again with half as many records in a call."""
        while True:
            try:
                return work(self.view)
            except (RuntimeError, MemoryError) as error:
                self._halve_batch(error)
            torch.cuda.empty_cache()  # no-op without a GPU; here, where the failed call is gone

    def _halve_batch(self, error: Exception) -> None:
        text = str(error).lower()
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not any(
            known in text for known in OUT_OF_MEMORY
        ):
            raise error
        if self.view.batch_size == 1:
            raise UserError(
                "machine.batch_size=1: even a single record does not fit into memory; "
                "choose a smaller model or a machine with more memory"
            ) from error
        self.view = dataclasses.replace(self.view, batch_size=self.view.batch_size // 2)
        log.warning("memory ran out: going on with batch size %d", self.view.batch_size)
