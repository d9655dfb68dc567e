"""An order group to the order itself (ServiceRequest) and its specimens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded
from adapters.hl7.ids import made_id, unique
from adapters.hl7.maps import nte as nte_map
from adapters.hl7.maps import orc as orc_map
from adapters.hl7.maps import spm as spm_map
from adapters.hl7.maps import taking_part
from adapters.hl7.maps import tq1 as tq1_map
from adapters.hl7.maps.rows import emptied
from adapters.hl7.position import Ordered
from adapters.hl7.tokens import Segment
from adapters.hl7.wanted import Wanted

DONE: Final = {"F": "completed", "C": "completed", "X": "revoked"}
"""OBR-25 of the results -> status of their order, where ORC says none. Ours."""

DG1_USED: Final = frozenset({1, 3, 4})


def read_request(
    context: Context, ordered: Ordered, numbers: dict[str, Json], patient: tuple[str, ...], message: str
) -> Wanted:
    """Convert the order itself.

    Args:
        context: Where problems are noted and segments taken.
        ordered: The order group; it has an ORC or an OBR.
        numbers: What `obr.order` gave.
        patient: Tenant, and system and value of the patient's identifier.
        message: What identifies the message, for an order without a number.
    """
    orc = ordered.orc.segment if ordered.orc else None
    obr = ordered.obr.segment if ordered.obr else None
    made = orc_map.request(context, orc, obr, numbers)
    if "requester" not in made and (asker := taking_part.asker(context, ordered.people)):
        made["requester"] = asker
    _lay_timing(context, ordered, made)
    notes = [*made.pop("note", []), *nte_map.comments(context, ordered.notes)]
    if notes:
        made["note"] = notes
    if reasons := read_reasons(context, ordered.diagnoses):
        told = made.get("reasonCode", [])
        made["reasonCode"] = [*told, *(one for one in reasons if one not in told)]
    if orc is not None:
        context.take(orc, orc_map.ORC_USED)
    if obr is not None:
        context.take(obr, orc_map.OBR_USED)
        if "status" not in made and (status := DONE.get(obr.text(25))):
            made["status"] = status
    segment = obr or orc
    assert segment is not None
    number = numbers.get("PLAC") or numbers.get("FILL")
    code = (obr.text(4) or obr.raw(4)) if obr is not None and obr.is_valued(4) else ""
    key = (number["system"], number["value"], code) if number else (context.facility_system, message, code)
    if not number:
        context.note(segment, 2, "order-number-missing")
    made["id"] = unique(context, segment, ("ServiceRequest", *patient, *key))
    found_by = (number["system"], number["value"]) if number and not code else None
    gone = emptied(orc_map.ORC_TO_REQUEST, orc) | emptied(orc_map.OBR_TO_REQUEST, obr)
    is_asked = orc is not None and not orc.is_valued(5) and made.get("status") == "active"
    return Wanted(made, segment, "over", True, found_by, {"status": "active"}, gone, is_asked)


def _lay_timing(context: Context, ordered: Ordered, made: Json) -> None:
    """Add priority and times: of TQ1, else of ORC-7, else of OBR-27; a TQ1 replaces what OBR-5 and OBR-6 say."""
    orc = ordered.orc.segment if ordered.orc else None
    obr = ordered.obr.segment if ordered.obr else None
    if ordered.timings:
        found = tq1_map.timing(context, ordered.timings[0])
        for more in ordered.timings[1:]:
            context.note(more, 0, "repetition-not-used")
    elif orc is not None and orc.is_valued(7):
        found = tq1_map.old_timing(context, orc, 7)
    elif obr is not None and obr.is_valued(27):
        found = tq1_map.old_timing(context, obr, 27)
    else:
        return
    if any(name.startswith("occurrence") for name in found):
        made.pop("occurrenceDateTime", None)
    made.update(found)


def read_reasons(context: Context, diagnoses: Sequence[Segment]) -> list[Json]:
    """Return DG1 of an order or an appointment as its reasons. Ours: the guide makes a Condition of each."""
    made = []
    for dg1 in diagnoses:
        context.take(dg1, DG1_USED)
        found = coded(context, dg1, 3, dg1.first(3)) or {}
        if dg1.text(4) and "text" not in found:
            found = {**found, "text": dg1.text(4)}
        if found:
            made.append(found)
    return made


def read_specimens(context: Context, ordered: Ordered, key: tuple[str, ...], patient: tuple[str, ...]) -> list[Wanted]:
    """Convert the specimens of an order: its SPM, else what OBR tells of one.

    Args:
        context: Where problems are noted and segments taken.
        ordered: The order group.
        key: What tells the order from others, the patient included.
        patient: Tenant, and system and value of the patient's identifier.
    """
    made = []
    for number, sample in enumerate(ordered.samples, 1):
        spm = sample.told.segment
        resource = spm_map.specimen(context, spm, sample.told.notes)
        known = next((one for one in reversed(resource.get("identifier", []))), None)
        own = (*patient, known["system"], known["value"]) if known else (*key, spm.text(1) or str(number))
        resource["id"] = made_id("Specimen", *own)
        made.append(Wanted(resource, spm, "over", in_order=True, gone=emptied(spm_map.SPM_TO_SPECIMEN, spm)))
    obr = ordered.obr.segment if ordered.obr else None
    if len(made) == 1 and obr is not None:
        spm_map.complete_by_order(context, made[0].resource, obr)
    if not made and obr is not None and spm_map.is_told(obr):
        resource = spm_map.of_order(context, obr)
        resource["id"] = made_id("Specimen", *key)
        made.append(Wanted(resource, obr, "over", in_order=True))
    return made
