"""Private training that cannot be what it promises is refused."""

from __future__ import annotations

from omegaconf import DictConfig

from benchmark.config.build import build
from benchmark.data.dataset import Source
from benchmark.models.recipe import Recipe
from victims.errors import UserError


def refuse(recipe: Recipe, shape: tuple[int, ...]) -> None:
    """Raise UserError where a model cannot be trained as privately as its recipe asks."""
    if not recipe.dp:
        return
    victim = build(recipe.victim, "victim", shape=shape)
    victim.make_private()
    try:
        build(recipe.dp, "dp").check(victim, len(recipe.rows))
    except UserError as error:
        raise UserError(f"{recipe.title}: {error}") from error


def refuse_encoding(config: DictConfig, source: Source) -> None:
    """With dp=on, raise UserError for data that are prepared by what the members are like."""
    if config.dp and getattr(source, "fitted", False) and not config.dp.public_encoding:
        raise UserError(
            f"data.encode={config.data.encode}: it is measured on all records, the members too, "
            "which no accountant sees; choose data.encode=none, or say that ranges and quantiles "
            "are public knowledge with dp.public_encoding=true"
        )
