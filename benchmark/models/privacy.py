"""Private training that cannot be what it promises is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from benchmark.config.build import build
from benchmark.data.dataset import Dataset, Source
from benchmark.models.recipe import Recipe, network
from victims.errors import UserError


def refuse(recipe: Recipe, dataset: Dataset) -> None:
    """Raise UserError where a model cannot be trained as privately as its recipe asks."""
    if not recipe.dp:
        return
    victim = network(recipe.victim, dataset)
    victim.make_private()
    try:
        build(recipe.dp, "dp").check(victim, len(recipe.rows))
    except UserError as error:
        raise UserError(f"{recipe.title}: {error}") from error


def refuse_encoding(config: DictConfig, source: Source, facts: Mapping[str, Any]) -> None:
    """With dp=on, raise UserError for data that are prepared by what the members are like."""
    if not config.dp or config.dp.public_encoding:
        return
    if getattr(source, "fitted", False):
        raise UserError(
            f"data.encode={config.data.encode}: it is measured on all records, the members too, "
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
