"""The words and cells in which a result is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmark.measures.numbers import format_duration, format_number, format_percent, p_value
from benchmark.measures.result import NEAR, SHARES, JobResult, enough_records


def row_name(row: pd.Series) -> str:
    """Name of a row for a legend: the attack, and its calibration if it has one."""
    attack = str(row["attack"]).replace("_", " ")
    return attack if row["calibrated"] == "none" else f"{attack} + {row['calibrated']}"


def star_of(row: pd.Series) -> str:
    """A star for the best AUROC and for every row that is not significantly worse."""
    return "*" if bool(row.get("best", False)) else ""


MARKED = (
    "* the best AUROC, or not significantly worse: DeLong's paired test on the same queries, "
    "Holm-corrected over all pairs, 5%"
)


def canary_texts(canaries: pd.DataFrame) -> pd.DataFrame:
    """The one-run audit as a table of texts."""
    texts = {
        "attack": canaries["attack"].str.replace("_", " "),
        "canaries": [f"{row.inside} of {row.canaries} inside" for row in canaries.itertuples()],
        "ε at least": canaries["epsilon_lower"].map("{:.2f}".format),
        "if Gaussian": canaries["epsilon_gaussian"].map("{:.2f}".format),
        "if independent too": canaries["epsilon_roc"].map("{:.2f}".format),
        "promised": canaries["epsilon"].map(lambda x: "∞" if np.isinf(x) else f"{x:.3g}"),
    }
    return pd.DataFrame(texts)


def canary_sentence(canaries: pd.DataFrame) -> str:
    """What all attacks together show of the promise; canaries: at least one row.

    The bound from the ROC curve is no part of it: that takes canaries for independent.
    """
    whatever, gaussian = canaries["epsilon_lower"].max(), canaries["epsilon_gaussian"].max()
    return (
        f"Each at 95% over all attacks: ε is at least {whatever:.2f} for any mechanism, "
        f"and at least {gaussian:.2f} if training loses privacy as a Gaussian mechanism does."
    )


def detection_sentences(detection: pd.DataFrame) -> list[str]:
    """How many records of a set give it away, a sentence for each kind of access."""
    sentences = []
    for name, size in enough_records(detection).items():
        tried = detection.loc[detection["access"] == name, "size"].max()
        what = f"sets of {size} members are" if size else f"no set of up to {tried} members is"
        sentences.append(f"{name}: {what} told from unseen records")
    return sentences


def copied(copies: pd.DataFrame) -> pd.DataFrame:
    """What samples show of members and of held-out records, as a table of texts."""
    share = copies["measure"].isin(SHARES)

    def text(column: str) -> list[str]:
        return [
            format_percent(x) if is_share else format_number(x)
            for x, is_share in zip(copies[column], share, strict=True)
        ]

    ends = zip(text("low"), text("high"), strict=True)
    texts = {
        "measure": copies["measure"],
        "members": text("members"),
        "held-out records": text("held_out"),
        "difference": text("difference"),
        "95% interval": [f"[{low}, {high}]" for low, high in ends],
        "p": ["" if pd.isna(p) else p_value(p) for p in copies["p_value"]],
    }
    return pd.DataFrame(texts)


def copies_in_words(copies: pd.DataFrame) -> dict[str, Any]:
    """The sentence and the table of copies, for a page; empty without any."""
    return {} if copies.empty else {"sentence": compared_by(copies), "table": copied(copies)}


def compared_by(copies: pd.DataFrame) -> str:
    """What records and samples were compared by, and which copies are near ones; one sentence."""
    near = copies.set_index("measure").loc["near copies"]
    by, limit = near.get("by", "values"), near.get("limit", NEAR)
    return f"Records are compared by {by}; a near copy's calibrated distance is at most {limit:g}."


def cost_of_victim(result: JobResult) -> str:
    """What it took to make the victim: its size and its training time."""
    count = f"{result.quality['parameters']:,.0f}".replace(",", " ")
    return f"{count} parameters, trained in {format_duration(result.quality['training seconds'])}"


def beats_guessing(row: pd.Series) -> bool:
    """Whether the attack is better than guessing: its whole 95% interval is above 0.5."""
    return not pd.isna(row["auroc_low"]) and bool(row["auroc_low"] > 0.5)


def remarks_on(row: pd.Series) -> list[str]:
    """What a reader must know beside a row's numbers: its status unless ok, and its warnings."""
    status = [] if row["status"] == "ok" else [str(row["status"])]
    warnings = row["warnings"]
    return status + ([str(warnings)] if isinstance(warnings, str) and warnings.strip() else [])


def to_yaml(tree: dict[str, Any]) -> str:
    """A config or provenance as YAML; a value that YAML has no type for is written as its text."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_multi_representer(np.generic, lambda dumper, x: dumper.represent_data(x.item()))


_Dumper.add_multi_representer(object, lambda dumper, x: dumper.represent_str(str(x)))
