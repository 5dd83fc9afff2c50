"""Private training that cannot be what it promises is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.data.dataset import Source
from benchmark.models.recipe import Recipe
from victims.base import Victim
from victims.budget import Privacy
from victims.errors import UserError


def refuse_privacy(recipe: Recipe, network: Victim) -> None:
    """Raise UserError where a model cannot be trained as privately as its recipe asks.

    network: a fresh one of its blueprint.
    """
    private = recipe.blueprint.dp is not None
    if recipe.canaries is not None and not (private and network.reached):
        raise UserError(
            f"canaries.kind=gradient: {'with this victim' if private else 'without dp=on'} no "
            f"gradient of a record is clipped and noised; choose canaries=one_run"
        )
    if recipe.blueprint.dp is None:
        return
    try:
        recipe.blueprint.dp.made.check_victim(network, len(recipe.rows))
    except UserError as error:
        raise UserError(f"{recipe.title}: {error}") from error


def refuse_encoding(privacy: Privacy, source: Source, facts: Mapping[str, Any]) -> None:
    """Raise UserError for data that are prepared by what the members are like."""
    if privacy.public_encoding:
        return
    if getattr(source, "fitted", False):
        encoding = getattr(source, "encode", "")
        raise UserError(
            f"data.encode={encoding}: it is measured on all records, the members too, "
            "which no accountant sees; choose data.encode=none, or say that ranges and quantiles "
            "are public knowledge with dp.public_encoding=true"
        )
    if columns := facts.get("measured"):
        raise UserError(
            f"data: levels of categories, or that numbers are missing, were learnt from all "
            f"records in {', '.join(columns[:5])}{', ...' if len(columns) > 5 else ''}; name them "
            "in data.levels (or data.gaps=false), or say that they are public knowledge with "
            "dp.public_encoding=true"
        )
