"""The benchmark: one job turns a configuration into rows of a table that can be trusted."""

import ctypes
import os
import sys

# Before torch loads OpenMP: its idle threads shall sleep. Those that spin starve whatever else runs
# on the machine, themselves first (bench/busy.py). What a user has set stays.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

MALLOC_LARGEST, MALLOC_TRIM = -3, -1
"""glibc's numbers of two settings: what is mapped by itself, what is handed back when freed."""


def keep_freed_memory() -> None:
    """Let glibc keep what a training step frees for the next step.

    By itself it hands large blocks back at once, and the system clears each page anew: thousands a
    step. Up to 256 MiB stay with the process. What a user has set stays too.
    """
    tuned = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if sys.platform != "linux" or tuned:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(MALLOC_LARGEST, 32 << 20)  # the largest that it takes
        mallopt(MALLOC_TRIM, 256 << 20)


keep_freed_memory()
