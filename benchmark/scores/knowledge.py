"""What an attacker knows beside the victim: records of its own, and some of the victim's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.data.dataset import Dataset
from benchmark.data.split import Split
from victims.access import Shadow, View, of_victim, parts_of_view, setting_of
from victims.errors import NoAccess, Unsuited

if TYPE_CHECKING:  # with it comes Lightning, which audits need not wait for
    from benchmark.models.recipe import Model

MISSING = {
    "reference": "split.reference=0: the attacker owns no records",
    "members": "split.queries is as large as split.members: no member is left to be known",
}
"""Field of a view -> why it may be empty."""


def known_records(access: type[View], split: Split, dataset: Dataset) -> dict[str, np.ndarray]:
    """The fields of a view that the attacker brings along, each (m, *shape) float32."""
    return {
        name: dataset.records(rows).numpy() for name, rows in _known_rows(access, split).items()
    }


def known_digests(access: type[View], split: Split, dataset: Dataset) -> dict[str, str]:
    """The content of these fields, for the keys of what is found with their help."""
    return {name: dataset.digest(rows) for name, rows in _known_rows(access, split).items()}


def refuse_without(access: type[View], split: Split) -> None:
    """Raise NoAccess where the split leaves the attacker without what a view holds."""
    for name, rows in _known_rows(access, split).items():
        if not len(rows):
            raise NoAccess(MISSING[name])


def split_suffices(access: type[View], split: Split) -> bool:
    """Whether the split leaves the attacker all that a view holds."""
    return all(len(rows) for rows in _known_rows(access, split).values())


def has_shadows(access: type[View]) -> bool:
    """Whether the attacker brings along models of its own: the reference models."""
    return "shadows" in parts_of_view(access)


def why_no_strangers(access: type[View]) -> str:
    """Why the attacker's own records are no strangers to a view, or ""."""
    if {"reference", "shadows"} & {*parts_of_view(access)}:
        return "it knows the attacker's own records already"
    return ""


def known_shadows(
    access: type[View], models: Sequence[Model], split: Split, dataset: Dataset, batch_size: int
) -> tuple[Shadow, ...]:
    """The reference models as an attacker uses them that learns from their members.

    access: of the attack; each model shows the part of it that a victim grants.
    Raises Unsuited where there are none, or none with records of the attacker's left out.
    """
    if not models:
        raise Unsuited("it learns on reference models, and there are none")
    found = []
    for model in models:
        known = divided_records(model.recipe.rows, split)
        own = of_victim(access)
        if not model.victim.can_grant(own):
            raise Unsuited(f"the reference models do not grant {setting_of(own)}")
        shown = model.victim.view(own, *model.bank_for(own), batch_size, schema=dataset.schema)
        found.append(Shadow(shown, *(dataset.records(rows).numpy() for rows in known)))
    return tuple(found)


def divided_records(trained_on: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """The attacker's own records that a reference model was trained on, and those it left out.

    Raises Unsuited where either is empty.
    """
    inside = np.isin(split.reference, trained_on)
    if inside.all() or not inside.any():
        raise Unsuited(
            f"it learns on reference models, of which each must have learnt some of the attacker's "
            f"own records and left out others; reference.members must be below "
            f"split.reference={len(split.reference)}"
        )
    return split.reference[inside], split.reference[~inside]


def why_incomparable(access: type[View], split: Split, trained_on: np.ndarray) -> str:
    """Why what a view tells of the victim is not as true of a model trained on these rows, or "".

    Known members are the victim's alone, and the attacker's own records are strangers to the
    victim, but not to a reference model that was trained on them.
    """
    rows = _known_rows(access, split)
    if has_shadows(access):
        return "it has learnt on the reference models already"
    if "members" in rows:
        return "known members are the victim's only"
    if "reference" in rows and np.isin(rows["reference"], trained_on).any():
        return "the reference models were trained on the records that the attack knows"
    return ""


def _known_rows(access: type[View], split: Split) -> dict[str, np.ndarray]:
    """Row numbers for each field that the attacker brings along; members are never queries."""
    unqueried = split.members[~np.isin(split.members, split.queried)]
    known = {"reference": split.reference, "members": unqueried}
    return {name: known[name] for name in parts_of_view(access) if name in known}
