"""Training a victim so that it can be stopped at any moment and ends in the same weights."""

from __future__ import annotations

import logging
import os
import time
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from victims.base import Victim
from victims.errors import UserError
from victims.seeded import seed_step
from victims.training.batches import Batches, PartBatches, PoissonBatches, Records
from victims.training.interrupt import HeldSignals

log = logging.getLogger(__name__)

CHECKPOINT = "last.ckpt"
EARLIER = "earlier.ckpt"
"""The checkpoint before the last: what is left if a disk damages that one."""
WEIGHTS = "weights.safetensors"
LOSSES = "losses.csv"


@dataclass(frozen=True)
class Training:
    """How a victim is trained on this machine; nothing here may change the weights on a CPU.

    accelerator, precision: Lightning's; checkpoint_every_s: seconds between checkpoints.
    """

    accelerator: str = "cpu"
    precision: str = "32-true"
    checkpoint_every_s: float = 30.0


class Progress(pl.Callback):
    """Counts and seeds the steps, writes checkpoints, resumes from the last one, shows a bar.

    bar: one that several trainings share, or None for a bar of its own.
    """

    def __init__(
        self, folder: Path, seed: int, training: Training, title: str, bar: tqdm | None = None
    ) -> None:
        self.path, self.seed, self.training, self.title = folder / CHECKPOINT, seed, training, title
        self.shared = bar
        self.resumed = _load_checkpoint(self.path)
        self.done: int = self.resumed["done"] if self.resumed else 0
        self.history: list[dict[str, float]] = self.resumed["history"] if self.resumed else []
        self.written = time.monotonic()
        self.signals = HeldSignals()
        self.by_hand = False

    def restore_victim(self, victim: Victim) -> None:
        """Give the victim the checkpoint's weights, unless they are another version's."""
        if self.resumed and not _weights_fit(self.resumed["weights"], victim):
            log.warning("%s does not fit; training starts from step 0", self.path)
            self.resumed, self.done, self.history = None, 0, []
        if self.resumed:
            victim.load_state_dict(self.resumed["weights"])

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take up the optimisers where the checkpoint left them."""
        if self.resumed:
            for optimizer, state in zip(
                trainer.optimizers, self.resumed["optimizers"], strict=True
            ):
                optimizer.load_state_dict(state)
            log.warning("%s: resumed after step %d", self.title, self.done)
            self.resumed = None
        steps = self.done + int(trainer.num_training_batches)
        self.bar = training_bar(self.title, steps) if self.shared is None else self.shared
        skip_steps(self.bar, self.done)
        self.log_every = max(1, steps // 200)
        self.signals.hold_signals()

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the step by its number."""
        seed_step(self.seed, self.done)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Count the step and note the losses; checkpoint when it is time or a signal has come."""
        self.done += 1
        self.bar.update()
        if self.done % self.log_every == 0:
            self.bar.set_postfix({k: f"{v:.3f}" for k, v in module.losses.items()}, refresh=False)
            self.history.append({"step": self.done, **module.losses})
        told = self.signals.arrived is not None
        if told or time.monotonic() - self.written >= self.training.checkpoint_every_s:
            self.save_checkpoint(trainer, module)
        if told:
            log.warning("%s: stopped after step %d, which is kept", self.title, self.done)
            self.signals.deliver_signal()

    def save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Replace the checkpoint, atomically."""
        state = {
            "done": self.done,
            "history": self.history,
            "weights": module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        }
        partial = self.path.with_suffix(".new")
        with partial.open("wb") as stream:
            torch.save(state, stream)
            os.fsync(stream.fileno())
        if self.path.exists():
            os.replace(self.path, self.path.with_name(EARLIER))
        os.replace(partial, self.path)
        self.written = time.monotonic()

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        """Remember Ctrl-C, which Lightning turns into an exit: a sweep would not stop at that."""
        self.by_hand = isinstance(exception, KeyboardInterrupt)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Let signals through again and close the bar, unless others go on with it."""
        self.signals.release_signals()
        if hasattr(self, "bar") and self.shared is None:
            self.bar.close()


def fit_victim(
    victim: Victim,
    records: Records,
    *,
    size: int,
    folder: Path,
    work: Path,
    seed: int,
    training: Training,
    title: str = "training",
    bar: tqdm | None = None,
) -> None:
    """Train `victim` and write its weights (safetensors) and loss curve (CSV) into `folder`.

    records: row numbers within the training set (m,) -> records (m, *shape); size: of that set.
    bar: counts the steps of several trainings; without it this one shows its own.
    work: where the checkpoint lives; a later call with the same arguments goes on from it, and
    ends in the weights of an uninterrupted run (bit for bit on a CPU with as many threads).
    A victim that has a mechanism is trained privately, on Poisson batches.
    Raises NonFiniteLoss, with the last good checkpoint kept in `work`.
    """
    work.mkdir(parents=True, exist_ok=True)
    progress = Progress(work, seed, training, title, bar)
    progress.restore_victim(victim)
    if progress.done == 0 and victim.mechanism is None:
        victim.begin(records, size, seed)
    if progress.done < victim.steps:
        span = progress.done, victim.steps, seed
        own = victim.batches(records, size, *span)
        batches = own or Batches(records, size, victim.batch_size, *span)
        if victim.parts > 1:
            turns = victim.parts, victim.part
            batches = PartBatches(records, size, victim.batch_size, *span, *turns)
        elif victim.mechanism is not None:
            batches = PoissonBatches(records, size, victim.mechanism.sample_rate, *span)
            if victim.canaries is not None:
                victim.canaries.drawn = batches.rows_of_batch
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*srun.*")  # on a login node; we start no processes
            trainer = _build_trainer(training, progress)
            try:
                trainer.fit(victim, DataLoader(batches, batch_size=None))
            except SystemExit:
                if progress.by_hand:
                    raise KeyboardInterrupt from None
                raise
    save_file({k: v.contiguous().cpu() for k, v in victim.state_dict().items()}, folder / WEIGHTS)
    pd.DataFrame(progress.history).to_csv(folder / LOSSES, index=False)


def load_victim(victim: Victim, folder: Path) -> Victim:
    """Give `victim` the weights that `fit_victim` wrote, frozen for release; no code is executed.

    Raises UserError where another version of its class wrote them.
    """
    weights = load_file(folder / WEIGHTS)
    if not _weights_fit(weights, victim):
        raise UserError(
            f"{folder / WEIGHTS}: these are no weights of this version's network; "
            f"delete the folder {folder} and run again"
        )
    victim.load_state_dict(weights)
    return victim.freeze_for_release()


def training_bar(title: str, steps: int) -> tqdm:
    """A progress bar over training steps, with the time that the rest will take."""
    return tqdm(total=steps, desc=title, unit="step", mininterval=1.0)


def skip_steps(bar: tqdm, steps: int) -> None:
    """Advance a bar by steps that were done earlier: they count, but not for its speed."""
    if not bar.disable:
        bar.initial += steps
        bar.last_print_n += steps
        bar.n += steps
        bar.refresh()


def _build_trainer(training: Training, progress: Progress) -> pl.Trainer:
    """A Lightning trainer that only loops: checkpoints, bar and logs are ours."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    return pl.Trainer(
        accelerator=training.accelerator,
        devices=1,
        precision=training.precision,  # type: ignore[arg-type]
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[progress],
        plugins=[LightningEnvironment()],  # under SLURM too: requeueing is the launcher's affair
    )


def _weights_fit(weights: Mapping[str, Tensor], victim: Victim) -> bool:
    """Whether names and shapes are the victim's: a misfit would be noticed half-way through."""
    own = victim.state_dict()
    return {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in own.items()}


def _load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The last whole checkpoint, or None where there is none; executes no code."""
    for candidate in (path, path.with_name(EARLIER)):
        if candidate.exists():
            try:
                return _read_checkpoint(candidate)
            except Exception as error:  # whatever is wrong with it, an earlier one may be whole
                log.warning("checkpoint %s is damaged: %s", candidate, str(error).split("\n")[0])
    return None


def _read_checkpoint(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # torch.load looks at no checksum
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} has changed")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if state.keys() != {"done", "history", "weights", "optimizers"}:
        raise ValueError("it is of another version")
    return state
