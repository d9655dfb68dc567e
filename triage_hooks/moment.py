"""FHIR dates and moments to microseconds, and back.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/datatypes.html#dateTime
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?$")


class Span(NamedTuple):
    """From the first to the last microsecond that a date can mean."""

    first: int
    last: int


def micros(at: datetime) -> int:
    """Return microseconds since 1970-01-01T00:00Z."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """Return the aware datetime, in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def written(at: int) -> str:
    """Return a FHIR dateTime in UTC, to the millisecond: `2026-11-20T07:00:00.000Z`."""
    return f"{moment(at):%Y-%m-%dT%H:%M:%S}.{at // 1000 % 1000:03}Z"


def span(text: object, zone: tzinfo) -> Span | None:
    """Return what a date or dateTime means; a bare date is of `zone`; None for what is neither."""
    if not isinstance(text, str):
        return None
    try:
        if len(text) <= 10 and (part := _DATE.match(text)):
            return _days(int(part[1]), part[2], part[3], zone)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    exact = micros(at if at.tzinfo else at.replace(tzinfo=zone))
    return Span(exact, exact)


def _days(year: int, month: str | None, day: str | None, zone: tzinfo) -> Span:
    first = datetime(year, int(month or 1), int(day or 1), tzinfo=zone)
    if day:
        after = first + timedelta(days=1)
    elif month:
        after = (first + timedelta(days=32)).replace(day=1)
    else:
        after = first.replace(year=year + 1)
    return Span(micros(first), micros(after) - 1)
