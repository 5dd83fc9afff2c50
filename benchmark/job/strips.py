"""A few queries beside what each reconstruction attack finds for them under the victim."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from attacks.base import Reconstructs
from benchmark.job.prepare import Prepared
from benchmark.measures.result import Strip
from benchmark.models import memory
from benchmark.scores.target import Attacker, Trained, drop_if_edited, filed_under

SHOWN = 8
"""Members, and as many non-members, in a strip of reconstructions."""


def strips_of_attacks(job: Prepared, target: Trained, ran: set[str]) -> dict[str, Strip]:
    """The strip of each attack that ran and gets one, by the attack's name."""
    return {
        name: strip_of_attack(job, attacker, target)
        for name, attacker in job.request.attackers.items()
        if has_strip(job, attacker) and name in ran
    }


def has_strip(job: Prepared, attacker: Attacker) -> bool:
    """Whether an attack gets a strip: it reconstructs, and records are images."""
    return isinstance(attacker.attack, Reconstructs) and job.trial.dataset.is_image


def strip_of_attack(job: Prepared, attacker: Attacker, target: Trained) -> Strip:
    """One attack's reconstructions of some queries, kept in the store like its scores.

    attacker: one of those that `has_strip` lets pass. target: the job's victim.
    """
    is_member, store = job.trial.queries.is_member, job.store
    places = [np.flatnonzero(is_member == kind)[:SHOWN] for kind in (True, False)]
    shown = job.trial.queries.take(np.concatenate(places))
    queries = shown.records(slice(None))
    filed, attack = filed_under(attacker, target, shown), cast(Reconstructs, attacker.attack)

    def make(folder: Path) -> None:
        fitting = memory.Fitting(target.view(attacker.access))
        losses, found = fitting(lambda view: attack.reconstruct(view, queries))
        np.savez(folder / "strip.npz", losses=losses, reconstructions=found.numpy())

    drop_if_edited(attacker, store, "strip", filed)
    stored = np.load(store.get("strip", filed, make, attacker.note) / "strip.npz")
    return Strip(queries.numpy(), stored["reconstructions"], shown.is_member, stored["losses"])
