"""Where a job's record is filed in the store.

A result is filed under the resolved config, in which the data's identity stands for its path; of
`machine` only the precision of training counts, logger and the sweep's name are left out.
"""

from __future__ import annotations

import json
from functools import cache, cached_property
from typing import Any

from omegaconf import DictConfig

from benchmark.config.build import build, check, choices
from benchmark.config.commandline import command
from benchmark.store.entries import Store
from benchmark.store.keys import code_of_package, key, plain, settings
from victims.errors import UserError

FORMAT = 6
"""Raise it when a result holds or means something else: stored ones are then made again, from the
stored scores."""


class Filing:
    """Where a job's record is filed, and what is noted there: read from its config, without torch.

    settings: what determines a failure. renew: attacks that are scored anew where they were edited.
    Raises UserError where a value of the config cannot be stored, or an attack to renew is none.
    """

    def __init__(self, config: DictConfig) -> None:
        self.settings = settings(config)
        self.store, self.renew = Store(config.machine.store), renewed_attacks(config)
        self.whole: dict[str, Any] = plain(config)
        self.note = {"command": command(self.whole), "sweep": config.sweep}

    @cached_property
    def result(self) -> dict[str, Any]:
        """What determines a result: the settings, with the data's content for its place.

        Of a package's generator its code counts too.
        """
        data = json.loads(_identity_of_data(json.dumps(self.settings["data"])))
        own = code_of_package(self.settings["victim"])
        return self.settings | {"data": data, "format": FORMAT, **own}

    @property
    def name(self) -> str:
        """One name for all jobs that have the same settings."""
        return key(self.settings)


def renewed_attacks(config: DictConfig) -> set[str]:
    """The attacks of `machine.renew`; UserError for a name that is no attack."""
    names = config.machine.renew
    if not names:
        return set()
    check("machine.renew", names, list[str])
    known = {*config.attack, *choices("attack")}
    if unknown := sorted({*names} - known):
        raise UserError(
            f"machine.renew={unknown}: there is no such attack; known are "
            f"{', '.join(sorted(known))}"
        )
    return {*names}


@cache
def _identity_of_data(data: str) -> str:
    """The identity of a data config (JSON), as JSON; it may hash files, so only once a process."""
    return json.dumps(build(DictConfig(json.loads(data)), "data").identity())
