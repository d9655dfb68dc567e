"""Dates as spans: what they mean in a zone, and that they are what Python's datetime says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.dates import EARLIEST, LATEST, instant, read, read_period, read_timing, span
from fhir_server.search.values import Period

PARIS = ZoneInfo("Europe/Paris")
HOUR = 3_600_000_000
DAY = 24 * HOUR
Y2024 = 1_704_067_200_000_000  # 2024-01-01T00:00Z


@pytest.mark.parametrize(
    ("text", "lo", "width"),
    [
        pytest.param("2024", Y2024 - HOUR, 366 * DAY, id="a leap year"),
        pytest.param("2024-02", Y2024 + 31 * DAY - HOUR, 29 * DAY, id="a month"),
        pytest.param("2024-03-31", Y2024 + 90 * DAY - HOUR, 23 * HOUR, id="the day on which summer time begins"),
        pytest.param("2024-10-27", Y2024 + 300 * DAY - 2 * HOUR, 25 * HOUR, id="the day on which it ends"),
        pytest.param("2024-01-01T10:05", Y2024 + 9 * HOUR + HOUR // 12, 60_000_000, id="a minute without zone"),
        pytest.param("2024-01-01T10:00:00Z", Y2024 + 10 * HOUR, 1_000_000, id="a second in UTC"),
        pytest.param("2024-01-01T10:00:00-05:30", Y2024 + 15 * HOUR + HOUR // 2, 1_000_000, id="a second in the west"),
        pytest.param("2024-01-01T10:00:00.25Z", Y2024 + 10 * HOUR + 250_000, 10_000, id="hundredths of a second"),
        pytest.param("2024-01-01T10:00:00.1234567Z", Y2024 + 10 * HOUR + 123_456, 1, id="finer than a microsecond"),
        pytest.param(
            "2024-10-27T02:30:00", Y2024 + 300 * DAY + HOUR // 2, 1_000_000, id="an hour shown twice: the first"
        ),
    ],
)
def test_a_date_means_all_of_itself(text: str, lo: int, width: int) -> None:
    assert span(text, PARIS) == Period(lo, lo + width)


def test_the_last_day_has_no_end() -> None:
    assert span("9999-12-31", UTC).hi == span("9999", UTC).hi == span("9999-12", UTC).hi == LATEST


@pytest.mark.parametrize(
    "text",
    ["", "24", "2024-13", "2024-00", "2023-02-29", "2024-1-1", "2024-01-01T10", "2024-01-01T24:00Z", "2024-01-01T10:61Z",
     "2024-01-01T10:00:61Z", "2024-01-01T10:00+15:00", "2024-01-01 10:00", "2024-01T10:00", "0000", "²024", "2024Z"],
)  # fmt: skip
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        span(text, PARIS)
    assert read(text, PARIS) is None


def test_what_is_no_text_is_not_read() -> None:
    assert read(2024, PARIS) is None


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_moments_are_those_of_datetime(at: datetime, zone: timezone) -> None:
    moment = at.replace(tzinfo=zone)
    text = at.isoformat(timespec="microseconds") + moment.strftime("%z")[:3] + ":" + moment.strftime("%z")[3:5]
    lo = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert span(text, PARIS) == Period(lo, lo + 1)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31)),
    st.sampled_from(["", ".1", ".120", ".123456", ".123456789"]),
    st.sampled_from(["Z", "+00:00", "+01:00", "-09:30", "+14:00", "+14:59", "-14:59"]),
)
def test_an_instant_is_the_span_of_its_text(at: datetime, fraction: str, zone: str) -> None:
    text = f"{at:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"
    assert instant(text) == span(text, PARIS)


@pytest.mark.parametrize("text", ["2024-02-30T00:00:00Z", "2024-02-01T24:00:00Z", "2024-02-01T00:00:00+15:00"])
def test_no_instant_is_refused_as_no_span_is(text: str) -> None:
    for read_text in (instant, lambda given: span(given, PARIS)):
        with pytest.raises(ValueError):
            read_text(text)


@given(st.dates())
def test_days_follow_each_other(day: Any) -> None:
    text = f"{day:%Y}".zfill(4) + f"-{day:%m-%d}"
    month, year = span(text[:7], PARIS), span(text[:4], PARIS)
    found = span(text, PARIS)
    assert year.lo <= month.lo <= found.lo < found.hi <= month.hi <= year.hi


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        pytest.param({"start": "2024", "end": "2024"}, Period(Y2024, Y2024 + 366 * DAY), id="both ends"),
        pytest.param({"start": "2024"}, Period(Y2024, LATEST), id="no end"),
        pytest.param({"end": "2023"}, Period(EARLIEST, Y2024), id="no start"),
        pytest.param({}, None, id="neither"),
        pytest.param({"start": "soon", "end": "2023"}, None, id="a start that cannot be read"),
        pytest.param({"start": "2024", "end": "2020"}, None, id="an end before the start"),
    ],
)
def test_periods(period: dict[str, Any], expected: Period | None) -> None:
    assert read_period(period, UTC) == expected


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        pytest.param({"event": ["2024", "2022", "x"]}, Period(span("2022", UTC).lo, Y2024 + 366 * DAY), id="events"),
        pytest.param({"repeat": {"boundsPeriod": {"start": "2024"}}}, Period(Y2024, LATEST), id="bounds"),
        pytest.param({"repeat": {"frequency": 2}}, None, id="no outer limits"),
        pytest.param({"event": "2024", "repeat": 5}, None, id="what is no Timing"),
    ],
)
def test_timings_have_outer_limits(timing: dict[str, Any], expected: Period | None) -> None:
    assert read_timing(timing, UTC) == expected
