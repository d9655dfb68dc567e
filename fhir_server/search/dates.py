"""FHIR dates as half-open spans of microseconds since 1970-01-01T00:00Z.

A date means all of itself: `2024` is the span of that year, `10:05` that of a minute. What has no zone is taken
in the zone given. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final

from fhir_server.search.values import Period

EARLIEST: Final = -(2**63)  # an open beginning
LATEST: Final = 2**63 - 1  # an open end

_SECOND: Final = 1_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_ZERO: Final = datetime(1970, 1, 1)
_UTC_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FARTHEST: Final = timedelta(hours=15)  # from UTC; no zone is
_TEXT: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,60}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)


@lru_cache(maxsize=16384)
def span(text: str, zone: tzinfo) -> Period:
    """Return the span of a date, dateTime or instant, written to any precision down from the year.

    Args:
        text: `2024`, `2024-02`, `2024-02-29`, or with a time to the minute, the second or a fraction of it.
        zone: Of a text that names none.

    Raises:
        ValueError: It is no such text, or no such day exists.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError("not a FHIR date")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if hour is None:
        return _days(int(year), month, day, zone)
    clock = int(hour) * 3600 + int(minute) * 60
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        raise ValueError("no such time of day")
    width = 60 * _SECOND
    micros = 0
    if second is not None:
        clock += int(second)
        digits = (fraction or "")[:6]
        width = 10 ** (6 - len(digits))
        micros = int(digits) * width if digits else 0
    day_number = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    if offset is None:
        lo = _local(datetime(int(year), int(month), int(day)) + timedelta(seconds=clock), zone)
    else:
        lo = (day_number * 86400 + clock - _offset(offset)) * _SECOND
    return Period(lo + micros, lo + micros + width)


def instant(text: str) -> Period:
    """Return the span of a time to the second or a fraction of it, with its zone; `span` gives the same, slower.

    Args:
        text: Of that form, as `2024-02-29T10:05:00+01:00`.

    Raises:
        ValueError: There is no such time, or it is a leap second, which `span` takes.
    """
    at = datetime.fromisoformat(text)
    offset = at.utcoffset()
    if offset is None or not -_FARTHEST < offset < _FARTHEST or text.startswith("24", 11):
        raise ValueError("no such time or zone")
    lo = (at - _UTC_ZERO) // _MICROSECOND
    if text[19] != ".":
        return Period(lo, lo + _SECOND)
    digits = len(text) - (21 if text[-1] == "Z" else 26)
    return Period(lo, lo + 10 ** max(6 - digits, 0))


def _offset(text: str) -> int:
    """Seconds east of UTC."""
    if text == "Z":
        return 0
    hours, minutes = int(text[1:3]), int(text[4:])
    if hours > 14 or minutes > 59:
        raise ValueError("no such zone")
    seconds = hours * 3600 + minutes * 60
    return -seconds if text[0] == "-" else seconds


def _local(at: datetime, zone: tzinfo) -> int:
    """Microseconds of a wall clock time in a zone; of two times that it shows, the earlier."""
    offset = at.replace(tzinfo=zone).utcoffset() or timedelta()
    return (at - _ZERO - offset) // timedelta(microseconds=1)


def _days(year: int, month: str | None, day: str | None, zone: tzinfo) -> Period:
    if month is None:
        first, following = datetime(year, 1, 1), _first(year + 1, 1)
    elif day is None:
        number = int(month)
        first = datetime(year, number, 1)
        following = _first(year + number // 12, number % 12 + 1)
    else:
        first = datetime(year, int(month), int(day))
        following = None if first.date() == date.max else first + timedelta(days=1)
    return Period(_local(first, zone), LATEST if following is None else _local(following, zone))


def _first(year: int, month: int) -> datetime | None:
    return datetime(year, month, 1) if year <= date.max.year else None


def read(text: Any, zone: tzinfo) -> Period | None:
    """Return the span of a stored date; None where it cannot be read."""
    if not isinstance(text, str):
        return None
    try:
        return span(text, zone)
    except ValueError:
        return None


def read_period(value: Mapping[str, Any], zone: tzinfo) -> Period | None:
    """Return the span of a FHIR Period, with an open end where it has none; None where it says nothing."""
    start, end = value.get("start"), value.get("end")
    first = None if start is None else read(start, zone)
    last = None if end is None else read(end, zone)
    if (first is None and last is None) or (start is not None and first is None) or (end is not None and last is None):
        return None
    lo = EARLIEST if first is None else first.lo
    hi = LATEST if last is None else last.hi
    return Period(lo, hi) if lo < hi else None


def read_timing(value: Mapping[str, Any], zone: tzinfo) -> Period | None:
    """Return the outer limits of a Timing: of its events and its bounds; None where it has neither.

    "the specified scheduling details are ignored and only the outer limits matter":
    https://hl7.org/fhir/R4/search.html#date
    """
    events = value.get("event")
    spans = [read(event, zone) for event in events] if isinstance(events, list) else []
    repeat = value.get("repeat")
    bounds = repeat.get("boundsPeriod") if isinstance(repeat, dict) else None
    if isinstance(bounds, dict):
        spans.append(read_period(bounds, zone))
    found = [period for period in spans if period is not None]
    if not found:
        return None
    return Period(min(period.lo for period in found), max(period.hi for period in found))
