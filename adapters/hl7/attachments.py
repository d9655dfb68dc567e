"""Documents inside results (OBX-5 of type ED or RP): in the report, or beside it where they are large.

A small one is in the report's `presentedForm`. A large one is a Binary of its own, which only those see who see the
patient, with a DocumentReference by which it is found; the report points to it. Ours: how large is large.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from adapters.hl7 import values
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded
from adapters.hl7.ids import unique
from adapters.hl7.position import Told
from adapters.hl7.tokens import Segment
from adapters.hl7.wanted import Wanted

LARGE: Final = 256 * 1024
"""Characters of base64 from which on a document is stored beside the resource that holds it."""

DOCUMENT_STATUS: Final = {"P": "preliminary", "R": "preliminary", "S": "preliminary", "C": "amended", "F": "final"}
"""OBX-11 -> docStatus of a document beside its report. Ours."""


class Attached(NamedTuple):
    """What became of a document: as the report holds it, and what is stored beside."""

    attachment: Json
    beside: tuple[Wanted, ...] = ()


def titled(context: Context, obx: Segment) -> Json | None:
    """Return OBX-5 as an Attachment with the text of OBX-3 as its title."""
    made = values.attachment(context, obx)
    if made is None:
        context.note(obx, 5, "attachment-not-used")
        return None
    title = obx.text(3, 2) or obx.text(3)
    return {**made, "title": title} if title else made


def stored_apart(context: Context, obx: Segment, attachment: Json, key: tuple[str, ...]) -> tuple[Json, Wanted | None]:
    """Return an attachment as a resource holds it, and the Binary that holds the data of a large one."""
    data = attachment.get("data", "")
    if len(data) < LARGE:
        return attachment, None
    id = unique(context, obx, ("Binary", *key))
    binary = {"resourceType": "Binary", "id": id, "contentType": attachment["contentType"], "data": data}
    size = len(data) // 4 * 3 - data[-2:].count("=")
    pointing = {name: value for name, value in attachment.items() if name != "data"}
    return {**pointing, "url": f"Binary/{id}", "size": size}, Wanted(binary, obx)


def attached(context: Context, told: Told, key: tuple[str, ...], *, has_report: bool) -> Attached | None:
    """Read a document of a result.

    Args:
        context: Where problems are noted.
        told: The OBX.
        key: What tells its order from others.
        has_report: Whether there is a report that can hold it; else it is a document of its own.
    """
    obx = told.segment
    found = titled(context, obx)
    if found is None:
        return None
    own = (*key, obx.text(3), obx.raw(4))
    held, binary = stored_apart(context, obx, found, own)
    if binary is None and has_report:
        return Attached(held)
    document = _document(context, obx, held)
    document["id"] = unique(context, obx, ("DocumentReference", *own))
    return Attached(held, (*([binary] if binary else []), Wanted(document, obx)))


def _document(context: Context, obx: Segment, attachment: Json) -> Json:
    made: Json = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}]}
    status = obx.text(11)
    if status in ("D", "W"):
        made["status"] = "entered-in-error"
    elif status in DOCUMENT_STATUS:
        made["docStatus"] = DOCUMENT_STATUS[status]
    if kind := coded(context, obx, 3, obx.first(3)):
        made["type"] = kind
    moment = context.moment(obx, 14, obx.text(14))
    if moment and moment.is_full:
        made["date"] = moment.text
    return made
