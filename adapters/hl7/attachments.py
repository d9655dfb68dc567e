"""Documents inside results (OBX-5 of type ED or RP): in the report, or beside it where they are large.

A small one is in the report's `presentedForm`. A large one is a Binary of its own, which only those see who see the
patient, with a DocumentReference by which it is found; the report points to it. Ours: how large is large.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from typing import Final, NamedTuple

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded
from adapters.hl7.ids import unique
from adapters.hl7.position import Told
from adapters.hl7.tokens import Segment, part
from adapters.hl7.wanted import Wanted

LARGE: Final = 256 * 1024
"""Characters of base64 from which on a document is stored beside the resource that holds it."""

WITHDRAWN: Final = frozenset({"D", "W", "X"})
"""OBX-11 of a document that was deleted, is another patient's, or was not made (table 0085)."""

DOCUMENT_STATUS: Final = {"P": "preliminary", "R": "preliminary", "S": "preliminary", "C": "amended", "F": "final"}
"""OBX-11 -> docStatus of a document beside its report. Ours."""


MEDIA: Final = {
    "PDF": "application/pdf", "JPEG": "image/jpeg", "JPG": "image/jpeg", "PNG": "image/png", "TIFF": "image/tiff",
    "GIF": "image/gif", "XML": "application/xml", "HTML": "text/html", "RTF": "application/rtf",
    "DICOM": "application/dicom",
    "PLAIN": "text/plain", "TEXT": "text/plain", "CDA": "application/xml", "X-HL7-CDA-LEVEL-ONE": "application/xml",
}  # fmt: skip
"""ED.3 (subtype), ED.2 where there is none -> media type. Ours."""

SIGNS: Final = {
    "JVBERi": "application/pdf", "/9j/": "image/jpeg", "iVBORw0KGgo": "image/png", "R0lGOD": "image/gif",
    "SUkqA": "image/tiff", "TU0AK": "image/tiff", "e1xydG": "application/rtf",
}  # fmt: skip
"""Begin of data in base64 -> media type: signatures of the formats (PDF, JPEG, PNG, GIF, TIFF, RTF). XML is not told by
its begin: what kind of XML it is (CDA, say) is the sender's to tell."""


class Attached(NamedTuple):
    """What became of a document: as the report holds it, and what is stored beside."""

    attachment: Json
    beside: tuple[Wanted, ...] = ()


def attachment(context: Context, obx: Segment) -> Json | None:
    """Return OBX-5 of type ED or RP as an Attachment. Source: ED[Attachment], RP[Attachment].

    Data in another encoding than base64 is encoded; the media type is what the data begin with (`SIGNS`), else that
    of ED.3, else of ED.2.
    """
    if len(obx.repetitions(5)) > 1:
        context.note(obx, 5, "repetition-not-used")
    parts = obx.first(5)
    pointer = obx.text(2) == "RP"
    main, subtype = (part(parts, 3), part(parts, 4)) if pointer else (part(parts, 2), part(parts, 3))
    media = MEDIA.get((subtype or main).upper()) or (f"{main.lower()}/{subtype.lower()}" if main and subtype else "")
    made: Json = {"contentType": media} if re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", media) else {}
    if pointer:
        url = part(parts, 1)
        return {**made, "url": url} if url and not re.search(r"\s", url) else None
    encoding, data = part(parts, 4), part(parts, 5)
    if encoding.upper() == "BASE64":
        data = "".join(data.split())
        if len(data) % 4 or not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", data):  # 16 MiB take 13 ms: others wait for it
            context.note(obx, 5, "base64-malformed")
            return None
    elif encoding.upper() == "HEX":
        try:
            data = b64encode(bytes.fromhex(data)).decode()
        except ValueError:
            context.note(obx, 5, "hex-malformed")
            return None
    else:
        data = b64encode(data.encode()).decode()
    if not data:
        return None
    told = next((kind for sign, kind in SIGNS.items() if data.startswith(sign)), "")
    if told and told != media:
        if media:
            context.note(obx, 5, "media-type-corrected")
        made = {"contentType": told}
    return {"contentType": "application/octet-stream", **made, "data": data}


def titled(context: Context, obx: Segment) -> Json | None:
    """Return OBX-5 as an Attachment with the text of OBX-3 as its title."""
    made = attachment(context, obx)
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
    return {**pointing, "url": f"Binary/{id}", "size": size}, Wanted(binary, obx, in_order=True)


def attached(context: Context, told: Told, key: tuple[str, ...], *, has_report: bool) -> Attached | None:
    """Read a document of a result.

    Args:
        context: Where problems are noted.
        told: The OBX.
        key: What tells its order from others.
        has_report: Whether there is a report that can hold it; else it is a document of its own.
    """
    obx = told.segment
    if has_report and obx.text(11) in WITHDRAWN:
        return _withdrawn(context, obx, key)
    found = titled(context, obx)
    if found is None:
        return None
    own = (*key, obx.text(3) or obx.raw(3), obx.raw(4))
    held, binary = stored_apart(context, obx, found, own)
    if binary is None and has_report:
        return Attached(held)
    document = _document(context, obx, held)
    document["id"] = unique(context, obx, ("DocumentReference", *own))
    beside = [*([binary] if binary else []), Wanted(document, obx, in_order=True)]
    return Attached(held, tuple(replace(one, result=document) for one in beside))


def _withdrawn(context: Context, obx: Segment, key: tuple[str, ...]) -> Attached:
    """Return of a document that was withdrawn its title alone; one that is stored apart was entered in error."""
    context.note(obx, 11, "document-withdrawn", obx.text(11))
    title = {"title": obx.text(3, 2) or obx.text(3) or "?"}
    own = ("DocumentReference", *key, obx.text(3) or obx.raw(3), obx.raw(4))
    apart = {"resourceType": "DocumentReference", "id": unique(context, obx, own), "status": "entered-in-error"}
    return Attached(title, (Wanted(apart, obx, "known", in_order=True),))


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
