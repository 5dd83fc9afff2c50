"""The rows of a job's table and its tidy scores, from the raw scores of its attacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from attacks.calibration.difference import Calibration
from attacks.calibration.ensemble import Ensemble
from benchmark.data.queries import Queries
from benchmark.measures import metrics
from benchmark.models.references import suffices
from victims.errors import UserError

COMBINED = "combined"
"""Access of a row that stands on several attacks."""

NOTHING_TO_LEARN = "no attack has scores under models trained on the queries (reference=halves)"


class Raw(NamedTuple):
    """Raw scores of one attack, and the seconds that they took together.

    victim: (n,), None where the victim does not grant the access, or refused says why.
    references: (r, n), None where there is nothing to compare with; alone: why.
    """

    access: str
    victim: np.ndarray | None = None
    references: np.ndarray | None = None
    seconds: float = np.nan
    reference_seconds: float = np.nan
    alone: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Table:
    """How raw scores become rows.

    inside: (r, n) bool, whether a reference model was trained on the query.
    """

    queries: Queries
    inside: np.ndarray
    calibrations: Mapping[str, Calibration]
    ensembles: Mapping[str, Ensemble]

    def build(self, raws: Mapping[str, Raw]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows and scores, as in `JobResult`, for the raw scores of each attack by its name."""
        rows, scores = [], []
        for row, values in [*self._attacks(raws), *self._ensembles(raws)]:
            if values is not None:
                groups = values[self.queries.is_member], values[~self.queries.is_member]
                row |= {"status": "ok", **metrics.summary(*groups)}
                scores.append(self._tidy(row, values))
            rows.append(row)
        if not scores:
            reasons = "; ".join(f"{row['attack']}: {row['status']}" for row in rows)
            raise UserError(f"no attack could run: {reasons}")
        return pd.DataFrame(rows), pd.concat(scores, ignore_index=True)

    def _attacks(
        self, raws: Mapping[str, Raw]
    ) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
        """Each attack's row without numbers and its scores: raw, then by calibration."""
        for name, raw in raws.items():
            status = raw.refused or "no access"
            row = {"attack": name, "access": raw.access, "warnings": "", "status": status}
            known = on_references(raw.references, self.inside)
            yield row | known | {"calibrated": "none", "seconds": raw.seconds}, raw.victim
            for variant, calibration in self.calibrations.items():
                values = None
                if raw.victim is not None and raw.references is not None:
                    values = calibration.combine(raw.victim, raw.references, self.inside)
                status = raw.alone or row["status"]
                own = {"calibrated": variant, "status": status, "seconds": raw.reference_seconds}
                yield row | own, values

    def _ensembles(
        self, raws: Mapping[str, Raw]
    ) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
        """Each ensemble's row without numbers and its scores, from all attacks that have both."""
        whole = [raw for raw in raws.values() if raw.references is not None]
        for name, ensemble in self.ensembles.items():
            row = {"attack": name, "access": COMBINED, "calibrated": "none", "warnings": ""}
            if not whole or not suffices(self.inside, ensemble):
                yield row | {"status": NOTHING_TO_LEARN}, None
                continue
            victim = np.stack([raw.victim for raw in whole if raw.victim is not None])
            references = np.stack([raw.references for raw in whole if raw.references is not None])
            seconds = sum(raw.seconds + raw.reference_seconds for raw in whole)
            values = ensemble.combine(victim, references, self.inside)
            yield row | {"seconds": seconds}, values

    def _tidy(self, row: Mapping[str, Any], values: np.ndarray) -> pd.DataFrame:
        names = {"attack": row["attack"], "calibrated": row["calibrated"]}
        asked = {"query": self.queries.numbers, "member": self.queries.is_member}
        columns = asked | {"score": values}
        return pd.DataFrame(names | columns)


def on_references(references: np.ndarray | None, inside: np.ndarray) -> dict[str, float]:
    """How well an attack finds the queries that reference models were trained on, mean over these.

    references: (r, n) scores, inside: (r, n) bool. No victim's members are known or needed for it,
    so that it may choose among attacks. Empty where no model was trained on some queries only.
    """
    if references is None:
        return {}
    pairs = [
        (scores[own], scores[~own])
        for scores, own in zip(references, inside, strict=True)
        if 0 < own.sum() < len(own)
    ]
    if not pairs:
        return {}
    rates = [metrics.tpr_at_fpr(*pair, metrics.FPR_COLUMNS["tpr_at_1"]).tpr for pair in pairs]
    return {
        "auroc_reference": float(np.mean([metrics.auroc(*pair) for pair in pairs])),
        "tpr_at_1_reference": float(np.mean(rates)),
    }
