"""Numbers that papers print, kept beside ours; shown only where somebody has read the source."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from benchmark.config.build import beside
from victims.errors import UserError

COLUMNS = ["paper", "place", "file", "what", "value", "checked"]
"""paper: authors, year, arXiv id. place: table or page. file: in the paper's repository, or empty.
what: victim, data, attack and size in words. checked: true only where the source was read."""

CELL = ["sweep", "data", "victim", "attack", "measure", "records", "experiments"]
"""Where a number has its own beside it, otherwise empty: the sweep that runs it here; the names of
data, victim and attack there; one of `replication.MEASURES`; how many records trained; and how many
repetitions the number is the mean of."""


PUBLISHED = beside("results") / "published.csv"


def checked_rows(path: Path) -> pd.DataFrame:
    """The checked rows of results/published.csv; raises UserError where a column is missing."""
    if not path.exists():
        return pd.DataFrame(columns=[*COLUMNS, *CELL])
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := [name for name in COLUMNS if name not in rows]:
        raise UserError(f"{path}: column {missing[0]} is missing; there must be {COLUMNS}")
    checked = rows[rows["checked"].str.lower() == "true"].drop(columns="checked")
    return checked.assign(**{name: "" for name in CELL if name not in rows})


def rows_of_studies(checked: pd.DataFrame, studies: Collection[str]) -> pd.DataFrame:
    """What a page shows of `checked_rows`: those of its studies and of none, without CELL."""
    own = checked["sweep"].isin(["", *studies])
    return checked.loc[own].drop(columns=CELL)
