"""Check-ins: the hour of the week, time zones, rows that cannot be read."""

from __future__ import annotations

import gzip
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.checkins import Checkins, hour_of_week
from benchmark.data.dataset import read_dataset
from victims.errors import UserError

ROWS = """\
user,time,place
zoe,2013-06-03T00:59:59,a
zoe,2013-06-03 00:01,b
zoe,2013-06-09T23:30:00,a
abe,1370217600,c
abe,2013-06-03T05:30:00Z,c
abe,2013-06-03T05:30:00+02:00,a
"""
# 3 June 2013 was a Monday, 9 June a Sunday; 1370217600 s is Monday 00:00 UTC.


def lay(tmp_path, text: str = ROWS) -> str:
    (tmp_path / "checkins.csv").write_text(text)
    return str(tmp_path / "checkins.csv")


def prepared(source: Checkins, folder):
    source.prepare(folder)
    return read_dataset(folder)


def test_counts_of_the_hours_of_the_week(tmp_path):
    data = prepared(Checkins(lay(tmp_path)), tmp_path / "out")
    assert data.values.shape == (2, 168)
    assert data.values.dtype == np.float32
    abe, zoe = data.values
    assert {hour: abe[hour] for hour in np.flatnonzero(abe)} == {0: 1, 5: 1, 3: 1}
    assert {hour: zoe[hour] for hour in np.flatnonzero(zoe)} == {0: 2, 167: 1}
    assert data.facts["places"] == 3
    assert data.facts["check_ins"] == 6


def test_times_with_an_offset_are_converted_and_local_ones_are_not(tmp_path):
    data = prepared(Checkins(lay(tmp_path), timezone="America/New_York"), tmp_path / "out")
    abe, zoe = data.values
    # Monday 00:00, 05:30 and 03:30 UTC are Sunday 20:00, Monday 01:30, Sunday 23:30 in New York.
    assert np.flatnonzero(abe).tolist() == [1, 6 * 24 + 20, 6 * 24 + 23]
    assert np.flatnonzero(zoe).tolist() == [0, 167]


@given(st.integers(0, 2_000_000_000))
def test_hour_of_week_agrees_with_pandas(seconds):
    moment = pd.Timestamp(seconds, unit="s", tz="UTC").tz_convert("America/New_York")
    zone = ZoneInfo("America/New_York")
    assert hour_of_week(str(seconds), zone) == moment.dayofweek * 24 + moment.hour
    assert hour_of_week(moment.isoformat(), zone) == hour_of_week(str(seconds), zone)


def test_users_with_few_check_ins_are_left_out_and_columns_can_have_other_names(tmp_path):
    text = ROWS.replace("user,time,place", "Id,When,Venue") + "few,1370217600,a\n"
    columns = {"user": "id", "time": "when", "place": "venue"}
    data = prepared(Checkins(lay(tmp_path, text), columns, least=3), tmp_path / "out")
    assert len(data.values) == 2
    assert data.facts["users_left_out"] == 1
    with pytest.raises(UserError, match="no column 'user'; its columns are Id, When, Venue"):
        Checkins(lay(tmp_path, text)).prepare(tmp_path / "out")
    with pytest.raises(UserError, match=r"data.least=9: no user"):
        Checkins(lay(tmp_path, text), columns, least=9).prepare(tmp_path / "out")


BAD = ROWS + "zoe,yesterday,a\nzoe,2013-06-03,a\n,1370217600,a\nabe,1370217600\nabe,nan,a\n"


def test_unreadable_rows_are_named_or_left_out(tmp_path):
    with pytest.raises(UserError, match=r"5 of 11 check-ins cannot be used: checkins.csv line 8"):
        Checkins(lay(tmp_path, BAD)).prepare(tmp_path / "out")
    data = prepared(Checkins(lay(tmp_path, BAD), on_error="skip"), tmp_path / "out")
    assert data.values.sum() == 6
    assert data.facts["skipped"] == 5


def test_identity_is_that_of_the_content(tmp_path):
    before = Checkins(lay(tmp_path)).identity()
    (tmp_path / "other.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    assert Checkins(str(tmp_path / "other.csv")).identity() == before
    assert Checkins(lay(tmp_path, ROWS.replace("zoe", "eva"))).identity() != before


def test_settings_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"data.timezone=Mars/Base"):
        Checkins("x.csv", timezone="Mars/Base")
    with pytest.raises(UserError, match=r"data.columns: \['places'\]"):
        Checkins("x.csv", {"places": "p"})
    with pytest.raises(UserError, match=f"none.csv was not found; looked in {tmp_path}"):
        Checkins(str(tmp_path / "none.csv")).identity()
