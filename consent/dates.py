"""FHIR dates as spans of time: a partial date is the whole of its local day, month or year.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/datatypes.html#dateTime and #Period
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

ALWAYS_LO, ALWAYS_HI = -(2**63), 2**63 - 1
SECOND = 1_000_000  # microseconds

_DATE = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2}))?)?)?"
)


class Span(NamedTuple):
    """A half-open span [lo, hi) in microseconds since 1970; open ends are the int64 bounds."""

    lo: int
    hi: int

    def holds(self, at: int) -> bool:
        """Whether an instant lies in the span."""
        return self.lo <= at < self.hi

    def holds_all(self, other: Span) -> bool:
        """Whether another span lies in this one."""
        return self.lo <= other.lo and other.hi <= self.hi

    def meets(self, other: Span) -> bool:
        """Whether the two have an instant in common."""
        return self.lo < other.hi and other.lo < self.hi


def read_date(text: object, zone: ZoneInfo) -> Span | None:
    """Return the span of a date, dateTime or instant; None for what is none."""
    match = _DATE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        if hour is not None:
            lo = _instant(f"{year}-{month}-{day}T{hour}:{minute}", int(second), offset)
            digits = (fraction or "")[:6]
            return Span(lo + int(digits.ljust(6, "0")), lo + int(digits.ljust(6, "0")) + 10 ** (6 - len(digits)))
        start = datetime(int(year), int(month or 1), int(day or 1), tzinfo=zone)
        if day:
            end = start + timedelta(days=1)  # of the wall clock: a day with a change of the clock is a day
        elif month:
            end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        else:
            end = start.replace(year=start.year + 1)
        return Span(_micros(start), _micros(end))
    except (ValueError, OverflowError):
        return None


def read_period(period: Mapping[str, Any], zone: ZoneInfo) -> Span | None:
    """Return the span of a Period, its end included; None where a bound is none or it ends before it starts."""
    lo, hi = ALWAYS_LO, ALWAYS_HI
    if "start" in period:
        start = read_date(period["start"], zone)
        if start is None:
            return None
        lo = start.lo
    if "end" in period:
        end = read_date(period["end"], zone)
        if end is None:
            return None
        hi = end.hi
    return Span(lo, hi) if lo < hi else None


def _instant(minute: str, second: int, offset: str) -> int:
    """Return microseconds of a minute and its seconds; 60 is a leap second."""
    at = datetime.fromisoformat(minute + offset.replace("Z", "+00:00"))
    return _micros(at) + second * SECOND


def _micros(at: datetime) -> int:
    return (at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
