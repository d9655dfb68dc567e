"""Which of what a message says is newer than what the same sender said before, element by element.

A message that comes late changes only what no newer one spoke of: so the events of a patient or a stay end in the
same state whatever order they come in. What each element was last said is kept beside the resource, under its
first identifier, which never goes away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapters.hl7.draft import Draft
from adapters.hl7.maps.rows import Stated
from adapters.hl7.planned import CLOCK
from adapters.hl7.times import micros
from fhir_server import gate
from fhir_server.interface import Erasure, Writing
from fhir_server.model import Record, Resource


class Heard(NamedTuple):
    """What of a message counts."""

    stated: tuple[Stated, ...]
    said: frozenset[str]  # all clocks that this sender ever set on the resource
    is_outdated: bool  # some of it was older than what is stored


def name_of(resource: Resource, sender: str) -> str:
    """Return under which name the clocks of a resource are kept."""
    first = (resource.get("identifier") or [{}])[0]
    return "|".join((resource["resourceType"], first.get("system", ""), first.get("value", ""), sender, "said"))


async def hear(
    writing: Writing, name: str, draft: Draft, stated: Sequence[Stated], current: Resource | None, mark: str = ""
) -> Heard:
    """Return what of a message is not older than what its sender said before; its time is kept.

    Args:
        writing: The transaction.
        name: See `name_of`.
        draft: Says when the event was recorded; where it does not, all of it counts.
        stated: What the message says.
        current: The stored resource; None: it is not there, so nothing of it is known. Its identifiers stay as they are
            where an older message names them too.
        mark: A clock that is set beside those of what is said; "" for none.
    """
    before = await writing.record(CLOCK, name) if current is not None else None
    clocks: dict[str, int] = gate.load(before.body) if before is not None else {}
    if draft.at is None:
        return Heard(tuple(stated), frozenset(clocks), False)
    now = micros(draft.at)
    late = {one.row.clock for one in stated if clocks.get(one.row.clock, now) > now + draft.doubt}
    fresh = [_fitting(one, current, one.row.clock in late) for one in stated]
    kept = tuple(one for one in fresh if one is not None)
    names = [one.row.clock for one in kept] + ([mark] if mark else [])
    made = clocks | {each: max(now, clocks.get(each, now)) for each in names}
    if made != clocks:
        await writing.put_record(CLOCK, name, "", gate.write(dict(sorted(made.items()))))
    return Heard(kept, frozenset(made), bool(late))


def _fitting(one: Stated, current: Resource | None, is_late: bool) -> Stated | None:
    """Return a late statement where it still counts: identifiers are never lost, the newer one of a number stays."""
    if not is_late:
        return one
    if one.row.element != "identifier":
        return None
    known = {(item.get("system"), item.get("value")) for item in (current or {}).get("identifier", ())}
    new = [item for item in one.value or () if (item.get("system"), item.get("value")) not in known]
    return one._replace(value=new) if new else None


def holds(record: Record, erasure: Erasure) -> bool:
    """Whether a clock, or the movements of a stay, are of what is erased (`interface.Eraser`): by the record's key."""
    type, *parts = record.key.split("|")
    return any(part in erasure.identifiers or f"{type}/{part}" in erasure.references for part in parts)
