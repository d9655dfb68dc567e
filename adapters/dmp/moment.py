"""FHIR dates: in what order they come, and how a page writes them.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/datatypes.html#dateTime
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PARTS: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)


def order(text: str) -> int:
    """Return microseconds since 1970 to sort by: a partial date counts from its beginning; -2^63 for no date."""
    found = _PARTS.fullmatch(text)
    if found is None:
        return -(2**63)
    try:
        if found[4]:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
        else:
            at = datetime(int(found[1]), int(found[2] or 1), int(found[3] or 1), tzinfo=UTC)
        return (at - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return -(2**63)


def shown(text: str, language: str) -> str:
    """Write a FHIR date as people do, no more exact than it is and with the offset it has.

    `2026-11-20T08:00:00+01:00` becomes `20/11/2026 08:00 (+01:00)` in French; English keeps year-month-day.
    """
    found = _PARTS.fullmatch(text)
    if found is None:
        return text
    parts = [part for part in found.group(1, 2, 3) if part]
    date = "/".join(reversed(parts)) if language == "fr" else "-".join(parts)
    if not found[4]:
        return date
    zone = {"Z": "UTC", None: ""}.get(found[5], found[5])
    return f"{date} {found[4]} ({zone})" if zone else f"{date} {found[4]}"


def written(at: int) -> str:
    """Return a FHIR instant in UTC to the millisecond: `2026-11-20T07:00:00.000Z`."""
    moment = _EPOCH + timedelta(microseconds=at)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at // 1000 % 1000:03}Z"
