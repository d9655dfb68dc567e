"""French or English, and how each writes a moment."""

from __future__ import annotations

import datetime
import re
import zoneinfo

LANGUAGES = ("fr", "en")
_ITEM = re.compile(r"\s*([A-Za-z*]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?")
_MONTHS = {
    "fr": [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
}


def choose(accepted: str, default: str = "fr") -> str:
    """Return the language that an Accept-Language header likes best among ours.

    Malformed parts are skipped. Source: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4
    """
    liked: list[tuple[float, str]] = []
    for item in accepted[:500].split(","):
        if match := _ITEM.fullmatch(item):
            name = match[1].lower()
            quality = float(match[2] or 1)
            if quality > 0 and (name in LANGUAGES or name == "*"):
                liked.append((-quality, default if name == "*" else name))
    return min(liked, key=lambda one: one[0])[1] if liked else default


def moment(at: int | None, language: str, zone: zoneinfo.ZoneInfo) -> str:
    """Write microseconds since 1970 as local time with its zone, e.g. `3 mai 2026 à 14:05 (CEST)`; None as a dash."""
    if at is None:
        return "–"
    local = datetime.datetime.fromtimestamp(at // 1_000_000, zone)
    joint = " à " if language == "fr" else ", "
    return f"{day(local.date(), language)}{joint}{local:%H:%M} ({local:%Z})"


def day(date: datetime.date, language: str) -> str:
    """Write a day in words, e.g. `1er mai 2026`, `1 May 2026`."""
    first = "1er" if language == "fr" and date.day == 1 else str(date.day)
    return f"{first} {_MONTHS[language][date.month - 1]} {date.year}"


def iso(at: int, zone: zoneinfo.ZoneInfo) -> str:
    """Write microseconds since 1970 for `<time datetime>`."""
    return datetime.datetime.fromtimestamp(at // 1_000_000, zone).isoformat()
