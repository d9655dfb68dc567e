"""The movements of a stay (French PAM, segment ZBE), and the Encounter that all of them together make.

Each movement has a number; the sender inserts it, updates it (also by ADT^Z99, long after) and cancels it. So the
places, classes and statuses of the stay are never changed by one message: they are made anew from all movements that
are known, in the order of their own times (ZBE-2), whatever order the messages came in.
Source of the fields: French PAM 2.11 as two public implementations read it; not checked against its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from adapters.hl7.datatypes import Json

CANCEL: Final = "CANCEL"  # ZBE-4
EXTENSION: Final = "urn:predmp:StructureDefinition:movement"
PLANNED, ACTIVE, LEAVE, FINISHED = "planned", "in-progress", "onleave", "finished"

STATUS: Final = {
    "A05": PLANNED, "A14": PLANNED, "A01": ACTIVE, "A04": ACTIVE, "A06": ACTIVE, "A07": ACTIVE, "A22": ACTIVE,
    "A02": ACTIVE, "A21": LEAVE, "A03": FINISHED,
}  # fmt: skip
"""What a movement says of the stay, by its trigger; others say nothing of it."""

EXPECTED: Final = frozenset({"A05", "A14", "A15", "A16"})
"""Movements that are still to come: their place is planned, and the stay does not begin with them."""

PLACELESS: Final = frozenset({"A03", "A16"})
"""A discharge, and one that is expected: the patient goes to no place of the stay."""

OPENING: Final = frozenset({"A01", "A04", "A05", "A14"})
"""Movements that a stay begins with: where one was cancelled and none stands, the stay never was."""

ADMISSIONS: Final = frozenset({"A05", "A14"})
"""Of these, what the next movement fulfils: the plan ends there."""


class Movement(NamedTuple):
    """One movement."""

    id: str  # ZBE-1, with its authority
    at: int  # ZBE-2 as microseconds since 1970: the order
    start: str  # ZBE-2
    end: str  # ZBE-3, "" where it is open
    action: str  # INSERT, UPDATE, CANCEL
    trigger: str  # what it was when it was inserted: ZBE-6, else the message's event
    place: Json | None  # PV1-3
    medical: str  # ZBE-7: the unit responsible for the treatment
    nursing: str  # ZBE-8: the unit responsible for the care
    nature: str  # ZBE-9
    patient_class: Json | None  # PV1-2
    said: int  # when the message was recorded, microseconds since 1970
    left: str = ""  # PV1-45 of a discharge
    prior: Json | None = None  # PV1-6: where the patient was before
    historic: bool = False  # ZBE-5: it was told long after


def with_movement(known: Sequence[Movement], new: Movement) -> tuple[list[Movement], bool]:
    """Return the movements with a new or changed one, and whether it was older than what is known of it."""
    before = next((one for one in known if one.id == new.id), None)
    if before is not None and before.said > new.said:
        return list(known), True
    return sorted([*(one for one in known if one.id != new.id), new], key=lambda one: (one.at, one.id)), False


def dump(known: Iterable[Movement]) -> list[Json]:
    """Return movements as they are kept."""
    return [one._asdict() for one in known]


def load(kept: Iterable[Json]) -> list[Movement]:
    """Return movements from what is kept."""
    return [Movement(**one) for one in kept]


def course(known: Sequence[Movement]) -> dict[str, Any]:
    """Return what an Encounter says of its course: status, class, their histories, places, end.

    Args:
        known: All movements of the stay, in their order; those that were cancelled count as never been.
    """
    standing = [one for one in known if one.action != CANCEL]
    if not standing or _never_was(known):
        last = next((one.patient_class for one in reversed(known) if one.patient_class), None)
        return {"status": "cancelled"} | ({"class": last} if last else {})
    statuses = _changes((STATUS[one.trigger], one) for one in standing if one.trigger in STATUS)
    classes = _changes((one.patient_class, one) for one in standing if one.patient_class)
    made: dict[str, Any] = {"status": statuses[-1][0] if statuses else "unknown"}
    if len(statuses) > 1:
        made["statusHistory"] = [
            {"status": status, "period": _between(one, after)} for status, one, after in _past(statuses)
        ]
    if classes:
        made["class"] = classes[-1][0]
    if len(classes) > 1:
        made["classHistory"] = [
            {"class": value, "period": _between(one, after)} for value, one, after in _past(classes)
        ]
    if places := _places(standing, made["status"] == FINISHED):
        made["location"] = places
    made["start"] = next((one for one in standing if one.trigger not in EXPECTED), standing[0]).start
    if made["status"] == FINISHED:
        made["end"] = statuses[-1][1].left or statuses[-1][1].start
    return made


def _never_was(known: Sequence[Movement]) -> bool:
    """Whether the admission itself was cancelled: what is left (another doctor, a transfer) is of no stay."""
    opening = [one for one in known if one.trigger in OPENING]
    return bool(opening) and all(one.action == CANCEL for one in opening)


def _changes(values: Iterable[tuple[Any, Movement]]) -> list[tuple[Any, Movement]]:
    """Return the values with the movement that brought each, without those that change nothing."""
    made: list[tuple[Any, Movement]] = []
    for value, movement in values:
        if not made or made[-1][0] != value:
            made.append((value, movement))
    return made


def _past(changes: Sequence[tuple[Any, Movement]]) -> Iterable[tuple[Any, Movement, Movement]]:
    return ((value, one, after) for (value, one), (_, after) in pairwise(changes))


def _between(one: Movement, after: Movement) -> dict[str, str]:
    return {key: text for key, text in (("start", one.start), ("end", after.start)) if text}


def _places(standing: Sequence[Movement], is_over: bool) -> list[Json]:
    """Return where the patient was, is and will be."""
    there = [one for one in standing if (one.place or one.medical or one.nursing) and one.trigger not in PLACELESS]
    past = [one for one in there if one.trigger not in EXPECTED]
    made = []
    for one in there:
        ends = one.trigger not in EXPECTED or one.trigger in ADMISSIONS
        after = next((each for each in standing if _follows(each, one)), None) if ends else None
        end = one.end or (after.start if after else "")
        now = "active" if past and one is past[-1] and not is_over else "completed"
        status = "planned" if one.trigger in EXPECTED else now
        period = {key: text for key, text in (("start", one.start), ("end", end)) if text}
        where = one.place or {"display": one.medical or one.nursing}
        made.append({"extension": [_told(one)], "location": where, "status": status, "period": period})
    first = standing[0]
    if first.prior and first.prior != first.place:  # what came before is known by this movement alone
        made.insert(0, {"location": first.prior, "status": "completed", "period": {"end": first.start}})
    return made


def _follows(other: Movement, one: Movement) -> bool:
    """Whether a movement ends what another one began; an admission may be at the very time it was planned for."""
    if other.trigger in EXPECTED:
        return False
    return other.at >= one.at if one.trigger in ADMISSIONS else other.at > one.at


def _told(one: Movement) -> Json:
    """Return the extension that says which movement a place is from, and which units are responsible there."""
    named = (("id", one.id), ("medicalUnit", one.medical), ("nursingUnit", one.nursing), ("nature", one.nature))
    told: list[Json] = [{"url": name, "valueString": text} for name, text in named if text]
    if one.historic:
        told.append({"url": "historic", "valueBoolean": True})
    return {"url": EXTENSION, "extension": told}
