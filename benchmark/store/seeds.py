"""Every random choice has its own seed, drawn from the job's seed by the choice's name."""

from __future__ import annotations

import json
from hashlib import sha256


def sub_seed(seed: int, *names: str | int) -> int:
    """The seed of one named choice, in [0, 2**63); the same in every run and on every platform.

    Never depends on the order in which choices are made, so that adding an attack to a job, or
    resuming it, changes no other attack's numbers. The number 1 and the text "1" are two names.
    """
    digest = sha256(json.dumps([seed, *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
