"""NTE to Annotation.

Guide: HL7/v2-to-fhir at 8c9b414, segments/NTE[Observation], NTE[ServiceRequest], NTE[Appointment-Comment]. Ours: the
type of the comment (NTE-4) is carried by the extension that R5 defines for it, since the guide names none that exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, mapped
from adapters.hl7.demography import person
from adapters.hl7.tokens import Segment

USED: Final = frozenset({1, 3, 4, 5, 6, 9})
TYPE: Final = "http://hl7.org/fhir/StructureDefinition/annotationType"
_type = mapped("CommentType")


def comments(context: Context, notes: Sequence[Segment]) -> list[Json]:
    """Return NTE segments as annotations; those without any text are left out and noted.

    Repetitions of NTE-3 are lines of it. Where it is empty the coded comment (NTE-9) is the text.
    """
    made = []
    for note in notes:
        context.take(note, USED)
        text = "\n".join(note.texts(3)) or note.text(9, 9) or note.text(9, 2) or note.text(9)
        if not text.strip():
            context.note(note, 3, "comment-empty")
            continue
        made.append({**_signed(context, note), "text": text})
    return made


def _signed(context: Context, note: Segment) -> Json:
    """Return who made a comment, when, and of what type it is."""
    made: Json = {}
    if len(note.fields) <= 4:
        return made
    if note.is_valued(4) and (kind := _type(context, note, 4, note.first(4))):
        made["extension"] = [{"url": TYPE, "valueCodeableConcept": kind}]
    if note.is_valued(5) and (author := person(context, note, 5, note.first(5))):
        made["authorReference"] = author
    if moment := context.moment(note, 6, note.text(6)):
        made["time"] = moment.text
    return made
