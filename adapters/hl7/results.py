"""The order groups of an ORU to reports and results: identity, joined lines, documents, specimens, the order itself.

Ids are made from the patient, the order number, the code, the sub-id and the time, so that the same result
sent again is the same resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from adapters.hl7 import attachments, requesting, values
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.group import Group
from adapters.hl7.ids import made_id as made_id
from adapters.hl7.ids import unique
from adapters.hl7.maps import flags, taking_part
from adapters.hl7.maps import nte as nte_map
from adapters.hl7.maps import obr as obr_map
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.position import Ordered, Told, arrange
from adapters.hl7.pressure import PRESSURE, PRESSURE_CODE, Result, paired
from adapters.hl7.tokens import Segment
from adapters.hl7.wanted import Wanted

NO_RESULT: Final = frozenset({"Y", "Z"})
"""OBR-25 of an answer to a query that found no order, or no patient: no result."""


@dataclass(slots=True)
class Report:
    """One order group: a report (None where it has no OBR) and its results, with their ids."""

    report: Json | None
    observations: list[Json] = field(default_factory=list)
    segment: Segment | None = None  # the OBR
    rows: list[Segment] = field(default_factory=list)  # the OBX that each of the observations is of
    further: list[Wanted] = field(default_factory=list)  # the order, its specimens, documents


def read_order(context: Context, group: Group, patient: tuple[str, str], message: str) -> Report:
    """Convert one order group.

    Args:
        context: Where problems are noted and segments taken.
        group: ORDER_OBSERVATION of an ORU_R01.
        patient: System and value of the patient's identifier.
        message: What identifies the message, for a group that has neither order number nor time.

    Raises:
        Refused: It says that there is no such order, or no such patient.
    """
    ordered = arrange(group.walk())
    orc = ordered.orc.segment if ordered.orc else None
    obr = ordered.obr.segment if ordered.obr else None
    if obr is not None and obr.text(25) in NO_RESULT:
        raise Refused(Fault("103", obr.place(25), "It tells of no result: no order or no patient was found."))
    numbers = obr_map.order(context, orc, obr)
    when = obr_map.observed(context, obr) if obr else {}
    observed = when.get("effectiveDateTime") or when.get("effectivePeriod", {}).get("start", "")
    whose = (context.tenant, *patient)
    key = (*whose, *_order_key(context, obr, numbers, observed, message))
    made = Report(None, segment=obr)
    specimens = requesting.read_specimens(context, ordered, key, whose)
    made.further += specimens
    told = flags.take_out(context, ordered.results)
    forms, beside = documents_of(context, ordered, key, has_report=obr is not None)
    for one in beside:
        if told.labels and one.resource["resourceType"] == "DocumentReference" and "content" in one.resource:
            one.resource["securityLabel"] = told.labels
    made.further += beside
    section = obr.text(24) if obr is not None else ""
    results = results_of(context, ordered, key, observed, section, specimens)
    made.observations, made.rows = [one.observation for one in results], [one.obx for one in results]
    request = ""
    if orc is not None or "PLAC" in numbers:
        wanted = requesting.read_request(context, ordered, numbers, whose, message)
        if specimens:
            wanted.resource["specimen"] = [_reference(one.resource) for one in specimens]
        made.further.append(wanted)
        request = wanted.resource["id"]
    if obr is not None:
        made.report = _report(context, ordered, obr, numbers, made.observations, key)
        _lay_links(made.report, made.observations, specimens, forms, request)
        _lay_flags(made.report, told)
    return made


def _lay_flags(report: Json, told: flags.Flags) -> None:
    """Add what is told of the masking and of the way of a report's document."""
    if told.labels:
        report["meta"] = {"security": [label["coding"][0] for label in told.labels]}
    if told.others:
        report["extension"] = [*report.get("extension", []), *told.others]


def _reference(resource: Json) -> Json:
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}


def documents_of(
    context: Context, ordered: Ordered, key: tuple[str, ...], *, has_report: bool
) -> tuple[list[Json], list[Wanted]]:
    """Take the documents (ED, RP) out of what came with an order, or of what an event or a vaccination tells.

    Args:
        context: Where problems are noted and segments taken.
        ordered: What came; afterwards it holds no documents.
        key: What tells it from others.
        has_report: Whether there is a report that can hold them.

    Returns:
        The documents as a report holds them, and what is stored beside.
    """
    forms: list[Json] = []
    beside: list[Wanted] = []
    for rows in (ordered.results, *(sample.results for sample in ordered.samples)):
        for told in [one for one in rows if one.segment.text(2) in values.ATTACHED]:
            rows.remove(told)
            context.take(told.segment, obx_map.USED)
            found = attachments.attached(context, told, key, has_report=has_report)
            if found is not None:
                forms.append(found.attachment)
                beside += found.beside
    return forms, beside


