"""HL7 v2 times to FHIR: the sender's offset stays, precision is never invented.

`YYYY[MM[DD[HH[MM[SS[.S...]]]]]][+-ZZZZ]`. A time of day needs an offset in FHIR: its own, else that of
MSH-7, else the feed's zone, in which the night of the clock change is ambiguous and reported.
Source: HL7 v2.5.1 chapter 2A (DTM, TS); the guide's map DTM[dateTime].
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_FORM = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(\.\d{1,9})?)?)?)?)?)?([+-]\d{4})?", re.ASCII
)
_CLOCK = re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(\.\d{1,9})?)?)?(?:[+-]\d{4})?", re.ASCII)
_WIDEST = timedelta(hours=14)


class Zone(NamedTuple):
    """Where a time without offset is read."""

    place: ZoneInfo
    offset: str = ""  # of MSH-7, e.g. "+0100"


class Moment(NamedTuple):
    """A time as FHIR writes it, and what had to be decided about it."""

    text: str  # dateTime: 2026, 2026-11, 2026-11-20 or with time and offset
    at: datetime  # its first instant, with zone
    rule: str = ""  # e.g. "time-ambiguous"

    @property
    def date(self) -> str:
        """The date part, as precise as it was."""
        return self.text[:10]

    @property
    def is_full(self) -> bool:
        """Whether it has a time of day, as an `instant` needs."""
        return len(self.text) > 10


def _parsed_offset(text: str) -> timezone | None:
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    delta = timedelta(minutes=-minutes if text[0] == "-" else minutes)
    return timezone(delta) if int(text[3:5]) < 60 and abs(delta) <= _WIDEST else None


def _in_place(naive: datetime, place: ZoneInfo) -> tuple[timezone, str]:
    """Return the offset in force at a wall-clock time, and what was unclear about it."""
    first, second = (naive.replace(tzinfo=place, fold=fold).utcoffset() for fold in (0, 1))
    offset = timezone(first or timedelta(0))
    if first == second:
        return offset, ""
    return offset, "time-ambiguous" if (first or timedelta(0)) > (second or timedelta(0)) else "time-skipped"


def _offset_text(zone: tzinfo, at: datetime) -> str:
    minutes = int((zone.utcoffset(at) or timedelta(0)).total_seconds() // 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


@lru_cache(maxsize=1024)
def read(text: str, zone: Zone) -> Moment | None:
    """Read a DTM or TS; None where it is no time (also for a year of zero).

    Args:
        text: As written, e.g. "202611200830+0100".
        zone: Where it is read when it has no offset.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, own = match.groups()
    try:
        seconds = min(int(second or 0), 59)  # a leap second is written 60
        naive = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), seconds)
    except ValueError:
        return None
    if (second or "0") > "60":
        return None
    given = own or zone.offset
    offset = _parsed_offset(given) if given else None
    if given and offset is None:
        return None
    found, rule = (offset, "") if offset is not None else _in_place(naive, zone.place)
    at = naive.replace(tzinfo=found)
    if hour is None:
        return Moment("-".join(p for p in (year, month, day) if p), at)
    if minute is None:
        rule = rule or "time-precision-added"
    clock = f"T{hour}:{minute or '00'}:{second or '00'}{fraction or ''}"
    return Moment(f"{year}-{month}-{day}{clock}{_offset_text(found, at)}", at, rule)


def shifted(moment: Moment, by: timedelta) -> str:
    """Return a full time moved on, with the same offset, as FHIR writes it; itself at the end of the calendar."""
    clock, offset = moment.text[:-6], moment.text[-6:]
    fraction = clock.partition(".")[2]
    naive = moment.at.replace(tzinfo=None)
    if naive > datetime.max - by:
        return moment.text
    naive += by
    return f"{naive.isoformat(timespec='seconds')}{'.' + fraction if fraction else ''}{offset}"


def read_clock(text: str) -> str | None:
    """Read a TM as a FHIR time (hh:mm:ss); None where it is none. A zone is left out: FHIR's time has none."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hour, minute, second, fraction = match.groups()
    if hour > "23" or (minute or "0") > "59" or (second or "0") > "59":
        return None
    return f"{hour}:{minute or '00'}:{second or '00'}{fraction or ''}"


def header_offset(text: str) -> str:
    """Return the offset of MSH-7, "" where it has none that can be used."""
    match = _FORM.fullmatch(text.strip())
    own = match.group(8) if match else None
    return own if own and _parsed_offset(own) else ""


def is_reversed(start: str, end: str) -> bool:
    """Whether a FHIR dateTime lies after another, as far as both are precise."""
    if len(start) > 10 and len(end) > 10:
        return datetime.fromisoformat(_whole(start)) > datetime.fromisoformat(_whole(end))
    shorter = min(len(start), len(end), 10)
    return start[:shorter] > end[:shorter]


def _whole(text: str) -> str:
    """Return a dateTime that `fromisoformat` reads: no leap second, six digits of a second."""
    clock, offset = text[:-6].replace(":60", ":59"), text[-6:]
    head, _, fraction = clock.partition(".")
    return f"{head}.{fraction[:6]:0<6}{offset}" if fraction else head + offset


def instant(micros: int) -> datetime:
    """Return microseconds since 1970 as a time in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def micros(at: datetime) -> int:
    """Return a time as microseconds since 1970-01-01T00:00Z."""
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def stamp(micros_since_1970: int) -> str:
    """Write a time as MSH-7, in UTC."""
    return instant(micros_since_1970).strftime("%Y%m%d%H%M%S") + "+0000"
