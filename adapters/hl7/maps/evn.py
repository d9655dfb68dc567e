"""EVN to Provenance. Guide: HL7/v2-to-fhir at 8c9b414, segments/EVN[Provenance]; "ours" where it leaves a choice.

Ours: one is made only where EVN says who did it, why, when it happened, or where: that a message came is in the audit
and in the message log already.
"""

from __future__ import annotations

from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, mapped
from adapters.hl7.demography import person
from adapters.hl7.draft import Kind
from adapters.hl7.event import recorded
from adapters.hl7.ids import made_id
from adapters.hl7.tokens import Segment

USED: Final = frozenset({1, 2, 4, 5, 6, 7})
UNKNOWN: Final = "U"  # table 0062


def provenance(context: Context, evn: Segment, segments: list[Segment], what: Kind, message: str) -> Json | None:
    """Return the Provenance of an event, without what it is about; None where EVN says nothing more.

    Args:
        context: Where problems are noted.
        evn: The segment.
        segments: Of the message.
        what: The kind of message.
        message: Its control id.
    """
    if not any(evn.is_valued(field) for field in (4, 5, 6, 7)):
        return None
    context.take(evn, USED)
    when = recorded(context, segments)
    if len(when.text) <= 10:
        context.note(evn, 2, "event-without-time-of-day")
        return None
    people = [who for parts in evn.repetitions(5) if (who := person(context, evn, 5, parts))]
    made: Json = {
        "resourceType": "Provenance",
        "id": made_id("Provenance", context.tenant, context.facility, message, what.name, when.text),
        "recorded": when.text,
        "activity": {"text": what.name},
        "agent": [{"who": who} for who in people] or [{"who": {"display": context.facility}}],
    }
    if occurred := context.moment(evn, 6, evn.text(6)):
        made["occurredDateTime"] = occurred.text
    if evn.is_valued(4) and evn.text(4) != UNKNOWN and (reason := mapped("EventReason")(context, evn, 4, evn.first(4))):
        made["reason"] = [reason]
    if evn.text(7):
        made["location"] = {"display": evn.text(7)}
    return made
