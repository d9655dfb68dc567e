"""What the segments beside PID and PV1 say of a patient: PD1 NK1 AL1 IAM DG1 PR1 IN1 ROL PRT and French ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.draft import Person, Visit, Wanted
from adapters.hl7.event import recorded
from adapters.hl7.ids import made_id
from adapters.hl7.maps import al1, dg1, french, in1, nk1, pd1, pid, pr1, roles
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.maps.rows import Stated, state
from adapters.hl7.position import arrange
from adapters.hl7.results import documents_of, results_of
from adapters.hl7.tokens import Segment

MOST: Final = 500
"""Segments of one name that a message may have; more are noted and not read."""


def with_parts(context: Context, segments: Sequence[Segment], person: Person, visit: Visit | None) -> Person:
    """Return a person, and their stay, with what the segments beside PID and PV1 say.

    Args:
        context: Where problems are noted and segments taken.
        segments: All of the message that are about this person.
        person: As PID tells it.
        visit: As PV1 tells it; None where the message is about no stay.
    """
    named = _by_name(context, segments)
    taking = roles.read(context, (*named.get("ROL", ()), *named.get("PRT", ())))
    stated = [*person.stated, *_of_patient(context, person, named, taking)]
    reactions = _after(segments, "IAM", al1.FURTHER)
    wanted = [*_wanted(context, person, visit, named, reactions), *_observations(context, person, segments)]
    if visit is not None:
        found, diagnoses = _diagnoses(context, person, visit, named.get("DG1", []))
        wanted += found
        own, taking = _participants(context, visit, taking)
        visit = replace(visit, stated=(*visit.stated, *diagnoses, *own))
    else:
        wanted += _diagnoses(context, person, None, named.get("DG1", []))[0]
    wanted += _team(context, person, visit, [one for one in taking if one.code not in roles.GENERAL])
    return replace(person, stated=tuple(stated), visit=visit, wanted=tuple(wanted))


def _by_name(context: Context, segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    named: dict[str, list[Segment]] = {}
    for one in segments:
        found = named.setdefault(one.name, [])
        if len(found) < MOST:
            found.append(one)
        elif len(found) == MOST:
            context.note(one, 0, "too-many-segments")
    return named


def _of_patient(
    context: Context, person: Person, named: dict[str, list[Segment]], taking: Sequence[roles.Part]
) -> list[Stated]:
    made: list[Stated] = []
    general: list[Json] = []
    for one in named.get("PD1", ())[:1]:
        context.take(one, pd1.USED)
        made += state(pd1.PD1_TO_PATIENT, context, one)
        general += pd1.practitioners(context, one)
    general += [part.who for part in taking if part.code in roles.GENERAL]
    if general:
        made.append(Stated(roles.PRACTITIONERS, _distinct(general)))
    elif any(pd1.removes_practitioners(one) for one in named.get("PD1", ())[:1]):
        made.append(Stated(roles.PRACTITIONERS, None))
    if kin := named.get("NK1"):
        made.append(Stated(nk1.CONTACTS, [made_of for each in kin if (made_of := _contact(context, each))]))
    made += french.state_extensions(context, [s for each in named.values() for s in each], french.PATIENT)
    zfd = next(iter(named.get("ZFD", ())), None)
    numbers = next((one.value for one in person.stated if one.row.field == 3), None) or []
    return [*made, *french.reliability(context, person.segment, zfd, numbers)]


def _distinct(items: Sequence[Json]) -> list[Json]:
    made: list[Json] = []
    for one in items:
        if one not in made:
            made.append(one)
    return made


def _contact(context: Context, one: Segment) -> Json | None:
    context.take(one, nk1.USED)
    return nk1.contact(context, one)


def _after(segments: Sequence[Segment], name: str, further: frozenset[str]) -> dict[int, list[Segment]]:
    """Return, by the position of each segment of a name among its like, the further ones that directly follow it."""
    made: dict[int, list[Segment]] = {}
    at, is_open = -1, False
    for one in segments:
        if one.name == name:
            at, is_open = at + 1, True
        elif is_open and one.name in further:
            made.setdefault(at, []).append(one)
        else:
            is_open = False
    return made


def _wanted(
    context: Context,
    person: Person,
    visit: Visit | None,
    named: dict[str, list[Segment]],
    reactions: dict[int, list[Segment]],
) -> list[Wanted]:
    """Return the resources of their own; a snapshot that leaves one out does not take it away."""
    owner = visit.key if visit else person.key
    when = recorded(context, (one for each in named.values() for one in each))
    made: list[tuple[Json | None, Segment]] = []
    made += [(pd1.living_will(context, one, person.key), one) for one in named.get("PD1", ())[:1]]
    made += [(nk1.related_person(context, one, person.key), one) for one in named.get("NK1", ())]
    made.append((pid.mother(context, person.segment, person.key), person.segment))
    for one in named.get("AL1", ()):
        context.take(one, al1.USED)
        made.append((al1.of_al1(context, one, person.key), one))
    for number, one in enumerate(named.get("IAM", ())):
        context.take(one, al1.IAM_USED)
        made.append((al1.of_iam(context, one, person.key, reactions.get(number, ())), one))
    for one in named.get("IN1", ()):
        context.take(one, in1.USED)
        made.append((in1.coverage(context, one, person.key), one))
    for one in named.get("PR1", ()):
        context.take(one, pr1.USED)
        made.append((pr1.procedure(context, one, person.key, owner, when.at), one))
    for one in named.get("ZFA", ()):
        made += [(consent, one) for consent in french.decisions(context, one, person.key, when.text)]
    return [Wanted(resource, segment, in_order=True) for resource, segment in _once(made)]


def _observations(context: Context, person: Person, segments: Sequence[Segment]) -> list[Wanted]:
    """Return what OBX tells of the patient, e.g. weight; without a time it was so when the event was recorded."""
    if not any(one.name == "OBX" for one in segments):
        return []
    followed = _after(segments, "OBX", frozenset({"NTE", "PRT"}))
    measured = (one for one in segments if one.name == "OBX")
    notes = {number: [each for each in found if each.name == "NTE"] for number, found in followed.items()}
    rows = [each for number, one in enumerate(measured) for each in (one, *notes.get(number, ()))]
    when = recorded(context, segments)
    ordered, key = arrange(rows), (context.tenant, *person.key, "ADT")
    _, documents = documents_of(context, ordered, key, has_report=False)
    found = results_of(context, ordered, key, when.text, obx_map.ANSWERS)
    return [*documents, *(Wanted(observation, obx, in_order=True) for obx, observation in found)]


def _once(found: Sequence[tuple[Json | None, Segment]]) -> list[tuple[Json, Segment]]:
    """Return resources by their ids: of two that a message has of one, the last counts."""
    made = {one["id"]: (one, segment) for one, segment in found if one is not None}
    return list(made.values())


def _diagnoses(
    context: Context, person: Person, visit: Visit | None, found: Sequence[Segment]
) -> tuple[list[Wanted], list[Stated]]:
    """Return the Conditions, and Encounter.diagnosis."""
    owner = visit.key if visit else person.key
    conditions: list[tuple[Json | None, Segment]] = []
    diagnoses: dict[str, Json] = {}
    for one in found:
        context.take(one, dg1.USED)
        made = dg1.condition(context, one, person.key, owner)
        conditions.append((made, one))
        if made and (said := dg1.diagnosis(context, one, made)):
            diagnoses[made["id"]] = said
    wanted = [Wanted(resource, segment, in_order=True) for resource, segment in _once(conditions)]
    return wanted, [Stated(dg1.DIAGNOSES, list(diagnoses.values()))] if found else []


def _participants(
    context: Context, visit: Visit, taking: Sequence[roles.Part]
) -> tuple[list[Stated], list[roles.Part]]:
    """Return what the roles say of the stay's participants where PV1 does not, and the roles that are left."""
    said = {one.row.with_field or one.row.field for one in visit.stated if one.row.element == "participant"}
    made: dict[str, list[Json]] = {}
    left = []
    for one in taking:
        if one.code not in roles.OF_STAY:
            left.append(one)
        elif roles.OF_STAY[one.code] in said:
            context.note(one.segment, 0, "role-also-in-PV1", one.code)
        else:
            made.setdefault(one.code, []).append(one.participant)
    rows = pv1_map.PV1_TO_ENCOUNTER
    return [Stated(roles.row_of(rows, code), people) for code, people in made.items()], left


def _team(context: Context, person: Person, visit: Visit | None, taking: Sequence[roles.Part]) -> list[Wanted]:
    """Return the care team of the roles that neither the patient nor the stay has an element for.

    Its members are named, not referred to: so it opens the record to nobody.
    """
    if not taking:
        return []
    owner = (*person.key, *(visit.key if visit else ()), context.facility)
    made = {
        "resourceType": "CareTeam",
        "id": made_id("CareTeam", context.tenant, *owner),
        "status": "active",
        "participant": _distinct([one.member for one in taking]),
    }
    return [Wanted(made, taking[0].segment, in_order=True)]
