"""When an event was recorded: what tells an older message of a sender from a newer one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from adapters.hl7.context import Context
from adapters.hl7.times import Moment, read
from adapters.hl7.tokens import Segment

HOUR, DAY = 3_600_000_000, 86_400_000_000  # microseconds
FIELDS: Final = (("EVN", 2), ("MSH", 7))


class Recorded(NamedTuple):
    """When a message's event was recorded."""

    at: datetime | None = None  # None where the message does not say it
    text: str = ""  # as FHIR writes it
    doubt: int = 0  # microseconds by which it may be later: within them the order of arrival decides


def _doubt(moment: Moment) -> int:
    """Return how much later a time may be: the hour that comes twice a year, or all of a partial date."""
    if not moment.is_full:
        return DAY * {10: 1, 7: 31}.get(len(moment.text), 366)
    return HOUR if moment.rule in ("time-ambiguous", "time-precision-added") else 0


def recorded(context: Context, segments: Iterable[Segment], *, note: bool = False) -> Recorded:
    """Return when an event was recorded: EVN-2, else MSH-7, whichever has a time of day.

    Args:
        context: The message's.
        segments: Of the message.
        note: Whether what had to be decided is noted.
    """
    found: list[Moment] = []
    first: dict[str, Segment] = {}
    for one in segments:
        if one.name in ("EVN", "MSH"):
            first.setdefault(one.name, one)
    for name, field in FIELDS:
        if name in first and (text := first[name].text(field)):
            one = first[name]
            moment = context.moment(one, field, text) if note else read(text, context.zone)
            found += [moment] if moment else []
    best = next((moment for moment in found if moment.is_full), found[0] if found else None)
    return Recorded(best.at, best.text, _doubt(best)) if best else Recorded()
