"""PR1 to Procedure. Guide: HL7/v2-to-fhir at 8c9b414, segments/PR1[Procedure]; "ours" where it leaves a choice."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, entity
from adapters.hl7.demography import person, place
from adapters.hl7.ids import made_id
from adapters.hl7.times import Moment
from adapters.hl7.tokens import Segment, part

USED: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 19, 20, 23, 25})
PERFORMERS: Final = ((8, "anaesthetist"), (11, "surgeon"), (12, "practitioner"))
"""Field and function. Ours: a text; the guide's codes are SNOMED CT, which has a licence of its own."""

DELETE: Final = "D"


def procedure(
    context: Context, pr1: Segment, patient: tuple[str, str], owner: tuple[str, ...], recorded: datetime | None
) -> Json | None:
    """Return the Procedure; None where it has neither code nor text.

    Args:
        context: Where problems are noted.
        pr1: The segment.
        patient: System and value of the patient's number: senders number procedures within a patient too.
        owner: What a procedure without a number of its own belongs to: the number of the stay, else of the patient.
        recorded: When the message was recorded.
    """
    code = _code(context, pr1)
    if not code:
        context.note(pr1, 3, "code-missing")
        return None
    moment = context.moment(pr1, 5, pr1.text(5))
    number = entity(context, pr1, 19, pr1.first(19), "", own="procedures") if pr1.is_valued(19) else None
    own = (*owner, pr1.text(3) or pr1.text(4), pr1.text(5))
    known = (*patient, number["system"], number["value"]) if number else own
    made: Json = {
        "resourceType": "Procedure",
        "id": made_id("Procedure", context.tenant, *known),
        "status": _status(pr1, moment, recorded),
        "code": code,
    }
    if number:
        made["identifier"] = [number]
    if moment:
        made |= _performed(context, pr1, moment)
    if category := coded(context, pr1, 6, pr1.first(6)):
        made["category"] = category
    performers = [
        {"function": {"text": function}, "actor": who}
        for field, function in PERFORMERS
        for parts in pr1.repetitions(field)
        if (who := person(context, pr1, field, parts))
    ]
    if performers:
        made["performer"] = performers
    if reasons := [one for parts in pr1.repetitions(15) if (one := coded(context, pr1, 15, parts))]:
        made["reasonCode"] = reasons
    if where := place(context, pr1, 23, pr1.first(23)):
        made["location"] = where
    if parent := entity(context, pr1, 25, pr1.first(25), "", own="procedures") if pr1.is_valued(25) else None:
        made["partOf"] = [{"type": "Procedure", "identifier": parent}]
    return made


def _code(context: Context, pr1: Segment) -> Json:
    """Return the code: PR1-3 with the modifiers of PR1-16, and PR1-4 as text where PR1-3 has none."""
    made: Json = dict(coded(context, pr1, 3, pr1.first(3)) or {})
    modifiers = [code for parts in pr1.repetitions(16) if (code := " ".join(part(parts, 1).split()))]
    if modifiers and "coding" in made:
        first, *others = made["coding"]
        made["coding"] = [{**first, "code": ":".join([first["code"], *modifiers])}, *others]
    if "text" not in made and pr1.text(4):
        made["text"] = pr1.text(4)
    return made


def _status(pr1: Segment, moment: Moment | None, recorded: datetime | None) -> str:
    """Return the status; the guide leaves it to the context. Ours: completed where it is dated before the message."""
    if pr1.text(20) == DELETE:
        return "entered-in-error"
    if moment is None or recorded is None:
        return "unknown"
    return "completed" if moment.at <= recorded else "preparation"


def _performed(context: Context, pr1: Segment, moment: Moment) -> Json:
    """Return performed[x]: a period where PR1-7 gives its minutes and PR1-5 a time of day."""
    minutes = pr1.text(7)
    if not minutes:
        return {"performedDateTime": moment.text}
    if not moment.is_full:
        context.note(pr1, 7, "duration-without-time")
        return {"performedDateTime": moment.text}
    if not minutes.isascii() or not minutes.isdigit() or len(minutes) > 5:
        context.note(pr1, 7, "number-malformed")
        return {"performedDateTime": moment.text}
    end = datetime.fromisoformat(moment.text) + timedelta(minutes=int(minutes))
    return {"performedPeriod": {"start": moment.text, "end": end.isoformat()}}
