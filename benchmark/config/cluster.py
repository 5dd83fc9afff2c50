"""A job on a SLURM cluster that is told to stop goes back into the queue instead of being lost."""

from __future__ import annotations

import os
import signal
import subprocess
from types import FrameType

TOLD = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)


def requeue_when_told() -> None:
    """Make SIGUSR1 and SIGTERM do what submitit does at SIGUSR2: queue this job again and exit.

    Training first finishes its step and saves (`training.interrupt`); an attack has saved its
    finished queries. A job that a person cancels also meets SIGTERM; it stays cancelled. Outside
    of a job that submitit started under SLURM, nothing changes.
    """
    requeue = signal.getsignal(signal.SIGUSR2)
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm" or not callable(requeue):
        return

    def told(number: int, frame: FrameType | None) -> None:
        for later in TOLD:  # SLURM ends what it requeues by SIGTERM: we are on our way out already
            signal.signal(later, signal.SIG_IGN)
        if number == signal.SIGTERM and not _is_wanted():
            raise SystemExit(128 + number)
        requeue(number, frame)

    for number in TOLD:
        signal.signal(number, told)


def task() -> tuple[int, int]:
    """Number of this process among the tasks of its SLURM job, from 0, and how many there are."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return 0, 1
    return int(os.environ.get("SLURM_PROCID", 0)), int(os.environ.get("SLURM_NTASKS", 1))


def _is_wanted() -> bool:
    """Whether SLURM would let this job run on: it is neither cancelled nor requeued already."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")  # the last task's SLURM_JOB_ID means the array
    job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}" if task else os.environ["SLURM_JOB_ID"]
    command = ["squeue", "--noheader", "--job", job, "--format", "%T"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return found.stdout.strip() == "RUNNING"
