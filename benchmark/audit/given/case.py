"""The case of an audit: the records in one space, and what an attacker may touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from benchmark.audit.given.fit import Fit, Run
from benchmark.audit.given.inputs import Records
from benchmark.audit.given.selection import LeftOut
from benchmark.audit.given.space import ImageSpace, TableSpace
from benchmark.data.dataset import Dataset
from benchmark.data.queries import Queries
from benchmark.scores.target import missing_numbers
from benchmark.store.keys import key
from victims.access import PartialBlackBox, View, grant_view

Space = ImageSpace | TableSpace
BLOCK = 1024
"""Records hashed at a time."""
WITHOUT = {
    "released": "no samples and no generator are given",
    "codes": "no generator is given whose latent code can be chosen",
    "differentiate": "the generator is not differentiable",
    "discriminate": "no discriminator is given",
    "reconstruct": "an audit takes no encoder",
    "reference": "no reference records are given",
    "members": "an audit has no attacker who knows members",
    "denoise": "no diffusion model is given",
    "vary": "no diffusion model is given",
    "shadows": "an audit has no models of the attacker's own whose members are known",
    "gradient_norms": "an audit takes no gradients of weights",
}
"""Field of a view -> why an audit may not have it."""


@dataclass(frozen=True)
class Strangers:
    """The reference records as if they had been released: a target.

    parts: by the names of views' fields.
    """

    parts: dict[str, Any]

    kind: ClassVar[str] = "audit"

    def view(self, access: type[View]) -> Any:
        """The records."""
        return grant_view(self.parts, access)

    def filed_under(self, access: type[View]) -> dict[str, Any]:
        """A hash of the records."""
        return {"reference": hash_content(self.parts["released"]), **_key_of_columns(self.parts)}


@dataclass(frozen=True)
class Case:
    """Everything that attacks may use: an audit's target.

    given: inputs as read, `generated` among them for a table's generator. data: the same in the
    space, and `generated` for every generator. parts: what is granted, by the names of views'
    fields. bank: samples and codes of the generator, which replace the released samples in views
    of it. left_out: records that are not asked about or not used. missing: field of a view -> why
    this case has none, where that is not as in WITHOUT. notes: how the inputs were read. stands:
    part that is no array -> hash of what stands for it. fit: how the generator can be trained anew,
    where that is given.
    """

    given: dict[str, Records]
    space: Space
    data: dict[str, Dataset]
    queries: Queries
    parts: dict[str, Any]
    bank: dict[str, np.ndarray]
    left_out: LeftOut
    missing: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stands: dict[str, str] = field(default_factory=dict)
    fit: Fit | None = None

    kind: ClassVar[str] = "audit"

    def view(self, access: type[View]) -> Any:
        """Grant a view: exactly its fields. Raises NoAccess naming what was not handed in."""
        parts = self.parts | (self.bank if issubclass(access, PartialBlackBox) else {})
        return grant_view(parts, access, WITHOUT | self.missing)

    def case_of_run(self, run: Run) -> Case:
        """The case in which that run of `fit` made what was released."""
        assert self.fit is not None
        released = self.space.records(self.fit.train_on(*run)).values
        return replace(self, parts=self.parts | {"released": released}, bank={})

    @property
    def released(self) -> Dataset | None:
        """What was released: the samples, or those that the generator made for this audit."""
        return self.data.get("samples", self.data.get("generated"))

    @property
    def released_records(self) -> Records:
        """The same as it was read; only of tables, where something was released."""
        return self.given["samples" if "samples" in self.given else "generated"]

    def rows_as_read(self, rows: np.ndarray) -> pd.DataFrame:
        """Rows (n,) of members and then non-members as they were read; only of tables."""
        tables = [self.given[name].table for name in ("members", "non_members")]
        return pd.concat(tables, ignore_index=True).iloc[rows]

    @property
    def strangers(self) -> Strangers:
        """The reference records, for calibration."""
        return Strangers({**self.parts, "released": self.parts["reference"]})

    def filed_under(self, access: type[View]) -> dict[str, Any]:
        """Hashes of what a view holds; none stands for a discriminator, and it is quick.

        What a generator made of given codes stands for the generator, what a denoiser told of
        given noise for the denoiser.
        """
        parts = vars(self.view(access))
        arrays = {
            n: hash_content(part) for n, part in parts.items() if isinstance(part, np.ndarray)
        }
        stands = {n: own for n, own in self.stands.items() if n in parts}
        return arrays | stands | _key_of_columns(parts)


def _key_of_columns(parts: Mapping[str, Any]) -> dict[str, str]:
    """What stands for the columns of a table among parts, if they are there."""
    schema = parts.get("schema")
    if schema is None:
        return {}
    return {"schema": key({"columns": schema.as_plain()}), **missing_numbers(schema)}


def hash_content(array: np.ndarray) -> str:
    """Hash (64 hex digits) of an array's entries, a block at a time."""
    digest = sha256()
    for start in range(0, len(array), BLOCK):
        digest.update(np.ascontiguousarray(array[start : start + BLOCK]).tobytes())
    return digest.hexdigest()
