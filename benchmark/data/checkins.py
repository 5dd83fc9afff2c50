"""Check-ins: how often a person checks in at each hour of the week."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import PositiveInt

from benchmark.data.dataset import write_records
from benchmark.data.files import Faults, OnError, columns_of, csv_rows, find_file, hash_content
from benchmark.store.folders import home
from victims.errors import UserError

HOURS = 24 * 7
ADVICE = (
    "it is a CSV with one check-in a row (user, time, place); the Instagram data of GAN-Leaks are "
    "not public, so set data.file to your own"
)
COLUMNS = {"user": "user", "time": "time", "place": "place"}


class Checkins:
    """One record per user: (168,) float32 counts, Monday 00:00-00:59 first, Sunday 23:00 last.

    All weeks of a user are added up; the place is checked but is no feature. Users are sorted by
    name.

    file: CSV, plain or .gz.
    columns: what its columns are called (user, time, place).
    timezone: name such as America/New_York, in which the hour is read. Seconds since 1970 and ISO
    8601 times with an offset are converted to it; ISO times without one are taken as local.
    least: check-ins; users with fewer are left out (counted in the facts).
    on_error: raise or skip, for rows that cannot be read.

    Source: the 24*7 = 168 features of GAN-Leaks (Chen et al. 2020, arXiv 1909.03935).
    """

    def __init__(
        self,
        file: str,
        columns: Mapping[str, str] = COLUMNS,
        timezone: str = "UTC",
        least: PositiveInt = 1,
        on_error: OnError = "raise",
    ) -> None:
        if unknown := set(columns) - set(COLUMNS):
            raise UserError(f"data.columns: {sorted(unknown)} unknown; allowed are {[*COLUMNS]}")
        try:
            self.zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise UserError(f"data.timezone={timezone}: no such time zone") from error
        self.file, self.columns = home(file), COLUMNS | dict(columns)
        self.timezone, self.least, self.on_error = timezone, least, on_error

    def identity(self) -> dict[str, Any]:
        """Settings and a hash of the file."""
        return {
            "name": "checkins",
            "columns": self.columns,
            "timezone": self.timezone,
            "least": self.least,
            "on_error": self.on_error,
            "content": hash_content(self._find_file()),
        }

    def prepare(self, folder: Path) -> None:
        """Read the file once, row by row; only the counts are in memory."""
        counts, places, facts = self._count_visits()
        users = [user for user in sorted(counts) if counts[user].sum() >= self.least]
        if not users:
            raise UserError(
                f"data.least={self.least}: no user of {self.file} has as many check-ins"
            )
        values = np.stack([counts[user] for user in users]).astype(np.float32)
        facts |= {"records": len(users), "users_left_out": len(counts) - len(users)}
        facts |= {"check_ins": int(values.sum()), "places": places}
        write_records(folder, [values], len(users), np.arange(len(users)), facts)

    def _count_visits(self) -> tuple[dict[str, np.ndarray], int, dict[str, Any]]:
        """Counts (168,) per user, the number of places, and facts."""
        path, faults = self._find_file(), Faults(self.on_error)
        counts: dict[str, np.ndarray] = {}
        places, total = set[str](), 0
        lines = csv_rows(path)
        wanted = columns_of(next(lines, (1, [""]))[1], list(self.columns.values()), path)
        at = dict(zip(self.columns, wanted, strict=True))
        for number, cells in lines:
            total += 1
            try:
                user, time, place = (cells[at[name]].strip() for name in COLUMNS)
                if not user or not place:
                    raise ValueError("no user" if not user else "no place")
                hour = hour_of_week(time, self.zone)
            except (ValueError, IndexError, OverflowError, OSError) as error:
                faults.add(f"{path.name} line {number}", error)
                continue
            counts.setdefault(user, np.zeros(HOURS, np.int32))[hour] += 1
            places.add(place)
        return counts, len(places), {"name": "checkins"} | faults.settle(total, "check-ins")

    def _find_file(self) -> Path:
        return find_file(self.file.name, [self.file.parent], ADVICE)


def hour_of_week(time: str, zone: ZoneInfo) -> int:
    """0 (Monday, first hour) to 167 of seconds since 1970 or an ISO 8601 time.

    Raises ValueError where it is neither.
    """
    try:
        moment = datetime.fromtimestamp(float(time), UTC)
    except ValueError:
        if len(time) <= len("2013-01-01"):
            raise ValueError(f"time {time!r}: needed are seconds, or a date with an hour") from None
        moment = datetime.fromisoformat(time)
    if moment.tzinfo is not None:
        moment = moment.astimezone(zone)
    return moment.weekday() * 24 + moment.hour