def results_of(
    context: Context, ordered: Ordered, key: tuple[str, ...], observed: str, section: str = "",
    specimens: Sequence[Wanted] = (),
) -> list[Result]:  # fmt: skip
    """Convert the results of an order, with their ids.

    Args:
        context: Where problems are noted and segments taken.
        ordered: The order group.
        key: What tells the order from others.
        observed: When, where OBX-14 is empty; "" where it is not known.
        section: OBR-24: the diagnostic service; `obx.ANSWERS` for none.
        specimens: Of the order; an only one is that of each result.
    """
    results = [_result(context, told, observed, section) for told in ordered.results]
    _lay_specimens(results, specimens, is_result=section != obx_map.ANSWERS)
    for sample, wanted in zip(ordered.samples, specimens, strict=False):
        about = [_result(context, told, observed, section) for told in sample.results]
        for one in about:
            one.observation.update(focus=[_reference(wanted.resource)], specimen=_reference(wanted.resource))
        results += about
    return _identified(context, paired(results), key)


def _lay_specimens(results: Sequence[Result], specimens: Sequence[Wanted], *, is_result: bool) -> None:
    """Say of which specimen each result is: the one that OBX-33 names, else the only one of the order.

    What is told with an order (no result) is of the patient, unless OBX-33 names a specimen.
    """
    if not specimens:
        return
    numbers = {(n["system"], n["value"]): w for w in specimens for n in w.resource.get("identifier", ())}
    for one in results:
        named = one.observation.get("specimen", {}).get("identifier")
        wanted = numbers.get((named["system"], named["value"])) if named else None
        if wanted is None and named is None and is_result and len(specimens) == 1:
            wanted = specimens[0]
        if wanted is not None:
            one.observation["specimen"] = _reference(wanted.resource)


def _result(context: Context, told: Told, observed: str, section: str) -> Result:
    context.take(told.segment, obx_map.USED)
    made = obx_map.observation(context, told.segment, told.notes, observed, section)
    if told.people:
        taking_part.take_part(context, told.people, made)
    if told.lines:
        for line in told.lines:
            context.take(line, obx_map.USED)
        made.pop("dataAbsentReason", None)
        text = "\n".join("\n".join(line.texts(5)) for line in (told.segment, *told.lines))
        made.pop("valueString", None)
        made.update(values.text_value(context, told.segment, text))
    return Result(told.segment, made)


def _order_key(
    context: Context, obr: Segment | None, numbers: dict[str, Json], observed: str, message: str
) -> tuple[str, ...]:
    """Return what tells this order from others: the filler's number, else the placer's, else code and time."""
    number = numbers.get("FILL") or numbers.get("PLAC")
    code = _told_by_code(obr, 4) if obr else ""
    if number:
        return number["system"], number["value"], code
    if obr:
        context.note(obr, 3, "order-number-missing")
    return (context.facility_system, f"time {observed}", code) if observed else (context.facility_system, message, code)


def _told_by_code(segment: Segment, field: int) -> str:
    """Return what tells a result or an order from others of its message: its code, else all that is said of it."""
    raw = segment.raw(field)
    return raw.partition(segment.syntax.delimiters.component)[0] or raw


def _identified(context: Context, results: Sequence[Result], key: tuple[str, ...]) -> list[Result]:
    made = []
    for obx, observation in results:
        code = PRESSURE if observation["code"] is PRESSURE_CODE else _told_by_code(obx, 3)
        told_by = f"#{obx.raw(21)}" if obx.is_valued(21) else observation.get("effectiveDateTime", "")
        own = ("Observation", *key, code, obx.raw(4), told_by)
        made.append(Result(obx, {**observation, "id": unique(context, obx, own)}))
    return made


def _report(
    context: Context, ordered: Ordered, obr: Segment, numbers: dict[str, Json], observations: Sequence[Json],
    key: tuple[str, ...],
) -> Json:  # fmt: skip
    """Return the report itself, with its id."""
    context.take(obr, obr_map.USED)
    orc = ordered.orc.segment if ordered.orc else None
    if orc is not None:
        context.take(orc, obr_map.ORC_USED)
    made = obr_map.report(context, orc, obr, numbers, [one["status"] for one in observations])
    if comments := nte_map.comments(context, ordered.notes):
        more = [{"url": obr_map.NOTE, "valueAnnotation": comment} for comment in comments]
        made["extension"] = [*made.get("extension", []), *more]
    if ordered.people:
        taking_part.take_part(context, ordered.people, made)
    made["id"] = unique(context, obr, ("DiagnosticReport", *key))
    return made


def _lay_links(
    report: Json, observations: Sequence[Json], specimens: Sequence[Wanted], forms: list[Json], request: str
) -> None:
    """Add to a report what it refers to."""
    if observations:
        report["result"] = [_reference(one) for one in observations]
    if specimens:
        report["specimen"] = [_reference(one.resource) for one in specimens]
    if forms:
        report["presentedForm"] = forms
    if request:
        named = report.get("basedOn", [{"type": "ServiceRequest"}])[0]
        report["basedOn"] = [{"reference": f"ServiceRequest/{request}", **named}]
