"""How numbers are written down for a reader."""

from __future__ import annotations

import pandas as pd


def format_number(value: float, digits: int = 3) -> str:
    """A number with fixed digits; NaN is n/a.

    >>> format_number(0.12345), format_number(float("nan"))
    ('0.123', 'n/a')
    """
    return "n/a" if pd.isna(value) else f"{value:.{digits}f}"


def count_of(n: int, things: str) -> str:
    """3 seeds, 1 seed; 2 families, 1 family.

    >>> count_of(3, "seeds"), count_of(1, "families")
    ('3 seeds', '1 family')
    """
    one = f"{things[:-3]}y" if things.endswith("ies") else things.removesuffix("s")
    return f"{n} {one if n == 1 else things}"


def spaced_name(name: object) -> str:
    """A name of the config for a reader.

    >>> spaced_name("white_box")
    'white box'
    """
    return str(name).replace("_", " ")


def p_value(value: float) -> str:
    """A p-value for a reader: 0.032, or < 0.001.

    >>> p_value(0.0321), p_value(1e-9)
    ('0.032', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else format_number(value)


def format_p_value(value: float) -> str:
    """A p-value behind its letter: = 0.032, or < 0.001; NaN is n/a.

    >>> format_p_value(0.0321), format_p_value(1e-9), format_p_value(float("nan"))
    ('= 0.032', '< 0.001', 'n/a')
    """
    if pd.isna(value):
        return "n/a"
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def in_brief(value: float) -> str:
    """A number of any size with three digits; NaN is n/a.

    >>> in_brief(12.345), in_brief(1234.5)
    ('12.3', '1234')
    """
    return "n/a" if pd.isna(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def format_percent(value: float) -> str:
    """A rate in percent; NaN is n/a.

    >>> format_percent(0.125)
    '12.5%'
    """
    return "n/a" if pd.isna(value) else f"{100 * value:.1f}%"


def format_duration(seconds: float) -> str:
    """Seconds for a reader: 0.42 s, 3.1 s, 51 s, 12 min, 1.5 h; NaN is n/a.

    >>> format_duration(0.42), format_duration(205.2), format_duration(5400)
    ('0.42 s', '3 min', '1.5 h')
    """
    if pd.isna(seconds):
        return "n/a"
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.{int(seconds < 10)}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
