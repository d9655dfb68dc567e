"""ORC to Provenance: who entered, verified and placed an order, and who acted on it.

Guide: HL7/v2-to-fhir at 8c9b414, segments/ORC[Provenance]. Ours: one is made only where ORC names more people than
who asks, who is the order's requester already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.demography import coded_organization, person
from adapters.hl7.event import recorded
from adapters.hl7.ids import made_id
from adapters.hl7.tokens import Segment

PARTICIPANTS: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
OPERATIONS: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
PEOPLE: Final = {10: "enterer", 11: "verifier", 12: "author", 19: "performer"}
"""Field of ORC -> type of agent. Source: rows ORC-10, ORC-11, ORC-12, ORC-19."""

ACTIVITIES: Final = {"NW": "CREATE", "SC": "UPDATE", "OC": "CANCEL", "CA": "CANCEL"}
"""ORC-1 -> activity. Source: row ORC-1."""

USED: Final = frozenset({1, 9, 17} | set(PEOPLE))


def provenance(context: Context, orc: Segment, segments: Sequence[Segment], order: str, message: str) -> Json | None:
    """Return who did what to an order; None where ORC names nobody beside who asks.

    Args:
        context: Where problems are noted and fields taken.
        orc: The segment.
        segments: Of the message: when it was sent, where ORC-9 has no time of day.
        order: The order, as `ServiceRequest/id`.
        message: What identifies the message.
    """
    if not any(orc.is_valued(field) for field in (10, 11, 19)):
        return None
    moment = context.moment(orc, 9, orc.text(9))
    when = moment.text if moment and moment.is_full else recorded(context, segments).text
    agents = _agents(context, orc)
    if len(when) <= 10 or not agents:
        return None
    context.take(orc, USED)
    made: Json = {
        "resourceType": "Provenance",
        "id": made_id("Provenance", context.tenant, context.facility, message, order),
        "target": [{"reference": order}],
        "recorded": when,
        "agent": agents,
    }
    if moment:
        made["occurredDateTime"] = moment.text
    if code := ACTIVITIES.get(orc.text(1)):
        made["activity"] = {"coding": [{"system": OPERATIONS, "code": code}]}
    return made


def _agents(context: Context, orc: Segment) -> list[Json]:
    """Return the people that ORC names, who entered it for the organization of ORC-17."""
    made: list[Json] = []
    entered_for = coded_organization(context, orc, 17, orc.first(17)) if orc.is_valued(17) else None
    for number, code in PEOPLE.items():
        for parts in orc.repetitions(number):
            if (who := person(context, orc, number, parts)) is None:
                continue
            one: Json = {"type": {"coding": [{"system": PARTICIPANTS, "code": code}]}, "who": who}
            made.append({**one, "onBehalfOf": entered_for} if entered_for and number == 10 else one)
    return made
