"""ORM and OML: orders, with their specimens and what the orderer tells about the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from adapters.hl7 import requesting
from adapters.hl7.context import Context
from adapters.hl7.draft import Kind, Person
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.group import Group
from adapters.hl7.maps import obr as obr_map
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.maps import orc_people
from adapters.hl7.messages.about import named, only_patient, told_parts, visit_of
from adapters.hl7.position import Ordered, arrange
from adapters.hl7.results import documents_of, results_of
from adapters.hl7.tokens import Segment
from adapters.hl7.wanted import Wanted

OTHER_KINDS: Final = frozenset({"RXO", "RXE", "RXD", "RXG", "RXA", "RQD", "RQ1", "ODS", "ODT"})
"""What an order without OBR is about: medicines, supplies, diets. No map yet."""


def read_orders(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an ORM or OML message.

    The orders are told apart by ORC and OBR alone: in the structure of an OML a second ORC could as well begin
    earlier results. Such results (a PID after the first order) are left out and reported.
    """
    segments = list(root.walk())
    first = next((n for n, segment in enumerate(segments) if segment.name in ("ORC", "OBR")), len(segments))
    prior = next((n for n, segment in enumerate(segments) if n > first and segment.name == "PID"), len(segments))
    person = only_patient(context, segments[:first])
    if prior < len(segments):
        _check_prior(segments[prior], person)
    wanted: list[Wanted] = []
    for ordered in map(arrange, _orders(segments[first:prior])):
        made = _read_order(context, ordered, person, message)
        wanted += [*made, *_told_people(context, ordered, segments[:first], made, message)]
    if not wanted:
        if first < len(segments):
            raise Refused(Fault("100", segments[first].place(), "No order is of a kind that is taken."))
        context.note(person.segment, 0, "order-missing")
    person = told_parts(context, segments[:first], person)
    visit = visit_of(context, person.segment, segments[:first])
    return (replace(person, visit=visit, wanted=(*wanted, *person.wanted)),)


def _check_prior(pid: Segment, person: Person) -> None:
    """Refuse a second patient: orders are never given to another one than theirs."""
    if pid.raw(3) != person.segment.raw(3):
        raise Refused(Fault("100", pid.place(3), "The orders are of two patients."))


def _orders(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Part segments into orders: each begins with ORC, or with an OBR that no ORC stands before."""
    made: list[list[Segment]] = []
    for segment in segments:
        is_next = segment.name == "ORC" or (segment.name == "OBR" and bool(named(made[-1] if made else [], "OBR")))
        if is_next or not made:
            made.append([])
        made[-1].append(segment)
    return made


def _read_order(context: Context, ordered: Ordered, person: Person, message: str) -> list[Wanted]:
    orc = ordered.orc.segment if ordered.orc else None
    obr = ordered.obr.segment if ordered.obr else None
    if obr is None and (other := [s for s in ordered.others if s.name in OTHER_KINDS]):
        context.note(other[0], 0, "order-kind-not-taken")
        return []
    numbers = obr_map.order(context, orc, obr)
    whose = (context.tenant, *person.key)
    request = requesting.read_request(context, ordered, numbers, whose, message)
    key = (*whose, "order", request.resource["id"])
    specimens = requesting.read_specimens(context, ordered, key, whose)
    _, documents = documents_of(context, ordered, key, has_report=False)
    told = results_of(context, ordered, key, "", obx_map.ANSWERS, specimens)
    if specimens:
        request.resource["specimen"] = [_reference(one.resource) for one in specimens]
    if told:
        given = request.resource.get("supportingInfo", [])
        request.resource["supportingInfo"] = [*given, *(_reference(one.observation) for one in told)]
    return [*specimens, *documents, *(Wanted(one.observation, one.obx, in_order=True) for one in told), request]


def _told_people(
    context: Context, ordered: Ordered, head: Sequence[Segment], made: Sequence[Wanted], message: str
) -> list[Wanted]:
    """Return who entered and verified an order; of one that is meant by its number alone it is not kept."""
    if ordered.orc is None or not made or made[-1].found_by is not None:
        return []
    orc, request = ordered.orc.segment, made[-1].resource
    found = orc_people.provenance(context, orc, head, f"ServiceRequest/{request['id']}", message)
    return [Wanted(found, orc)] if found else []


def _reference(resource: dict[str, object]) -> dict[str, str]:
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}
