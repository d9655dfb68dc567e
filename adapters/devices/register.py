"""Which readings are in the record: durable rows by what a reading is known by, so that a copy costs no search.

A row holds, for a key (of a sender's id, or of a moment), each resource that has it. It is written in the transaction
that stores the resource. What a gateway wrote by itself, under the identifier of the Personal Health Device guide, has
no row: for devices that are named as that guide does it is searched for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from adapters.devices.filing import Name
from adapters.devices.identity import PHD
from fhir_server import gate
from fhir_server.interface import Asking, Erasure, Writing
from fhir_server.model import Record, Resource

KIND: Final = "device-reading"
MOST: Final = 20  # resources of one moment: a sender that gives more ids to one moment is not held to them


class Filed(NamedTuple):
    """A resource that a reading became."""

    reference: str
    key: str  # of its id, or of its moment
    content: str
    sender: str


class Match(NamedTuple):
    """A stored resource that is this reading; whether it says the same."""

    reference: str
    is_same: bool


async def find_filed(asking: Asking, name: Name, *, patient: str = "") -> Match | None:
    """Return which stored resource a reading is, if it is there and was not deleted since.

    Args:
        asking: What to ask.
        name: What the reading is known by.
        patient: Whose it is now, Patient/ID; "" not known. What was entered in error under another patient is not it:
            an assignment that was wrong is put right by withdrawing what was filed by it and sending it again.
    """
    found = dict.fromkeys([filed for key in name.keys for filed in await _row(asking, key)])
    while (best := match(list(found), name)) is not None:
        held = await asking.resource(best.reference)
        if held is not None and not _is_withdrawn(held, patient):
            return best
        found = dict.fromkeys(filed for filed in found if filed.reference != best.reference)
    return None


def match(found: Sequence[Filed], name: Name) -> Match | None:
    """Return which resource a reading is.

    The same id is the same reading. One moment, device and type are one reading, unless one sender gave two ids.
    """
    for filed in found:
        if filed.key == name.key:
            return Match(filed.reference, filed.content == name.content)
    others = [filed for filed in found if filed.key == name.moment or filed.sender != name.sender or not name.has_id]
    same = [filed for filed in others if filed.content == name.content]
    return Match((same or others)[0].reference, bool(same)) if others else None


def _is_withdrawn(held: Resource, patient: str) -> bool:
    """Whether a resource was filed under another patient than a reading's, and taken back since."""
    theirs = held.get("subject", {}).get("reference", "")
    return bool(patient) and theirs != patient and held.get("status") == "entered-in-error"


async def note(writing: Writing, name: Name, reference: str) -> None:
    """Write down that a reading is in the record."""
    filed = Filed(reference, name.key, name.content, name.sender)
    for key in name.keys:
        rows = [*await _row(writing, key), filed][-MOST:]
        await writing.put_record(KIND, key, "", gate.write(rows))


async def find_written(asking: Asking, name: Name, type: str) -> str:
    """Return the reference of what a gateway wrote itself under the guide's identifier; "" where there is none."""
    token = quote(",".join(f"{PHD}|{_escaped(value)}" for value in name.phd), safe="")
    for resource in await asking.find(f"{type}?identifier={token}&_count=1&_total=none"):
        return f"{type}/{resource['id']}"
    return ""


def tells_of(record: Record, erasure: Erasure) -> bool:
    """Whether a row leads to what is erased (`interface.Eraser`)."""
    return any(Filed(*row).reference in erasure.references for row in gate.load(record.body))


async def _row(asking: Asking, key: str) -> list[Filed]:
    record = await asking.record(KIND, key)
    return [Filed(*row) for row in gate.load(record.body)] if record is not None else []


def _escaped(text: str) -> str:
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return text
