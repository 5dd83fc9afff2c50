"""Limits for CI: what makes an audit end with an exit code of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import NonNegativeInt

from benchmark.config.build import check
from victims.errors import UserError

LIMITS = ("auroc_lower", "auroc_upper", "found_upper", "copies")
"""Limits of fail_if for a number of the verdict."""
LEAK_LIMIT, SET_LIMIT = "leak", "set_p_value"
"""Those for the verdict itself, true or false, and for a set of suspects."""


def check_limits(limits: Mapping[str, Any]) -> dict[str, float | None]:
    """The limits as they were given. Raises UserError for one that cannot be meant."""
    known = (LEAK_LIMIT, *LIMITS, SET_LIMIT)
    for title, value in limits.items():
        if title not in known:
            raise UserError(f"fail_if.{title}: allowed are {', '.join(known)}")
        if title == LEAK_LIMIT and not (value is None or isinstance(value, bool)):
            raise UserError(f"fail_if.{title}={value}: allowed are null, true and false")
        if title == "copies" and value is not None:
            check("fail_if.copies", value, NonNegativeInt)
        elif value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise UserError(f"fail_if.{title}={value}: allowed are null and numbers in [0, 1]")
    return dict(limits)


def limits_exceeded(
    limits: Mapping[str, float | None], values: Sequence[float], word: str, failed: bool
) -> dict[str, str]:
    """Limits that are exceeded, or cannot be judged: what cannot be ruled out fails.

    values: in the order of LIMITS.
    """
    texts, measured = {}, dict(zip(LIMITS, values, strict=True))
    for title, limit in limits.items():
        if limit is None or limit is False:
            continue
        value = measured.get(title, 0.0)
        if word == "invalid":
            texts[title] = "the numbers are not valid"
        elif failed and title.endswith("_upper"):
            texts[title] = "an attack failed, so nothing is ruled out"
        elif np.isnan(value):
            texts[title] = "too few non-members to resolve it"
        elif title == LEAK_LIMIT:
            texts |= {title: "a leak was found"} if word == "leak" else {}
        elif value > limit:
            shown = f"{value:g}" if title == "copies" else f"{value:.3f}"
            texts[title] = f"{shown} is above {limit:g}"
    return texts
