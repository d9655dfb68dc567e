"""Dates, times and both, with the precision they are written in.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#date-time-arithmetic
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Hashable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.quantity import CALENDAR, Quantity

_CLOCK = r"(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d+))?)?)?"
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)
_DATETIME = re.compile(rf"(\d{{4}})(?:-(\d{{2}})(?:-(\d{{2}}))?)?(?:T(?:{_CLOCK})?(Z|[+-]\d{{2}}:\d{{2}})?)?", re.ASCII)
_TIME = re.compile(rf"T?{_CLOCK}", re.ASCII)
_LOWEST = (1, 1, 1, 0, 0, 0, 0)
_HOUR: Final = 3_600_000_000  # microseconds
EAST: Final = 14 * 60  # the zones furthest from UTC, in minutes
WEST: Final = -12 * 60


class Temporal(NamedTuple):
    """A System.Date, System.DateTime or System.Time."""

    kind: str  # Date | DateTime | Time
    parts: tuple[int, ...]  # of a Time: hour, minute, second, microsecond; else year first; as far as written
    offset: int | None = None  # minutes east of UTC; None: not said
    digits: int = 0  # of the fraction of a second

    def __str__(self) -> str:
        """As FHIR JSON has it, e.g. `2015-02-04T14:34:28Z`, `14:34`."""
        if self.kind == "Time":
            return _clock(self.parts, self.digits)
        day = "-".join(f"{part:0{width}d}" for part, width in zip(self.parts, (4, 2, 2), strict=False))
        if len(self.parts) > 3:
            day += "T" + _clock(self.parts[3:], self.digits)
        if self.offset is None:
            return day
        hours, minutes = divmod(abs(self.offset), 60)
        return day + (f"{'-' if self.offset < 0 else '+'}{hours:02d}:{minutes:02d}" if self.offset else "Z")

    @property
    def level(self) -> int:
        """How precise: 1 year ... 6 second (of a Time counted as if it had a date); fractions do not count."""
        return min(6, len(self.parts) + (3 if self.kind == "Time" else 0))


def _clock(parts: tuple[int, ...], digits: int) -> str:
    text = ":".join(f"{part:02d}" for part in parts[:3])
    return f"{text}.{parts[3]:06d}"[: len(text) + 1 + digits] if len(parts) > 3 else text


def _fraction(text: str) -> int:
    return int(text[:6].ljust(6, "0"))


def _is_clock(parts: tuple[int, ...]) -> bool:
    return all(part <= top for part, top in zip(parts, (23, 59, 60), strict=False))


def _is_day(parts: tuple[int, ...]) -> bool:
    if not parts[0] or (len(parts) > 1 and not 1 <= parts[1] <= 12):
        return False
    return len(parts) < 3 or 1 <= parts[2] <= monthrange(parts[0], parts[1])[1]


def parse_date(text: str) -> Temporal | None:
    """Read `2015`, `2015-02` or `2015-02-04`; None for another text."""
    match = _DATE.fullmatch(text)
    parts = tuple(int(part) for part in match.groups() if part is not None) if match else ()
    return Temporal("Date", parts) if parts and _is_day(parts) else None


@lru_cache(maxsize=4096)
def parse_datetime(text: str) -> Temporal | None:
    """Read a dateTime, an instant, or a date as such; None for another text."""
    match = _DATETIME.fullmatch(text)
    if match is None:
        return None
    *numbers, fraction, zone = match.groups()
    parts = tuple(int(part) for part in numbers if part is not None)
    if not _is_day(parts) or not _is_clock(parts[3:]) or (numbers[3] and not numbers[2]):
        return None
    offset = None if zone is None else 0 if zone == "Z" else int(zone[:3] + "0") * 6 + int(zone[0] + zone[4:])
    if fraction:
        return Temporal("DateTime", (*parts, _fraction(fraction)), offset, min(6, len(fraction)))
    return Temporal("DateTime", parts, offset)


def parse_time(text: str) -> Temporal | None:
    """Read `14`, `14:34`, `14:34:28` or `14:34:28.123`, with or without a leading T; None for another text."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    *numbers, fraction = match.groups()
    parts = tuple(int(part) for part in numbers if part is not None)
    if not _is_clock(parts):
        return None
    if fraction:
        return Temporal("Time", (*parts, _fraction(fraction)), None, min(6, len(fraction)))
    return Temporal("Time", parts)


def from_datetime(at: datetime) -> Temporal:
    """Return a moment with zone as a DateTime with milliseconds."""
    shift = at.utcoffset()
    offset = None if shift is None else int(shift.total_seconds()) // 60
    micro = at.microsecond // 1000 * 1000
    return Temporal("DateTime", (at.year, at.month, at.day, at.hour, at.minute, at.second, micro), offset, 3)


def _moment(parts: tuple[int, ...], offset: int) -> int:
    """Microseconds since year 1, of parts filled up from below."""
    full = parts + _LOWEST[len(parts) :]
    days = datetime(full[0], full[1], full[2]).toordinal()
    clock = (full[3] * 60 + full[4] - offset) * 60 + full[5]
    return (days * 86400 + clock) * 1_000_000 + full[6]


