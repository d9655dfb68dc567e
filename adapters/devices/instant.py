"""Instants: FHIR dateTime texts to microseconds since 1970, and back.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/datatypes.html#dateTime
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)
_EXACT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DATE: Final = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
_OFFSET: Final = timedelta(hours=14)  # the largest that FHIR allows


def exact(text: str) -> int | None:
    """Return the instant of a dateTime that has time of day and offset; None for any other text.

    A leap second (`:60`, at the end of a month of UTC) is the instant that follows it, as clocks of computers have it.
    """
    if not _EXACT.fullmatch(text):
        return None
    try:
        at = _read(text)
    except (ValueError, OverflowError):
        return None
    offset = at.utcoffset()
    if offset is None or abs(offset) > _OFFSET:
        return None
    return (at - _EPOCH) // _MICROSECOND


def _read(text: str) -> datetime:
    """Read an exact dateTime; raise ValueError or OverflowError where no calendar has it."""
    if text[17:19] != "60":
        return datetime.fromisoformat(text)
    after = datetime.fromisoformat(f"{text[:17]}59{text[19:]}") + _SECOND
    inserted = after.astimezone(UTC)
    if (inserted.day, inserted.hour, inserted.minute, inserted.second) != (1, 0, 0, 0):
        raise ValueError("No leap second can be there.")
    return after


def start(text: str, zone: tzinfo) -> int | None:
    """Return the first microsecond that a date or dateTime may mean; a bare date is of `zone`."""
    return exact(text) if "T" in text else _day(text, zone, after=False)


def end(text: str, zone: tzinfo) -> int | None:
    """Return the microsecond after the last one that a date or dateTime may mean."""
    if "T" not in text:
        return _day(text, zone, after=True)
    at = exact(text)
    return None if at is None else at + 1


def _day(text: str, zone: tzinfo, *, after: bool) -> int | None:
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
    try:
        first = datetime(year, month, day)
        if after and found[3]:
            first += timedelta(days=1)
        elif after:
            first = datetime(year + (month == 12 or not found[2]), month % 12 + 1 if found[2] else 1, 1)
        return (first.replace(tzinfo=zone) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None


def written(at: int) -> str:
    """Return a FHIR instant in UTC to the millisecond: `2026-11-20T07:00:00.000Z`."""
    moment = _EPOCH + timedelta(microseconds=at)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at // 1000 % 1000:03}Z"


def spoken(text: str) -> str:
    """Return an exact dateTime in French words: `le 23/11/2026 à 08:12 (UTC+01:00)`."""
    zone = text[19:].lstrip(".0123456789")
    place = "UTC" if zone in ("Z", "+00:00", "-00:00") else f"UTC{zone}"
    return f"le {text[8:10]}/{text[5:7]}/{text[:4]} à {text[11:16]} ({place})"


def moved(text: str, by: int, like: str = "") -> str:
    """Return an exact dateTime moved by microseconds, with as many decimals of a second as it had or as it needs.

    Args:
        text: A dateTime with time of day and offset.
        by: Microseconds; may be negative.
        like: A dateTime whose zone offset the result has; its own where it is empty.
    """
    instant = exact(text)
    assert instant is not None
    zone = _read(like or text).utcoffset() or timedelta()
    at = (_EPOCH + timedelta(microseconds=instant + by)).astimezone(timezone(zone))
    decimals = _decimals(text)
    if at.microsecond % 10 ** (6 - decimals):
        decimals = 3 if not at.microsecond % 1000 and decimals < 3 else 6
    fraction = f".{at.microsecond:06}"[: decimals + 1] if decimals else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}{_offset(zone)}"


def _decimals(text: str) -> int:
    found = _EXACT.fullmatch(text)
    return min(len(found[1]) - 1, 6) if found is not None and found[1] else 0


def _offset(zone: timedelta) -> str:
    minutes = round(zone.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
