"""How missing cells, numbers and dates are written in one column, in all inputs together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from benchmark.config.quoting import pasted
from victims.errors import UserError

NOTHING = "NA N/A n/a #N/A #NA <NA> NaN nan -NaN -nan NaT NULL null None"
MISSING = frozenset(("", *NOTHING.split()))
"""Cells that are missing in every column."""
UNKNOWN = "?"
"""A cell that is missing in columns of numbers and dates besides."""
MOSTLY = 0.5
"""So large a share of a column's cells, or of its different values, makes it one of numbers."""
CODE = re.compile(r"[+-]?0[0-9]+")
"""A number with a zero in front is text: the code of something."""
PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf(inity)?", re.I)
GROUPS = r"[+-]?[1-9][0-9]{0,2}(?P<s>[%s])[0-9]{3}((?P=s)[0-9]{3})*"
INDIAN = r"[+-]?[1-9][0-9]?(,[0-9]{2})+,[0-9]{3}(\.[0-9]*)?"
GROUPED = re.compile(GROUPS % ",'’ _" + r"(\.[0-9]*)?|" + INDIAN)
POINT_GROUPED = re.compile(GROUPS % ".")
"""Three digits behind each point, none of them behind a 0: thousands, or decimals."""
COMMA = re.compile(r"[+-]?[0-9]+(,[0-9]+)?([eE][+-]?[0-9]+)?")
COMMA_GROUPED = re.compile(GROUPS % ".'’ _" + r"(,[0-9]*)?")
INTERVAL = re.compile(r"[\[(]\s*([^,;\s]+)\s*[,;]\s*([^,;\s]+)\s*[\])]")
DURATION = re.compile(r"(-?[0-9]+) days?(?:,? \+?([0-9]{1,2}):([0-9]{2}):([0-9]{2}(?:\.[0-9]+)?))?")
"""As pandas and Python write them: -1 days +23:00:00 is an hour less than nothing."""
DAYS: tuple[str, ...] = (
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
)
DAYS += ("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%y/%m/%d", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y")
DAYS += ("%d %B %Y", "%B %d, %Y", "%d-%b-%y")
HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
FORMATS = ("ISO8601", "%H:%M", "%H:%M:%S", *(day + hour for day in DAYS for hour in HOURS))
"""Ways in which dates are written that are tried on a column of text."""


@dataclass(frozen=True)
class Written:
    """How cells are written.

    categorical: columns whose numbers are codes. missing: cells that are missing, beside MISSING.
    decimal: auto, '.' or ','. dates: a format such as %d/%m/%Y, or None: recognised. group: of the
    config that has these settings, for messages.
    """

    categorical: Sequence[str] = ()
    missing: Sequence[str] = ()
    decimal: str = "auto"
    dates: str | None = None
    group: str = "records"

    def setting(self, name: str, *values: str) -> str:
        """A setting as it can be pasted into a command."""
        return pasted(f"{self.group}.{name}", *values)

    @property
    def gone(self) -> frozenset[str]:
        """Cells that are missing in every column."""
        return MISSING | {str(marker).strip() for marker in self.missing}


def list_names(some: Sequence[str]) -> str:
    """The first few of some names."""
    return ", ".join(some[:5]) + (", ..." if len(some) > 5 else "")


# --- numbers --------------------------------------------------------------------------------------


def _bare_number(text: str) -> str:
    """A number without its currency or per cent sign, brackets as in accounts as a minus."""
    text = text.replace("\u2212", "-")
    text = re.sub(r"[\u00a0\u202f\u2009]", " ", text).strip()
    if re.fullmatch(r"\(.*[0-9].*\)", text) and not re.search("[,;]\\s", text):
        text = "-" + text[1:-1].strip()
    sign, rest = (text[0], text[1:].strip()) if text[:1] in "+-" and text else ("", text)
    if rest and unicodedata.category(rest[0]) == "Sc":
        rest = rest[1:].strip()
    if rest and (unicodedata.category(rest[-1]) == "Sc" or rest[-1] == "%"):
        rest = rest[:-1].strip()
    return sign + rest


def _parse_value(text: str, comma: bool) -> float | None:
    """A text as a number, None where it is none; comma: whether that is the decimal sign."""
    lowered = text.lower()
    if lowered in ("true", "false"):
        return float(lowered == "true")
    if match := INTERVAL.fullmatch(text):
        ends = [_parse_value(end, comma) for end in match.groups()]
        if None in ends:
            return None
        finite = [end for end in ends if end is not None and np.isfinite(end)]
        return float(np.mean(finite)) if finite else None
    if match := DURATION.fullmatch(text):
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return days + (hours * 3600 + minutes * 60 + seconds) / 86400
    text = _bare_number(text)
    plain, grouped = (COMMA, COMMA_GROUPED) if comma else (PLAIN, GROUPED)
    if not plain.fullmatch(text) and not grouped.fullmatch(text):
        return None
    text = re.sub("[.'’ _]" if comma else "[,'’ _]", "", text)
    return float(text.replace(",", "."))


def _collect_signs(texts: Sequence[str]) -> set[str]:
    """Currency and per cent signs; "" where a number has none."""
    return {
        next((c for c in text if c == "%" or unicodedata.category(c) == "Sc"), "") for text in texts
    }


def read_numbers(
    column: str, texts: Sequence[str], comma: bool, how: Written
) -> tuple[dict[str, float], str]:
    """Text -> number for those that are numbers, and in words how they are written."""
    found = {text: _parse_value(text, comma) for text in texts}
    known = {text: value for text, value in found.items() if value is not None}
    signs = _collect_signs(list(known))
    if len(signs - {""}) > 1 or ("%" in signs and "" in signs):
        raise UserError(
            f"column {column!r} holds numbers with and without {' '.join(sorted(signs - {''}))}, "
            f"or with several: give all in one unit, or {how.setting('categorical', column)}"
        )
    durations = [text for text in known if DURATION.fullmatch(text)]
    if durations and len(durations) < len(known):
        other = next(text for text in known if text not in durations)
        raise UserError(
            f"column {column!r} holds durations ({durations[0]!r}) and plain numbers ({other!r}): "
            f"give all in one unit, or {how.setting('categorical', column)}"
        )
    if durations:
        return known, "durations (in days)"
    what = "numbers"
    if any("," in text and not INTERVAL.fullmatch(text) for text in known):
        sign = "for decimals" if comma else "between thousands"
        what += f" with ',' {sign} ({how.group}.decimal)"
    if any(INTERVAL.fullmatch(text) for text in known):
        what = "intervals, by their middle"
    return known, what


def decimal_comma(cells: Mapping[str, Mapping[str, np.ndarray]], how: Written) -> bool:
    """Whether the comma is the decimal sign, in all columns of all inputs."""
    if how.decimal not in ("auto", ".", ","):
        raise UserError(f"{how.group}.decimal={how.decimal}: allowed are auto, '.' and ','")
    if how.decimal != "auto":
        return how.decimal == ","
    evidence: dict[bool, str] = {}
    for column, inputs in cells.items():
        texts = [c for c in inputs.values() if c.dtype == object]
        if column in how.categorical or not texts:
            continue
        different = set().union(*(set(t) for t in texts)) - {"", UNKNOWN}
        marked = [text for text in different if "," in text or "." in text]
        point = [text for text in marked if _parse_value(text, False) is None]
        comma = [text for text in marked if _parse_value(text, True) is None]
        if len(point) < len(marked) and not point and comma:
            evidence[False] = column
        if len(comma) < len(marked) and not comma and point:
            evidence[True] = column
    if len(evidence) == 2:
        raise UserError(
            f"column {evidence[True]!r} is written with a decimal comma but {evidence[False]!r} "
            f"with a point: write both alike, or {how.group}.decimal='.' or ','"
        )
    return True in evidence


def refuse_thousands(column: str, texts: Sequence[str], how: Written, comma: bool) -> None:
    """Raise UserError where points may stand between thousands: `1.234` beside `950`.

    texts: all cells of the column. Where no number without a point reaches 100, the points stand
    before decimals; where the comma is the sign of decimals, between thousands.
    """
    numbers = [_bare_number(text) for text in texts if text not in ("", UNKNOWN)]
    pointed = [number for number in numbers if "." in number]
    if how.decimal != "auto" or comma or not pointed or column in how.categorical:
        return
    whole = [number for number in numbers if re.fullmatch("[+-]?[0-9]{3,}", number)]
    if not all(map(POINT_GROUPED.fullmatch, pointed)) or not whole:
        return
    if all(_parse_value(n, False) is not None and not CODE.fullmatch(n) for n in numbers):
        raise UserError(
            f"column {column!r}: the point of {pointed[0]!r}, beside {whole[0]!r}, may stand "
            f"between thousands or before decimals; \"{how.group}.decimal=','\" reads thousands, "
            f"{how.group}.decimal=. decimals"
        )


# --- dates ----------------------------------------------------------------------------------------


def read_dates(
    column: str, texts: Sequence[str], how: Written, sure: bool
) -> tuple[dict[str, float], str] | None:
    """Text -> days since 1970 and the format, if the column holds dates; sure: others do."""
    texts = [text for text in texts if text != UNKNOWN]
    dated = [text for text in texts if re.search(r"[0-9].*[-/.: ].*[0-9]", text)]
    if not texts or len(dated) < MOSTLY * len(texts):
        return None
    if not sure and any(_parse_value(dated[0], comma) is not None for comma in (True, False)):
        return None
    formats = FORMATS if how.dates is None else (how.dates,)
    formats = tuple(f for f in formats if sum(_parse_dates(dated[:3], f, how).notna()))
    known = set(dated)
    is_dated = [text in known for text in texts]  # -1 is a year to pandas, and no date
    parsed = {f: _parse_dates(texts, f, how).where(np.array(is_dated)) for f in formats}
    if not parsed:
        return None
    whole = {f: found for f, found in parsed.items() if found.notna().all()}
    if not whole:
        best = max(parsed, key=lambda f: parsed[f].notna().sum())
        odd = [text for text, day in zip(texts, parsed[best], strict=True) if pd.isna(day)]
        if len(odd) > MOSTLY * len(texts):
            return None
        raise UserError(
            f"column {column!r} holds dates ({best}), but not only "
            f"({list_names([repr(t) for t in odd])}): write all alike, or "
            f"{how.setting('missing', odd[0])}, or {how.setting('categorical', column)}"
        )
    first = next(iter(whole))
    if other := next((f for f, found in whole.items() if not found.equals(whole[first])), None):
        raise UserError(
            f"column {column!r}: {texts[0]!r} may be a date written {first} or {other}; "
            f"{how.group}.dates={first} says which"
        )
    since = to_days(whole[first].dt.tz_localize(None).to_numpy("datetime64[us]"))
    found = dict(zip(texts, since.tolist(), strict=True)) | {UNKNOWN: np.nan}
    return found, f"dates written {first} (in days; {how.group}.dates)"


def check_format(how: Written) -> None:
    """Raise UserError for a format that dates cannot have."""
    if how.dates is None:
        return
    if not _parse_dates([datetime(2020, 1, 31).strftime(how.dates)], how.dates, how).notna().all():
        raise UserError(
            f"{how.group}.dates={how.dates}: it is no format of dates, such as %d/%m/%Y"
        )


def _parse_dates(texts: Sequence[str], form: str, how: Written) -> pd.Series:
    cells = pd.Series(texts, dtype=object)
    try:
        return pd.to_datetime(cells, format=form, errors="coerce", utc=True)
    except ValueError as error:
        raise UserError(f"{how.group}.dates={form}: it is no format of dates ({error})") from error


def to_days(cells: np.ndarray) -> np.ndarray:
    """Days since 1970 of dates; numbers as they are; text that is missing throughout as NaN."""
    if cells.dtype.kind == "M":
        since = cells.astype("datetime64[us]").astype(np.int64) / 86400e6
        return np.where(np.isnat(cells), np.nan, since)
    return np.full(len(cells), np.nan) if cells.dtype == object else cells
