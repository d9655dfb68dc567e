"""ADT about two patients or two numbers: merges, changes of number, links, moves of stays, swapped beds.

Source: HL7 v2.5 chapter 3; the guide has no map of them, so all of it is ours. A merge is the core's `$merge`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from adapters.hl7.context import Context
from adapters.hl7.datatypes import identifier
from adapters.hl7.draft import Kind, Link, Person, Prior
from adapters.hl7.event import recorded
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.messages.admission import read_stay, read_visit
from adapters.hl7.messages.patient_parts import with_parts
from adapters.hl7.messages.person import own_key, read_person
from adapters.hl7.tokens import Segment

MRG_USED = frozenset({1, 2, 4})
LINKED = "A24"
RENUMBERED = frozenset({"A46", "A47"})
"""Events that change a patient's number: the earlier one ends then."""
MOST_PEOPLE = 200
"""Patients of one message, and earlier numbers of one patient."""


def _parted(root: Group) -> Iterator[tuple[Segment, list[Segment]]]:
    """Yield each PID with what comes after it, up to the next one; what comes before the first goes to all."""
    shared: list[Segment] = []
    parts: list[list[Segment]] = []
    for one in root.walk():
        if one.name == "PID":
            parts.append([])
        (parts[-1] if parts else shared).append(one)
    if len(parts) > MOST_PEOPLE:
        raise Refused(
            Fault("100", Place("PID", MOST_PEOPLE + 1), f"A message is about {MOST_PEOPLE} patients at most.")
        )
    for part in parts:
        yield part[0], [*shared, *part]


def read_merge(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read A34, A36, A40 (two patients are one) and A46, A47 (a patient's number changes)."""
    people = []
    for pid, segments in _parted(root):
        person = read_person(context, pid, leads=True)
        merges = [one for one in segments if one.name == "MRG"]
        if not merges:
            raise Refused(Fault("100", Place("MRG"), "The message says what a patient was known by: it has MRG."))
        if len(merges) > MOST_PEOPLE:
            raise Refused(Fault("100", merges[MOST_PEOPLE].place(), f"A patient had {MOST_PEOPLE} numbers at most."))
        prior = tuple(_prior(context, one) for one in merges)
        if what.trigger in RENUMBERED and (when := recorded(context, segments).text):
            prior = tuple(_ended(one, when) for one in prior)
        people.append(replace(with_parts(context, segments, person, None), prior=prior))
    if not people:
        raise Refused(Fault("100", Place("PID"), "The message is about a patient: it has a PID."))
    return tuple(people)


def _prior(context: Context, mrg: Segment) -> Prior:
    """Read MRG-1, the number that ends; MRG-2 and MRG-4 give more of them in older versions.

    Raises:
        Refused: It names no number with its authority.
    """
    context.take(mrg, MRG_USED)
    if not mrg.is_valued(1):
        raise Refused(Fault("101", mrg.place(1), "The earlier number is missing."))
    found = [one for n in (1, 2, 4) for parts in mrg.repetitions(n) if (one := identifier(context, mrg, n, parts))]
    return Prior(own_key(context, mrg, 1, found), mrg, tuple(found))


def _ended(prior: Prior, when: str) -> Prior:
    """Return a number with the end of its use, where MRG does not tell one."""
    ended = [{**one, "period": {"end": when, **one.get("period", {})}} for one in prior.identifiers]
    return prior._replace(identifiers=tuple(ended))


def read_link(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read A24 (two records are of one person, both stay) and A37 (they are not)."""
    found = [read_person(context, pid, leads=True) for pid, _ in _parted(root)]
    if len(found) != 2 or found[0].key == found[1].key:
        raise Refused(Fault("100", Place("PID", 2), "The message is about two patients."))
    one, other = found
    return (replace(one, link=Link(other.key, what.trigger == LINKED)), other)


def read_swap(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read A17: two patients, each with the stay and the bed that they have now."""
    people = tuple(read_stay(context, segments, pid, what) for pid, segments in _parted(root))
    if len(people) != 2:
        raise Refused(Fault("100", Place("PID", 2), "The message is about two patients."))
    return people


def read_moved_visit(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read A45 (a stay moves to another patient) and A50, A51 (the number of a stay changes): MRG-5, else MRG-6."""
    made = []
    for pid, segments in _parted(root):
        person = read_person(context, pid, leads=True)
        merges = [one for one in segments if one.name == "MRG"]
        stays = [one for one in segments if one.name == "PV1"]
        for mrg, pv1 in zip_longest(merges, stays[: len(merges)]):
            made.append(_moved(context, person, pid, mrg, pv1, what))
    if not made:
        raise Refused(Fault("100", Place("MRG"), "The message says which stay it is about: it has MRG."))
    return tuple(made)


def _moved(context: Context, person: Person, pid: Segment, mrg: Segment, pv1: Segment | None, what: Kind) -> Person:
    context.take(mrg, MRG_USED | {5, 6})
    field = 6 if what.trigger == "A51" else 5
    before = pv1_map.visit_number(context, mrg, field, mrg.first(field))
    visit = read_visit(context, [pv1], pid, what) if pv1 else None
    if before is None or visit is None:
        raise Refused(Fault("101", mrg.place(field), "The number of the stay is missing."))
    key = before["system"], before["value"]
    return replace(person, visit=replace(visit, prior=key, moves=what.trigger == "A45"))
