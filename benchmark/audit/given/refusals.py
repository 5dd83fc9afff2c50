"""Mistakes of whoever hands in an audit that one sees without any attack."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.audit.arguments import ATTACKED
from benchmark.audit.given.selection import content_values
from benchmark.data.dataset import Dataset
from victims.errors import UserError
from victims.given.generators import Generator


def refuse_too_little(sources: Mapping[str, Any]) -> None:
    """Raise UserError where there is nobody to tell apart or nothing to attack."""
    for name in ("members", "non_members"):
        if sources.get(name) is None:
            raise UserError(
                f"{name}= is missing: an audit needs records that the generator was trained on "
                f"(members) and records that it never saw (non_members)"
            )
    if all(sources.get(name) is None for name in ATTACKED):
        names = " or ".join((", ".join(f"{name}=" for name in ATTACKED[:-1]), f"{ATTACKED[-1]}="))
        raise UserError(f"there is nothing to attack: give {names} (or several)")


def refuse_idle_options(options: Mapping[str, Mapping[str, Any]], given: Collection[str]) -> None:
    """Raise UserError where a setting says something about a model that is not there.

    options: model -> its settings. given: names of what was handed in.
    """
    for name, settings in options.items():
        idle = [key for key, value in settings.items() if value not in (None, "auto", "normal")]
        if idle and name not in given:
            raise UserError(f"{name}.{idle[0]} has no effect: no {name} is given; leave it out")


def refuse_idle_prior(generator: Generator | None) -> None:
    """Raise UserError where a prior is set for a generator that takes no latent code."""
    if generator is not None and generator.sample is not None and generator.prior != "normal":
        raise UserError(
            f"{generator.name}.prior has no effect: this generator is asked for samples, not for "
            f"what it makes of a latent code; leave it out"
        )


def refuse_same_file(sources: Mapping[str, Any]) -> None:
    """Raise UserError where two inputs that must be disjoint are one file."""
    known: dict[Path, str] = {}
    for name in ("members", "non_members", "reference", "samples"):
        source = sources.get(name)
        if isinstance(source, str | Path):
            other = known.setdefault(Path(source).resolve(), name)
            if other != name and (other, name) != ("members", "samples"):
                raise UserError(f"{other} and {name} are both {source}; they must be disjoint")


def refuse_equal(data: Mapping[str, Dataset]) -> None:
    """Raise UserError where samples are the reference or non-members, by content.

    Queries that are reference records too, or on both sides, are left out instead.
    """
    for other in ("reference", "non_members"):
        if "samples" not in data or other not in data:
            continue
        ours, theirs = (content_values(data[name].digests) for name in ("samples", other))
        many = len(np.unique(ours)) > len(ours) / 2  # coarse columns may agree by chance
        if len(ours) == len(theirs) and (
            (ours == theirs).all() or (many and (np.sort(ours) == np.sort(theirs)).all())
        ):
            raise UserError(f"samples and {other} hold the same records; they must differ")
