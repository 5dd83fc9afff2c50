"""What an attacker knows beside the victim: records of its own, and some of the victim's."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from benchmark.data.dataset import Dataset
from benchmark.data.split import Split
from victims.access import View
from victims.errors import NoAccess

MISSING = {
    "reference": "split.reference=0: the attacker owns no records",
    "members": "split.queries is as large as split.members: no member is left to be known",
}
"""Field of a view -> why it may be empty."""


def records(access: type[View], split: Split, dataset: Dataset) -> dict[str, np.ndarray]:
    """The fields of a view that the attacker brings along, each (m, *shape) float32."""
    return {name: dataset.records(rows).numpy() for name, rows in _rows(access, split).items()}


def digests(access: type[View], split: Split, dataset: Dataset) -> dict[str, str]:
    """The content of these fields, for the keys of what is found with their help."""
    return {name: dataset.digest(rows) for name, rows in _rows(access, split).items()}


def refuse_without(access: type[View], split: Split) -> None:
    """Raise NoAccess where the split leaves the attacker without what a view holds."""
    for name, rows in _rows(access, split).items():
        if not len(rows):
            raise NoAccess(MISSING[name])


def suffices(access: type[View], split: Split) -> bool:
    """Whether the split leaves the attacker all that a view holds."""
    return all(len(rows) for rows in _rows(access, split).values())


def incomparable(access: type[View], split: Split, trained_on: np.ndarray) -> str:
    """Why what a view tells of the victim is not as true of a model trained on these rows, or "".

    Known members are the victim's alone, and the attacker's own records are strangers to the
    victim, but not to a reference model that was trained on them.
    """
    rows = _rows(access, split)
    if "members" in rows:
        return "known members are the victim's only"
    if "reference" in rows and np.isin(rows["reference"], trained_on).any():
        return "the reference models were trained on the records that the attack knows"
    return ""


def _rows(access: type[View], split: Split) -> dict[str, np.ndarray]:
    """Row numbers for each field that the attacker brings along; members are never queries."""
    unqueried = split.members[~np.isin(split.members, split.queried)]
    known = {"reference": split.reference, "members": unqueried}
    return {field.name: known[field.name] for field in fields(access) if field.name in known}
