"""The rows of a table and its tidy scores, from raw scores, for jobs and audits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from attacks.calibration.difference import Calibration, models_suffice
from attacks.calibration.ensemble import Ensemble
from attacks.calibration.quantile import Judged, Quantile, Strangers, describe_records
from benchmark.data.queries import Queries
from benchmark.measures import metrics, rates
from benchmark.measures.columns import summarise_scores
from benchmark.scores.scoring import evaluations
from victims.errors import UserError

TOGETHER = 1024
"""Records whose features are computed together."""

COMBINED = "combined"
"""Access of a row that stands on several attacks."""

NOTHING_TO_LEARN = "no attack has scores under models trained on the queries (reference=halves)"


class Raw(NamedTuple):
    """Raw scores of one attack, and the seconds that they took together.

    victim: (n,), None where the victim does not grant the access, or refused says why.
    references: (r, n), None where there is nothing to compare with; alone: why.
    places: (n,) which of the queries are scored; None = all. compared: whether rows by calibration
    are wanted. strangers: (m,) scores of the attacker's own records under the victim, None where
    they would mean nothing; unasked: why. stranger_seconds: that these took.
    """

    access: str
    victim: np.ndarray | None = None
    references: np.ndarray | None = None
    seconds: float = np.nan
    reference_seconds: float = np.nan
    alone: str = ""
    refused: str = ""
    places: np.ndarray | None = None
    compared: bool = True
    strangers: np.ndarray | None = None
    unasked: str = ""
    stranger_seconds: float = np.nan

    def of(self, queries: Queries, inside: np.ndarray) -> tuple[Queries, np.ndarray]:
        """Its queries, and which reference model has seen which of them."""
        if self.places is None:
            return queries, inside
        return queries.take(self.places), inside[:, self.places]


Scored = tuple[dict[str, Any], np.ndarray | None, Queries]
"""A row without its numbers, its scores where it has any, and of which queries."""


@dataclass(frozen=True)
class Table:
    """How raw scores become rows.

    inside: (r, n) bool, whether a reference model was trained on the query.
    quantiles: calibrations by `strangers`, which are records of the attacker's own.
    """

    queries: Queries
    inside: np.ndarray
    calibrations: Mapping[str, Calibration]
    ensembles: Mapping[str, Ensemble]
    quantiles: Mapping[str, Quantile] = field(default_factory=dict)
    strangers: Queries | None = None

    def build(self, raws: Mapping[str, Raw]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows and scores, as in `JobResult`, for the raw scores of each attack by its name."""
        rows, scores = [], []
        for row, values, queries in [*self._rows_of_attacks(raws), *self._rows_of_ensembles(raws)]:
            if values is not None:
                groups = values[queries.is_member], values[~queries.is_member]
                row |= {"status": "ok", **summarise_scores(*groups)}
                scores.append(_tidy_scores(row, values, queries))
            rows.append(row)
        if not scores:
            reasons = "; ".join(f"{row['attack']}: {row['status']}" for row in rows)
            raise UserError(f"no attack could run: {reasons}")
        return pd.DataFrame(rows), pd.concat(scores, ignore_index=True)

    def _rows_of_attacks(self, raws: Mapping[str, Raw]) -> Iterator[Scored]:
        """Each attack's row without numbers and its scores: raw, then by calibration."""
        for name, raw in raws.items():
            queries, inside = raw.of(self.queries, self.inside)
            status = raw.refused or "no access"
            row = {"attack": name, "access": raw.access, "warnings": "", "status": status}
            known = on_references(raw.references, inside)
            yield row | known | {"calibrated": "none", "seconds": raw.seconds}, raw.victim, queries
            for variant, calibration in self.calibrations.items() if raw.compared else ():
                values = None
                if raw.victim is not None and raw.references is not None:
                    values = calibration.combine(raw.victim, raw.references, inside)
                status = raw.alone or row["status"]
                own = {"calibrated": variant, "status": status, "seconds": raw.reference_seconds}
                yield row | own, values, queries
            yield from self._rows_by_quantile(raw, row, queries)

    def _rows_by_quantile(
        self, raw: Raw, row: dict[str, Any], queries: Queries
    ) -> Iterator[Scored]:
        """An attack's rows by quantiles, which need no reference models."""
        for variant, quantile in self.quantiles.items() if raw.compared else ():
            status = raw.unasked or row["status"]
            own = {"calibrated": variant, "status": status, "seconds": raw.stranger_seconds}
            if raw.victim is None or raw.strangers is None:
                yield row | own, None, queries
                continue
            known = Strangers(raw.strangers, self._features_of_strangers)
            features = self._features if raw.places is None else self._features[raw.places]
            judged = quantile.judge(raw.victim, features, known)
            said = _false_alarms_in_words(judged, quantile.alpha)
            yield row | own | {"warnings": said}, judged.scores, queries

    @cached_property
    def _features(self) -> np.ndarray:
        return _features_of(self.queries)

    @cached_property
    def _features_of_strangers(self) -> np.ndarray:
        assert self.strangers is not None, "scores of strangers come with their records"
        return _features_of(self.strangers)

    def _rows_of_ensembles(self, raws: Mapping[str, Raw]) -> Iterator[Scored]:
        """Each ensemble's row without numbers and its scores, from all attacks that have both."""
        whole = [raw for raw in raws.values() if raw.references is not None]
        for name, ensemble in self.ensembles.items():
            row = {"attack": name, "access": COMBINED, "calibrated": "none", "warnings": ""}
            if not whole or not models_suffice(self.inside, ensemble):
                yield row | {"status": NOTHING_TO_LEARN}, None, self.queries
                continue
            victim = np.stack([raw.victim for raw in whole if raw.victim is not None])
            references = np.stack([raw.references for raw in whole if raw.references is not None])
            seconds = sum(raw.seconds + raw.reference_seconds for raw in whole)
            values = ensemble.combine(victim, references, self.inside)
            yield row | {"seconds": seconds}, values, self.queries


def _features_of(queries: Queries) -> np.ndarray:
    """Features of records, (n, k)."""
    return np.concatenate([describe_records(records) for _, records in queries.blocks(TOGETHER)])


def _false_alarms_in_words(judged: Judged, alpha: float) -> str:
    """The false positive rate at the quantile itself, as it was and not as it was asked for."""
    rate = judged.alarms / judged.strangers
    low, high = rates.clopper_pearson(judged.alarms, judged.strangers)
    return (
        f"of {judged.strangers} other strangers {rate:.1%} [{100 * low:.1f}, {100 * high:.1f}] lie "
        f"above their quantile, {alpha:.1%} asked for"
    )


def _tidy_scores(row: Mapping[str, Any], values: np.ndarray, queries: Queries) -> pd.DataFrame:
    names = {"attack": row["attack"], "calibrated": row["calibrated"], "query": queries.numbers}
    ids = {"id": queries.ids} if len(queries.ids) else {}
    return pd.DataFrame({**names, **ids, "member": queries.is_member, "score": values})


def with_budgets(rows: pd.DataFrame, attacks: Mapping[str, Any]) -> pd.DataFrame:
    """The rows with a column evaluations: how often an attack may ask a network for each query."""
    spent = {name: evaluations(attack) for name, attack in attacks.items()}
    return rows.assign(evaluations=rows["attack"].map(spent).astype(float))


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
    low = rates.FPR_COLUMNS["tpr_at_1"]
    return {
        "auroc_reference": float(np.mean([metrics.auroc(*pair) for pair in pairs])),
        "tpr_at_1_reference": float(np.mean([rates.tpr_at_fpr(*pair, low).tpr for pair in pairs])),
    }