def _moved(value: Temporal) -> tuple[int, ...]:
    """The parts in UTC, as precise as before."""
    if not value.offset or len(value.parts) < 4:
        return value.parts
    at = _moment(value.parts, value.offset) // 1_000_000
    day = datetime.fromordinal(max(1, at // 86400))
    clock = at % 86400
    full = (day.year, day.month, day.day, clock // 3600, clock // 60 % 60, clock % 60, *value.parts[6:])
    return full[: len(value.parts)]


def _in_order(left: tuple[int, ...], right: tuple[int, ...], seconds: int) -> int | None:
    """Compare part by part; `seconds` is how many parts there are up to the second."""
    for a, b in zip(left[:seconds], right[:seconds], strict=False):
        if a != b:
            return -1 if a < b else 1
    if min(len(left), seconds) != min(len(right), seconds):
        return None
    a, b = (part[seconds] if len(part) > seconds else 0 for part in (left, right))
    return (a > b) - (a < b)


def _span(value: Temporal) -> tuple[int, int]:
    """The earliest and the latest moment that it may mean."""
    low, high = boundary(value, low=True), boundary(value, low=False)
    return (
        _moment(low, EAST if value.offset is None else value.offset),
        _moment(high, WEST if value.offset is None else value.offset),
    )


def boundary(value: Temporal, *, low: bool) -> tuple[int, ...]:
    """Return all seven parts of the first or last moment of a Date or DateTime."""
    if low:
        return value.parts + _LOWEST[len(value.parts) :]
    parts = value.parts + (12,) * (2 - len(value.parts))
    if len(parts) == 2:
        parts += (monthrange(parts[0], parts[1])[1],)
    parts += (23, 59, 59)[len(parts) - 3 :] if len(parts) < 6 else ()
    if len(parts) < 7:
        return (*parts, 999_999)
    return (*parts[:6], parts[6] + 10 ** (6 - value.digits) - 1)


def compare(left: Temporal, right: Temporal) -> int | None:
    """Return -1, 0 or 1; None when the precisions or a missing zone leave it open.

    Raises:
        EvaluationError: One is a Time, the other is not.
    """
    if (left.kind == "Time") != (right.kind == "Time"):
        raise EvaluationError("A time cannot be compared with a date.")
    if left.kind == "Time":
        return _in_order(left.parts, right.parts, 3)
    if left.offset == right.offset:
        return _in_order(left.parts, right.parts, 6)
    if left.offset is not None and right.offset is not None:
        return _in_order(_moved(left), _moved(right), 6)
    (first, last), (other_first, other_last) = _span(left), _span(right)
    return -1 if last < other_first else 1 if first > other_last else None


def key(value: Temporal) -> Hashable:
    """Return what equal values have in common."""
    parts = _moved(value)
    full = 3 if value.kind == "Time" else 6
    if len(parts) > full and not parts[full]:
        parts = parts[:full]
    return (value.kind == "Time", parts, value.offset is None)


# Units by the level they belong to, and how many of them make one of the level above.
_LEVEL: Final = {"year": 1, "month": 2, "week": 3, "day": 3, "hour": 4, "minute": 5, "second": 6, "millisecond": 6}
_TO_COARSER: Final = {2: 12, 3: 30, 4: 24, 5: 60, 6: 60}
_DEFINITE: Final = {"wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond"}
_SECONDS: Final = {"week": 604800, "day": 86400, "hour": 3600, "minute": 60, "second": 1}


def add(value: Temporal, amount: Quantity, sign: int) -> Temporal:
    """Return a date or time moved by a duration; parts finer than it is written in are cut off.

    Raises:
        EvaluationError: The unit is no duration that a date can be moved by (UCUM's `mo` and `a` are none).
    """
    word = amount.unit if amount.calendar else _DEFINITE.get(amount.unit) or CALENDAR.get(amount.unit, "")
    if not word or (value.kind == "Time" and _LEVEL[word] < 4):
        raise EvaluationError("A date or time can be moved by a calendar duration only.")
    if _LEVEL[word] < 3 and value.kind != "Time":
        return _add_months(value, sign * int(amount.value) * (12 if word == "year" else 1))
    if word == "millisecond":
        micros = sign * int(amount.value) * 1000
    elif word == "second" and amount.calendar:
        micros = sign * int(amount.value * 1_000_000)
    else:
        micros = sign * int(amount.value) * _SECONDS[word] * 1_000_000
    return _add_micros(value, micros)


def _add_months(value: Temporal, months: int) -> Temporal:
    year, month = value.parts[0], value.parts[1] if len(value.parts) > 1 else 1
    if len(value.parts) == 1:
        months = int(months / 12) * 12
    year, month = divmod(year * 12 + month - 1 + months, 12)
    _check_year(year)
    if len(value.parts) < 3:
        return value._replace(parts=(year, month + 1)[: len(value.parts)])
    day = min(value.parts[2], monthrange(year, month + 1)[1])
    return value._replace(parts=(year, month + 1, day, *value.parts[3:]))


def _check_year(year: int) -> None:
    if not 1 <= year <= 9999:
        raise EvaluationError("The date would be outside the years 1 to 9999.")


def _add_micros(value: Temporal, micros: int) -> Temporal:
    if value.kind == "Time":
        return _add_to_time(value, micros)
    count = len(value.parts)
    if count < 3:
        days = int(micros / (24 * _HOUR))
        return _add_months(value, int(days / 365) * 12 if count == 1 else int(days / 30))
    if count == 3:
        micros = int(micros / (24 * _HOUR)) * 24 * _HOUR
    year, month, day, hour, minute, second, micro = value.parts + _LOWEST[count:]
    try:
        at = datetime(year, month, day, hour, minute, min(second, 59), micro) + timedelta(microseconds=micros)
    except OverflowError:
        raise EvaluationError("The date would be outside the years 1 to 9999.") from None
    parts = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)[:count]
    return value._replace(parts=parts)


def _add_to_time(value: Temporal, micros: int) -> Temporal:
    full = value.parts + (0,) * (4 - len(value.parts))
    at = (((full[0] * 60 + full[1]) * 60 + full[2]) * 1_000_000 + full[3] + micros) % (24 * _HOUR)
    seconds = at // 1_000_000
    parts = (seconds // 3600, seconds // 60 % 60, seconds % 60, at % 1_000_000)[: len(value.parts)]
    return value._replace(parts=parts)
