"""Lanes that a message in quarantine holds back: one `hl7-hold` record for each, until the message is settled.

Only where its channel says `hold_lane`: then later messages of its patients wait in state `received`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fhir_server.interface import Asking, Erasure, Writing
from fhir_server.model import Record

HOLD: Final = "hl7-hold"
"""Kind of these records: the key is the lane, the body the key of the message."""

PAGE: Final = 500


async def hold(writing: Writing, lanes: Sequence[str], key: str) -> list[str]:
    """Hold lanes back for a message; return them, to be kept with the message as `hold`."""
    for lane in lanes:
        await writing.put_record(HOLD, lane, "", key.encode())
    return list(lanes)


async def let_go(writing: Writing, body: dict[str, Any]) -> None:
    """End what a message holds back: it was applied by a replay, or left out."""
    for lane in body.pop("hold", ()):
        await writing.drop_record(HOLD, lane)


def names(record: Record, erasure: Erasure) -> bool:
    """Whether a lane is named after an identifier of who is erased (`interface.Eraser`)."""
    return not erasure.identifiers.isdisjoint(record.key.split("|"))


async def held(asking: Asking) -> dict[str, str]:
    """Return the lanes that are held back, and by which message."""
    made: dict[str, str] = {}
    after = 0
    while page := await asking.records(HOLD, after=after, limit=PAGE):
        made |= {record.key: record.body.decode() for record in page}
        after = page[-1].seq
    return made
