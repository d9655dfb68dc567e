"""PRT after an order or a result: performers, device and place. Taken at any version of HL7 v2.

Guide: HL7/v2-to-fhir at 8c9b414, segments/PRT[PractitionerRole], PRT[Device], PRT[Observation-Location]; ours: people,
devices and places are named by reference, none is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, entity
from adapters.hl7.demography import organization, person, place
from adapters.hl7.tokens import Segment

USED: Final = frozenset({1, 2, 4, 5, 8, 9, 10, 16})
FUNCTION: Final = "http://hl7.org/fhir/StructureDefinition/event-performerFunction"
PLACE: Final = "http://hl7.org/fhir/StructureDefinition/event-location"
DELETED: Final = frozenset({"DE", "D"})
ORDERING: Final = "OP"
BESIDE: Final = frozenset({ORDERING, "EP", "RCT", "RP", "RT"})
"""Roles of table 0912 that perform nothing: who orders, enters, gets a copy, refers and is referred to. Ours."""


def take_part(context: Context, people: Sequence[Segment], made: Json) -> None:
    """Add to an Observation or a DiagnosticReport who took part in it, by which device and where."""
    for prt in people:
        context.take(prt, USED)
        if prt.text(2) in DELETED:
            context.note(prt, 2, "participation-deleted")
            continue
        _lay_place(context, prt, made)
        _lay_device(context, prt, made)
        if prt.text(4) in BESIDE:
            if prt.text(4) != ORDERING:
                context.note(prt, 4, "participation-not-used", prt.text(4))
            continue
        role = coded(context, prt, 4, prt.first(4)) if prt.is_valued(4) else None
        for number, convert in ((5, person), (8, organization)):
            for parts in prt.repetitions(number):
                if found := convert(context, prt, number, parts):
                    function = [{"url": FUNCTION, "valueCodeableConcept": role}] if role else []
                    one = {**({"extension": function} if function else {}), **found}
                    made["performer"] = [*made.get("performer", []), one]


def asker(context: Context, people: Sequence[Segment]) -> Json | None:
    """Return who ordered by PRT, which came in the place of ORC-12 and OBR-16 (2.8)."""
    for prt in people:
        if prt.text(4) == ORDERING and prt.text(2) not in DELETED and prt.is_valued(5):
            context.take(prt, USED)
            return person(context, prt, 5, prt.first(5))
    return None


def _lay_place(context: Context, prt: Segment, made: Json) -> None:
    found = place(context, prt, 9, prt.first(9)) if prt.is_valued(9) else None
    if found:
        made["extension"] = [*made.get("extension", []), {"url": PLACE, "valueReference": found}]


def _lay_device(context: Context, prt: Segment, made: Json) -> None:
    number = 10 if prt.is_valued(10) else 16
    found = entity(context, prt, number, prt.first(number), "", own="devices") if prt.is_valued(number) else None
    if found is None:
        return
    if made["resourceType"] != "Observation" or "device" in made:
        context.note(prt, number, "device-not-used")
        return
    made["device"] = {"type": "Device", "identifier": found}
