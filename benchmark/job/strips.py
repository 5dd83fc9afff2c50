"""A few queries beside what each reconstruction attack finds for them under the victim."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from attacks.base import Reconstructs
from benchmark.job.prepare import Prepared
from benchmark.measures.result import Strip
from benchmark.models import memory
from benchmark.scores.target import Attacker, Trained, drop_if_edited, filed_under, scores_of
from benchmark.store.entries import Busy

SHOWN = 8
"""Members, and as many non-members, in a strip of reconstructions."""

Found = tuple[np.ndarray, Tensor]
"""What `Reconstructs.reconstruct` gives."""


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


def scores_with_strip(
    job: Prepared, attacker: Attacker, target: Trained
) -> tuple[np.ndarray, float]:
    """Scores of the job's queries under its victim, and their seconds, as `scores_of` gives them.

    What the attack reconstructs on its way is not searched for again: it becomes the strip, which
    is kept before the scores are. So a job that is killed has both, or makes both anew.
    """
    attack, calls = copy.copy(attacker.attack), count()

    def reconstruct(view: Any, queries: Tensor) -> Found:
        found = cast(Reconstructs, attacker.attack).reconstruct(view, queries)
        if not next(calls):
            with suppress(Busy):
                strip_of_attack(job, attacker, target, partial(_find_among, queries, found))
        return found

    vars(attack)["reconstruct"] = reconstruct  # for `score`, which asks itself
    watched = dataclasses.replace(attacker, attack=attack)
    return scores_of(watched, target, job.trial.queries, job.store)


def _find_among(known: Tensor, found: Found, queries: Tensor) -> Found | None:
    """What was found for these queries (m, *shape), which the first of those known (n, *shape) are.

    None where they are not: a stopped attack goes on behind them.
    """
    where = [np.flatnonzero((known == query).flatten(1).all(1))[:1] for query in queries]
    rows = np.concatenate(where)
    return (found[0][rows], found[1][rows]) if len(rows) == len(queries) else None


def strip_of_attack(
    job: Prepared,
    attacker: Attacker,
    target: Trained,
    known: Callable[[Tensor], Found | None] = lambda queries: None,
) -> Strip:
    """One attack's reconstructions of some queries, kept in the store like its scores.

    attacker: one of those that `has_strip` lets pass. target: the job's victim.
    known: queries (n, *shape) -> what `reconstruct` would find for them, if that is known.
    """
    is_member, store = job.trial.queries.is_member, job.store
    places = [np.flatnonzero(is_member == kind)[:SHOWN] for kind in (True, False)]
    shown = job.trial.queries.take(np.concatenate(places))
    queries = shown.records(slice(None))
    filed, attack = filed_under(attacker, target, shown), cast(Reconstructs, attacker.attack)

    def make(folder: Path) -> None:
        fitting = memory.Fitting(target.view(attacker.access))
        losses, found = known(queries) or fitting(lambda view: attack.reconstruct(view, queries))
        np.savez(folder / "strip.npz", losses=losses, reconstructions=found.numpy())

    drop_if_edited(attacker, store, "strip", filed)
    stored = np.load(store.get("strip", filed, make, attacker.note) / "strip.npz")
    return Strip(queries.numpy(), stored["reconstructions"], shown.is_member, stored["losses"])
