"""VXU: vaccinations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.draft import Kind, Person
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group
from adapters.hl7.ids import unique
from adapters.hl7.maps import nte as nte_map
from adapters.hl7.maps import obr as obr_map
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.maps import rxa as rxa_map
from adapters.hl7.messages.about import named, only_patient, told_parts, visit_of
from adapters.hl7.position import arrange
from adapters.hl7.results import documents_of, results_of
from adapters.hl7.tokens import Segment
from adapters.hl7.wanted import Wanted

SHARED: Final = "9999"
"""ORC-3 that vaccination registers put on every record that has no order: it tells none apart. Not checked."""


def read_vaccinations(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read a VXU message.

    Raises:
        Refused: It has no vaccination, or is not about one patient.
    """
    segments = list(root.walk())
    person = only_patient(context, segments)
    first = next((n for n, segment in enumerate(segments) if segment.name in ("ORC", "RXA")), len(segments))
    wanted: list[Wanted] = []
    for part in _orders(segments[first:]):
        wanted += _read_order(context, part, (context.tenant, *person.key))
    if not wanted:
        raise Refused(Fault("100", Place("RXA"), "The message has no vaccination."))
    head = segments[:first]
    observed = [s for s in head if s.name in ("OBX", "NTE")]
    person = told_parts(context, [s for s in head if s not in observed], person)
    wanted += person.wanted
    wanted += _told(context, observed, (context.tenant, *person.key, "patient"))
    return (replace(person, visit=visit_of(context, person.segment, head), wanted=tuple(wanted)),)


def _orders(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Part segments into vaccinations: each begins with ORC, or with an RXA that no ORC stands before."""
    made: list[list[Segment]] = []
    for segment in segments:
        is_next = segment.name == "ORC" or (segment.name == "RXA" and bool(named(made[-1] if made else [], "RXA")))
        if is_next or not made:
            made.append([])
        made[-1].append(segment)
    return made


def _read_order(context: Context, segments: Sequence[Segment], whose: tuple[str, ...]) -> list[Wanted]:
    given = named(segments, "RXA")
    if not given:
        context.note(segments[0], 0, "order-kind-not-taken")
        return []
    rxa = given[0]
    orc = next(iter(named(segments, "ORC")), None)
    routes = named(segments, "RXR")
    numbers = obr_map.order(context, orc, None)
    known = {kind: one for kind, one in numbers.items() if one["value"] != SHARED}
    made = rxa_map.immunization(context, orc, rxa, routes[0] if routes else None, known)
    observed = next((n for n, segment in enumerate(segments) if segment.name == "OBX"), len(segments))
    if comments := nte_map.comments(context, named(segments[:observed], "NTE")):
        made["note"] = [*made.get("note", []), *comments]
    number = known.get("FILL") or known.get("PLAC")
    code = rxa.text(5)
    own = (number["system"], number["value"], code) if number else (context.facility_system, rxa.text(3), code)
    made["id"] = unique(context, rxa, ("Immunization", *whose, *own), 5)
    told = _told(context, segments[observed:], (*whose, "Immunization", made["id"]), made["id"])
    return [Wanted(made, rxa, "put", True), *told]


def _told(context: Context, segments: Sequence[Segment], key: tuple[str, ...], immunization: str = "") -> list[Wanted]:
    """Return the OBX as Observations, parts of their vaccination where they follow one."""
    ordered = arrange(segments)
    _, made = documents_of(context, ordered, key, has_report=False)
    for obx, one in results_of(context, ordered, key, "", obx_map.ANSWERS):
        whole = {**one, "partOf": [{"reference": f"Immunization/{immunization}"}]} if immunization else one
        made.append(Wanted(whole, obx, in_order=True))
    return made
