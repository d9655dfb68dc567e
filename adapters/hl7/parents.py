"""Results of results: what was found on an organism, say, as members of the result that found it.

OBR-26 names the parent's OBX (code, sub-id), OBR-29 its order. Source: HL7 v2.5.1 chapter 7, OBR-26 and OBR-29; ours:
the parent has the results as members (`hasMember`), where it is in the same message; else it is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.results import Report
from adapters.hl7.tokens import Segment, part

Index: TypeAlias = dict[tuple[str, str, str], list[tuple[Report, Json]]]
"""Order number ("" any), code, sub-id ("" any) -> the first results of two reports that have them."""


def tie(context: Context, reports: Sequence[Report]) -> None:
    """Add the results of orders that have a parent result to that result."""
    children = [report for report in reports if report.segment is not None and report.segment.is_valued(26)]
    if not children:
        return
    index = _index(reports)
    for report in children:
        obr = report.segment
        assert obr is not None
        context.take(obr, frozenset({26, 29}))
        parent = _parent(obr, report, index)
        if parent is None:
            context.note(obr, 26, "parent-not-in-message")
            continue
        members = [{"reference": f"Observation/{one['id']}"} for one in report.observations]
        if members:
            parent.setdefault("hasMember", []).extend(members)


def _index(reports: Sequence[Report]) -> Index:
    made: Index = {}
    for report in reports:
        obr = report.segment
        numbers = {obr.text(2), obr.text(3), ""} if obr is not None else {""}
        for row, observation in zip(report.rows, report.observations, strict=True):
            for key in {(n, row.text(3), sub) for n in numbers for sub in (row.text(4), "")}:
                found = made.setdefault(key, [])
                if len(found) < 2 and all(other is not report for other, _ in found):
                    found.append((report, observation))
    return made


def _parent(obr: Segment, own: Report, index: Index) -> Json | None:
    """Return the Observation that OBR-26 names, of the order that OBR-29 names where it names one."""
    wanted, order = obr.first(26), obr.first(29)
    for number in (part(order, 2), part(order, 1)) if obr.is_valued(29) else ("",):
        for report, observation in index.get((number, part(wanted, 1), part(wanted, 2)), ()):
            if report is not own and (number or not obr.is_valued(29)):
                return observation
    return None
