"""Values as the pages of the message log show them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from adapters.hl7.log.entry import Entry


class Row(NamedTuple):
    """A message in the list."""

    seq: int
    control_id: str
    type: str
    sender: str
    state: str
    received: str
    resources: int
    problems: int
    unused: Sequence[str]
    fault: dict[str, Any] | None
    is_copy: bool


def rows_of(entries: Sequence[Entry]) -> list[Row]:
    """Return the rows of a list."""
    return [
        Row(
            entry.seq,
            entry.body.get("control_id", ""),
            entry.body.get("type", ""),
            entry.sender,
            entry.state,
            entry.received,
            len(entry.body.get("resources", ())),
            len(entry.body.get("issues", ())),
            entry.body.get("unused", ()),
            entry.body.get("error"),
            "replay_of" in entry.body,
        )
        for entry in entries
    ]


def local_time(text: str, zone: ZoneInfo) -> str:
    """Write an ISO 8601 time as local time to the second, e.g. `2026-11-20 08:30:05`; "" stays."""
    return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if text else ""
