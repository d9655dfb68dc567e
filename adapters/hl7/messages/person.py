"""Who a message is about: PID to a Person, and the stay that PV1 names."""

from __future__ import annotations

from typing import Final

from adapters.hl7.context import UNKNOWN, Context
from adapters.hl7.datatypes import INS_TYPES, Json
from adapters.hl7.draft import Person, Visit
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.group import Group
from adapters.hl7.maps import pid as pid_map
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.maps.rows import Stated, state
from adapters.hl7.tokens import Segment

VISIT_LINK: Final = frozenset({1, 19})
TRUSTED: Final = "VALI"  # PID-32: the identity is validated; only then does an INS number tell who it is
DOUBTED: Final = frozenset({"DOUT", "FICT"})  # PID-32: then an INS number is not taken over at all


def read_person(context: Context, pid: Segment, *, leads: bool) -> Person:
    """Read PID.

    Args:
        context: Where problems are noted.
        pid: The segment.
        leads: Whether the feed leads on identity (ADT) or only names the patient.

    Raises:
        Refused: No identifier of it tells who it is.
    """
    context.take(pid, pid_map.USED)
    if not pid.is_valued(3):
        raise Refused(Fault("101", pid.place(3), "The patient has no identifier."))
    stated = state(pid_map.PID_TO_PATIENT, context, pid)
    codes = {parts[0][0] for parts in pid.repetitions(32)}
    if codes & DOUBTED:
        stated = [_without_ins(context, pid, one) for one in stated]
    known = next((one.value for one in stated if one.row.field == 3), None) or []
    trusted = TRUSTED in codes and not codes & DOUBTED
    return Person(own_key(context, pid, 3, known, ins=trusted), pid, tuple(stated), leads)


def own_key(context: Context, segment: Segment, field: int, known: list[Json], *, ins: bool = False) -> tuple[str, str]:
    """Return the identifier that tells who it is: the first with an authority.

    Args:
        context: The message's.
        segment: Where the identifiers stand.
        field: In which field.
        known: The identifiers.
        ins: Whether a national number (INS) counts.

    Raises:
        Refused: None has an authority.
    """
    fit = [i for i in known if i["system"] not in INS_TYPES or ins]
    own = [i for i in fit if i["system"] != context.facility_system] or (fit if context.facility != UNKNOWN else [])
    if not own:
        raise Refused(Fault("101", segment.place(field), "The patient's identifier has no assigning authority."))
    return own[0]["system"], own[0]["value"]


def _without_ins(context: Context, pid: Segment, one: Stated) -> Stated:
    """Leave out a national identifier (INS): PID-32 says that the identity is doubtful or fictitious."""
    if one.row.element != "identifier" or not one.value:
        return one
    kept = [item for item in one.value if item["system"] not in INS_TYPES]
    if len(kept) < len(one.value):
        context.note(pid, one.row.field, "ins-of-doubted-identity")
    return one._replace(value=kept)


def visit_key(context: Context, pid: Segment, pv1: Segment) -> tuple[str, str] | None:
    """Return the stay's number: PV1-19, else the account (PID-18) with the time of admission (PV1-44)."""
    made: Json | None = None
    if pv1.is_valued(19):
        made = pv1_map.visit_number(context, pv1, 19, pv1.first(19))
    if made is None and pid.is_valued(18) and pv1.is_valued(44):
        context.take(pid, pv1_map.ACCOUNT)
        number = f"{pid.text(18)}/{pv1.text(44)}"
        made = {"system": f"{context.facility_system}:accounts", "value": number}
    return (made["system"], made["value"]) if made else None


def linked_visit(context: Context, pid: Segment, patient: Group) -> Visit | None:
    """Return the stay that results belong to; they name it and say no more about it."""
    visits = patient.groups("VISIT")
    pv1 = visits[0].segment("PV1") if visits else None
    key = visit_key(context, pid, pv1) if pv1 else None
    if pv1 is None or key is None:
        return None
    context.take(pv1, VISIT_LINK)
    return Visit(key, pv1)
