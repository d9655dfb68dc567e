"""ZBE to a movement of the stay. Ours: French PAM has no map to FHIR; fields as in `movements`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, authority, code_of
from adapters.hl7.demography import place
from adapters.hl7.event import recorded
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.movements import CANCEL, EXPECTED, Movement
from adapters.hl7.times import is_reversed, micros
from adapters.hl7.tokens import Segment, part

USED: Final = frozenset(range(1, 10))
ACTIONS: Final = frozenset({"INSERT", "UPDATE", CANCEL})
TAKEN_BACK: Final = {
    "A38": "A05", "A11": "A01", "A27": "A14", "A55": "A54", "A12": "A02", "A26": "A15", "A13": "A03", "A25": "A16",
    "A52": "A21", "A53": "A22",
}  # fmt: skip
"""Event that cancels -> the event it cancels, where ZBE-6 does not say."""


def _unit(segment: Segment, number: int) -> str:
    """Write a unit (XON): its name and its number."""
    name, code = segment.text(number), segment.text(number, 10)
    return " ".join(text for text in (name, f"({code})" if code and code != name else code if not name else "") if text)


def _id(context: Context, zbe: Segment) -> str:
    parts = zbe.first(1)
    leaves = [part(parts, n) for n in (2, 3, 4)]
    system = authority(context, zbe, 1, leaves) if any(leaves) else f"{context.facility_system}:movements"
    return f"{system}|{part(parts, 1)}"


def read_movement(context: Context, segments: Sequence[Segment], pv1: Segment, trigger: str) -> Movement | None:
    """Return the movement that a message is about; None where it has no ZBE.

    Raises:
        Refused: The movement has no number, no time or no known action.
    """
    zbe = next((one for one in segments if one.name == "ZBE"), None)
    if zbe is None:
        return None
    context.take(zbe, USED)
    if not zbe.is_valued(1):
        raise Refused(Fault("101", zbe.place(1), "The movement has no number."))
    start = context.moment(zbe, 2, zbe.text(2))
    if start is None:
        raise Refused(Fault("101", zbe.place(2), "The movement has no time."))
    action = zbe.text(4) or "INSERT"
    if action not in ACTIONS:
        raise Refused(Fault("103", zbe.place(4), "The movement's action is INSERT, UPDATE or CANCEL."))
    original = zbe.text(6) or TAKEN_BACK.get(trigger, trigger)
    end = context.moment(zbe, 3, zbe.text(3))
    if end is not None and is_reversed(start.text, end.text):
        context.note(zbe, 3, "period-reversed")
        end = None
    when = recorded(context, segments)
    left = context.moment(pv1, 45, pv1.text(45)) if original == "A03" else None
    return Movement(
        id=_id(context, zbe),
        at=micros(start.at),
        start=start.text,
        end=end.text if end else "",
        action=CANCEL if trigger in TAKEN_BACK else action,
        trigger=original,
        place=_place(context, pv1, original),
        medical=_unit(zbe, 7),
        nursing=_unit(zbe, 8),
        nature=zbe.text(9),
        patient_class=pv1_map.patient_class(context, pv1),
        said=micros(when.at) + when.doubt if when.at else 0,
        left=left.text if left else "",
        prior=place(context, pv1, 6, pv1.first(6)) if original == "A02" and pv1.is_valued(6) else None,
        historic=_is_historic(context, zbe),
    )


def _is_historic(context: Context, zbe: Segment) -> bool:
    """Return whether a movement was told long after (ZBE-5 Y)."""
    return zbe.is_valued(5) and code_of(context, zbe, 5, "YesNoIndicator", zbe.text(5)) == "true"


def _place(context: Context, pv1: Segment, trigger: str) -> Json | None:
    """Return where the patient is: PV1-3, of a pending transfer PV1-42."""
    field = 42 if trigger in EXPECTED and pv1.is_valued(42) else 3
    return place(context, pv1, field, pv1.first(field)) if pv1.is_valued(field) else None
