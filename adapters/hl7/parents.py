"""Results of results: what was found on an organism, say, as members of the result that found it.

OBR-26 names the parent's OBX (code, sub-id), OBR-29 its order. Source: HL7 v2.5.1 chapter 7, OBR-26 and OBR-29; ours:
the parent has the results as members (`hasMember`), where it is in the same message; else it is noted.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.results import Report
from adapters.hl7.tokens import Segment, part


def tie(context: Context, reports: Sequence[Report]) -> None:
    """Add the results of orders that have a parent result to that result."""
    for report in reports:
        obr = report.segment
        if obr is None or not obr.is_valued(26):
            continue
        context.take(obr, frozenset({26, 29}))
        parent = _parent(obr, [other for other in reports if other is not report])
        if parent is None:
            context.note(obr, 26, "parent-not-in-message")
            continue
        members = [{"reference": f"Observation/{one['id']}"} for one in report.observations]
        if members:
            parent["hasMember"] = [*parent.get("hasMember", []), *members]


def _parent(obr: Segment, others: Sequence[Report]) -> Json | None:
    """Return the Observation that OBR-26 names, of the order that OBR-29 names where it names one."""
    wanted, order = obr.first(26), obr.first(29)
    code, sub = part(wanted, 1), part(wanted, 2)
    numbers = {part(order, 1), part(order, 2)} - {""}
    for other in others:
        own = other.segment
        if numbers and (own is None or numbers.isdisjoint({own.text(2), own.text(3)} - {""})):
            continue
        for row, observation in zip(other.rows, other.observations, strict=True):
            if row.text(3) == code and sub in ("", row.text(4)):
                return observation
    return None
