"""An attack at work on a target, the same for jobs and audits: learn, score, store."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from attacks.base import Attack, Learns
from benchmark.data.dataset import Dataset
from benchmark.data.queries import Queries
from benchmark.data.split import Split
from benchmark.scores import knowledge, scoring
from benchmark.store.entries import Store, plain, read_meta
from victims.access import View
from victims.schema import Schema

if TYPE_CHECKING:  # with it comes Lightning, which audits need not wait for
    from benchmark.models.recipe import Model

log = logging.getLogger(__name__)

LEARNT = 2
"""Enters the keys of what attacks learn, and of their scores. Raise it if these were wrong: in 1
some arrays came back scrambled."""


def missing_numbers(schema: Schema | None) -> dict[str, str]:
    """What keys say of missing numbers where there are some: attacks once took jobs' for 0."""
    return {"missing": "mean"} if schema is not None and schema.has_gaps else {}


class Target(Protocol):
    """What is attacked: it grants views, and knows what is found there is filed under."""

    kind: ClassVar[str]
    """The kind of the store's entries that hold scores."""

    def view(self, access: type[View]) -> Any:
        """What an attacker may touch; raises NoAccess where there is no such part."""
        ...

    def filed_under(self, access: type[View]) -> dict[str, Any]:
        """What determines what is found through this view; empty where nothing stands for it."""
        ...


@dataclass(frozen=True)
class Attacker:
    """An attack with the name it was selected by.

    filed: its settings as they enter keys. note: stands beside what it makes, see `note_of`.
    renew: whether what older code of it made is made anew.
    """

    name: str
    attack: Attack
    filed: dict[str, Any]
    note: dict[str, str]
    renew: bool = False

    @property
    def access(self) -> type[View]:
        """The view that it needs."""
        return self.attack.access


def attackers(
    attacks: Mapping[str, Attack], settings: Mapping[str, Any], renew: Sequence[str] = ()
) -> dict[str, Attacker]:
    """The selected attacks by name. settings: name -> its config; renew: names."""
    return {
        name: Attacker(
            name=name,
            attack=attack,
            filed={"attack": plain(settings[name])},
            note=scoring.note_of(name, settings[name]),
            renew=name in renew,
        )
        for name, attack in attacks.items()
    }


@dataclass(frozen=True)
class Trained:
    """A trained model, and what its attacker knows beside it: a target of jobs.

    shadows: the reference models, for attacks that learn on these.
    """

    model: Model
    split: Split
    dataset: Dataset
    batch_size: int
    shadows: Sequence[Model] = field(default_factory=list)

    kind: ClassVar[str] = "scores"

    def view(self, access: type[View]) -> Any:
        """What an attacker may touch; raises NoAccess where the model has no such part."""
        brought: dict[str, Any] = {"schema": self.dataset.schema}
        brought |= knowledge.known_records(access, self.split, self.dataset)
        if knowledge.has_shadows(access):
            known = access, self.shadows, self.split, self.dataset, self.batch_size
            brought["shadows"] = knowledge.known_shadows(*known)
        model = self.model
        return model.victim.view(access, *model.bank_for(access), self.batch_size, **brought)

    def filed_under(self, access: type[View]) -> dict[str, Any]:
        """The model, and the content of what its attacker brings along."""
        filed: dict[str, Any] = {"model": self.model.config, **missing_numbers(self.dataset.schema)}
        filed |= knowledge.known_digests(access, self.split, self.dataset)
        if knowledge.has_shadows(access) and self.shadows:
            filed["shadows"] = [own.config for own in self.shadows]
        return filed


def scores_of(
    attacker: Attacker, target: Target, queries: Queries, store: Store, together: int | None = None
) -> tuple[np.ndarray, float]:
    """Scores (q,) of the queries, from the store or made now, and the seconds they took when made.

    together: how many queries are scored in one go; by default what the attack spends decides.
    Raises BadScores where scores are not finite or not one a query.
    """
    attack, view = attacker.attack, target.view(attacker.access)
    blocks = queries.blocks(together or scoring.chunk(attack))
    if not target.filed_under(attacker.access):
        start = time.monotonic()
        return scoring.score_all(attack.score, view, blocks), time.monotonic() - start
    filed = filed_under(attacker, target)
    drop_if_edited(attacker, store, "learnt", filed)
    score, learning = scoring.ready_to_score(store, filed, attacker.note, attack, view)

    def make(folder: Path) -> None:
        log.info("attack %s: %d queries", attacker.name, len(queries))
        work = scoring.work_folder(folder, attacker.note)
        np.save(folder / "scores.npy", scoring.score_all(score, view, blocks, work))

    filed = filed_under(attacker, target, queries)
    drop_if_edited(attacker, store, target.kind, filed)
    folder = store.get(target.kind, filed, make, {**attacker.note, "queries": len(queries)})
    return np.load(folder / "scores.npy"), float(read_meta(folder)["seconds"]) + learning


def filed_under(
    attacker: Attacker, target: Target, queries: Queries | None = None
) -> dict[str, Any]:
    """What determines whatever an attack learns of a target, or finds there for these queries."""
    asked = {} if queries is None else {"queries": queries.digest}
    learns = {"learnt": LEARNT} if isinstance(attacker.attack, Learns) else {}
    return {**attacker.filed, **target.filed_under(attacker.access), **asked, **learns}


def drop_if_edited(attacker: Attacker, store: Store, kind: str, filed: dict[str, Any]) -> None:
    """Drop an entry that other code of an attack made, where `machine.renew` names the attack.

    What the present code made stays: a job that is stopped goes on, and jobs share what they made.
    """
    stored = attacker.renew and store.has(kind, filed)
    if stored and made_by(store, kind, filed) != attacker.note["code"]:
        store.drop(kind, filed)


def made_by(store: Store, kind: str, filed: dict[str, Any]) -> str:
    """Digest of the code that made an entry, "" where none is noted."""
    return str(read_meta(store.folder(kind, filed))["note"].get("code", ""))
