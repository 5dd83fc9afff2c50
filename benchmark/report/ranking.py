"""A ranking of attacks over victims: who is surely better than whom, for each access.

Someone enters an attack of their own: it is run against the victims of `+sweep=ranking`, whose
results are in the store. The ranking says where it stands.

    stored results -> entries on each victim -> means, mean ranks, pairs -> CSV, diagrams, a page

Entries of one access are compared: who has another access plays another game. The seeds of a victim
are averaged first, so that one with more seeds does not count more.

Two entries are compared by the mean over victims of their difference in AUROC, on the same queries.
The comparison is about these victims: five of them are no sample of all models that there are. What
is drawn anew is the training with its split. So the error is the widest of three:

- how much seeds of one victim differ (Welch's t);
- how much seeds differ in the mean over victims (Student's t): what a seed draws for all of them,
  such as the attacker's records, moves them together, whether or not a query shows it;
- how uncertain the mean is for its queries (DeLong, paired), with what victims share of them.

With one seed only the last is known. P-values are two-sided, corrected over all pairs of an access
(Holm). The Friedman and Nemenyi tests (Demšar, JMLR 2006) are not used: there, who else has entered
decides whether two entries differ (Benavoli et al., JMLR 2016), and five victims can never tell ten
entries apart by their ranks. Mean ranks are shown, not tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from benchmark.measures.estimate import wider_side
from benchmark.measures.metrics import delong_test, holm
from benchmark.measures.pairs import LEVEL
from benchmark.report.collect import Row, Study
from benchmark.report.entries import Entries, Result, by_access
from benchmark.report.evidence import CHANCE, Score, errors_by_query, number_of
from benchmark.report.means import Number, over_victims, with_half_width

STANDINGS = [
    *("access", "attack", "calibrated", "victims", "seeds"),
    *("auroc", "auroc_low", "auroc_high", "tpr_at_1", "tpr_at_1_low", "tpr_at_1_high"),
    *("mean_rank", "evaluations", "seconds", "better_than", "worse_than", "undecided"),
]
PAIRS = [
    *("access", "attack_a", "calibrated_a", "attack_b", "calibrated_b", "victims"),
    *("difference", "low", "high", "p_value", "p_holm"),
]


@dataclass(frozen=True)
class Ranking:
    """Where each entry stands (columns STANDINGS), and each two of them compared (columns PAIRS).

    A mean rank is given to entries that have a number for every victim that grants their access,
    and for each of its seeds.
    better_than, worse_than and undecided list entries of the same access, best first.
    """

    standings: pd.DataFrame
    pairs: pd.DataFrame


def ranked(studies: Iterable[Study]) -> Ranking:
    """The ranking of all results of some studies; one that several studies hold counts once.

    Raises UserError where an entry has one score under one setting, and another under another.
    """
    standings, pairs = [], []
    for access, entries in by_access(studies).items():
        compared = pd.DataFrame(_pairs(access, entries), columns=PAIRS[:-1])
        compared["p_holm"] = holm(compared["p_value"].to_numpy(float)) if len(compared) else []
        standings.append(_standings(access, entries, compared))
        pairs.append(compared)
    if not standings:
        return Ranking(pd.DataFrame(columns=STANDINGS), pd.DataFrame(columns=PAIRS))
    return Ranking(pd.concat(standings, ignore_index=True), pd.concat(pairs, ignore_index=True))


def _standings(access: str, entries: Entries, compared: pd.DataFrame) -> pd.DataFrame:
    ranks = _mean_ranks(entries)
    rows = []
    for entry, victims in entries.items():
        results = [result for own in victims.values() for result in own.values()]
        numbers = {"mean_rank": ranks.get(entry, np.nan)}
        for score in CHANCE:
            mean = over_victims(_own_numbers(victims, score)).within_unit()
            numbers |= {score: mean.mean, f"{score}_low": mean.low, f"{score}_high": mean.high}
        for column in ("evaluations", "seconds"):
            numbers[column] = float(
                pd.Series([r.row.get(column) for r in results], dtype=float).mean()
            )
        at = [access, *entry, len(victims), _counts([len(own) for own in victims.values()])]
        rows.append(dict(zip(STANDINGS, at, strict=False)) | numbers)
    made = pd.DataFrame(rows).sort_values(
        ["auroc", "attack", "calibrated"], ascending=[False, True, True]
    )
    order = list(map(Row, made["attack"], made["calibrated"]))
    told = [_against(entry, order, compared) for entry in order]
    return made.assign(**pd.DataFrame(told, index=made.index))[STANDINGS]


def _counts(numbers: Sequence[int]) -> int | str:
    """How many seeds each victim has: 3, or 1-3 where they differ."""
    least, most = min(numbers), max(numbers)
    return least if least == most else f"{least}-{most}"


def _own_numbers(
    victims: Mapping[str, Mapping[int, Result]], score: Score
) -> dict[str, dict[int, Number]]:
    """A number of each seed of each victim, where it has one."""
    found = {
        victim: {
            seed: number_of(result.row, result.scores, result.data, score)
            for seed, result in seeds.items()
            if not pd.isna(result.row[score])
        }
        for victim, seeds in victims.items()
    }
    return {victim: own for victim, own in found.items() if own}


def _mean_ranks(entries: Entries) -> dict[Row, float]:
    """Mean over victims of the rank by AUROC, 1 = best; of entries that have all victims and all
    their seeds.
    """
    met = {
        entry: {(victim, seed) for victim, seeds in own.items() for seed in seeds}
        for entry, own in entries.items()
    }
    every = set().union(*met.values())
    victims = {victim for victim, _ in every}
    complete = [entry for entry, own in met.items() if own == every]
    if not complete:
        return {}
    aurocs = [
        [np.mean([r.row["auroc"] for r in entries[entry][victim].values()]) for entry in complete]
        for victim in sorted(victims)
    ]
    ranks = rankdata(-np.array(aurocs), axis=1).mean(0)
    return dict(zip(complete, map(float, ranks), strict=True))


def _pairs(access: str, entries: Entries) -> Iterator[list[Any]]:
    """Each two entries on the victims and seeds that both have: PAIRS without the correction."""
    for a, b in combinations(entries, 2):
        found: dict[str, dict[int, Number]] = {}
        for victim in sorted(entries[a].keys() & entries[b].keys()):
            one, other = entries[a][victim], entries[b][victim]
            for seed in sorted(one.keys() & other.keys()):
                if (pair := paired(*_on_one_training(one[seed], other[seed]))) is not None:
                    found.setdefault(victim, {})[seed] = pair
        if found:
            estimate, below = over_victims(found), over_victims(_turned(found))
            p_value = min(1.0, 2 * min(estimate.p_value, below.p_value))
            yield [access, *a, *b, len(found), *estimate[:3], p_value]


def _on_one_training(a: Result, b: Result) -> tuple[Result, Result]:
    """The results of two entries on the same trained model, or the first of each without one."""
    both = ((x, y) for x in a.all for y in b.all if x.training == y.training)
    return next(both, (a, b))


def paired(a: Result, b: Result) -> Number | None:
    """AUROC of a minus that of b on the queries that both judge; None where there are too few."""
    _, of_a, of_b = np.intersect1d(a.scores["query"], b.scores["query"], return_indices=True)
    one, other = a.scores.iloc[of_a], b.scores.iloc[of_b]
    x, y, member = (own.to_numpy() for own in (one["score"], other["score"], one["member"]))
    both = ~np.isnan(x + y)
    if len(set(member[both])) != 2:
        return None
    told = delong_test(x[both], y[both], member[both])
    errors = [errors_by_query(own[both], a.data) for own in (one, other)]
    return with_half_width(told.difference, wider_side(*told[:3]), errors[0] - errors[1])


def _turned(found: Mapping[str, Mapping[int, Number]]) -> dict[str, dict[int, Number]]:
    return {
        victim: {
            seed: number._replace(value=-number.value, errors=-number.errors)
            for seed, number in own.items()
        }
        for victim, own in found.items()
    }


def _against(entry: Row, order: Sequence[Row], compared: pd.DataFrame) -> dict[str, str]:
    """The others that an entry is surely better than, surely worse than, or neither."""
    signs: dict[Row, float] = {}
    for pair in compared.to_dict("records"):
        a, b = ((pair[f"attack_{x}"], pair[f"calibrated_{x}"]) for x in "ab")
        sure = np.sign(pair["difference"]) * (pair["p_holm"] < LEVEL)
        signs |= {b: sure} if a == entry else {a: -sure} if b == entry else {}
    columns = {"better_than": 1, "worse_than": -1, "undecided": 0}
    return {
        column: "; ".join(row.text for row in order if signs.get(row) == sign)
        for column, sign in columns.items()
    }
