"""MDM: documents, with their content or announced without it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

from adapters.hl7 import attachments, requesting, values
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, entity
from adapters.hl7.draft import Kind, Person
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group
from adapters.hl7.ids import made_id
from adapters.hl7.maps import flags
from adapters.hl7.maps import nte as nte_map
from adapters.hl7.maps import obr as obr_map
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.maps import txa as txa_map
from adapters.hl7.maps.rows import emptied
from adapters.hl7.messages.about import named, only_patient, visit_of
from adapters.hl7.position import Told, arrange
from adapters.hl7.tokens import Segment
from adapters.hl7.wanted import Wanted


def read_document(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an MDM message.

    Raises:
        Refused: It has no TXA, no document number, or is not about one patient.
    """
    segments = list(root.walk())
    found = named(segments, "TXA")
    if len(found) != 1:
        raise Refused(Fault("100", Place("TXA"), "The message is about one document: it has one TXA."))
    txa, person = found[0], only_patient(context, segments)
    whose = (context.tenant, *person.key)
    number = entity(context, txa, 12, txa.first(12), "", own="documents")
    if number is None:
        raise Refused(Fault("101", txa.place(12), "The document has no number."))
    id = made_id("DocumentReference", *whose, number["system"], number["value"])
    made = txa_map.document(context, txa, what.trigger) | {"id": id, "masterIdentifier": number}
    ordered = arrange(segments[segments.index(txa) + 1 :])
    _lay_flags(flags.take_out(context, ordered.results), made)
    content, beside = _content(context, ordered.results, (*whose, id))
    if content:
        made["content"] = content
    wanted = [*beside, *_orders(context, segments[: segments.index(txa)], whose, message, made)]
    otherwise: Json = {} if content else {"content": txa_map.announced(txa)}
    wanted += _related(context, txa, what.trigger, whose, made, otherwise)
    wanted.append(Wanted(made, txa, "over", True, None, otherwise, emptied(txa_map.TXA_TO_DOCUMENT, txa)))
    return (replace(person, visit=visit_of(context, person.segment, segments), wanted=tuple(wanted)),)


def _lay_flags(told: flags.Flags, made: Json) -> None:
    """Add what is told of masking and of the way of a document; where nothing is masked any more, no label is left."""
    if told.speaks_of_masking:
        made["securityLabel"] = [*made.get("securityLabel", []), *told.labels] or None
    if told.others:
        made["extension"] = [*made.get("extension", []), *told.others]


def _content(context: Context, results: list[Told], key: tuple[str, ...]) -> tuple[list[Json], list[Wanted]]:
    """Return OBX as the content of a document: files as they are, texts joined, and large files stored beside."""
    content: list[Json] = []
    beside: list[Wanted] = []
    for told in results:
        obx = told.segment
        for line in (obx, *told.lines):
            context.take(line, obx_map.USED)
        if obx.text(11) in attachments.WITHDRAWN:
            context.note(obx, 11, "document-withdrawn", obx.text(11))
            content.append({"attachment": {"title": obx.text(3, 2) or obx.text(3) or "?"}})
            continue
        if obx.text(2) in values.ATTACHED:
            made = attachments.titled(context, obx)
            if made is None:
                continue
            held, binary = attachments.stored_apart(context, obx, made, (*key, obx.text(3) or obx.raw(3), obx.raw(4)))
            content.append({"attachment": held})
            beside += [binary] if binary else []
        elif text := _text(obx, told.lines):
            content.append({"attachment": plain(text, obx.text(3, 2) or obx.text(3))})
        for comment in nte_map.comments(context, told.notes):
            content.append({"attachment": plain(comment["text"], "")})
    return content, beside


def _text(obx: Segment, lines: list[Segment]) -> str:
    """Return what OBX says as text: lines of one text, else a value with its unit."""
    if obx.text(2) in values.TEXTS:
        return "\n".join("\n".join(line.texts(5)) for line in (obx, *lines)).strip()
    return " ".join(text for text in (values.readable(obx), obx.text(6, 2) or obx.text(6)) if text)


def plain(text: str, title: str) -> Json:
    """Return a text as an Attachment."""
    made: Json = {"contentType": "text/plain; charset=utf-8", "data": b64encode(text.encode()).decode()}
    return {**made, "title": title} if title else made


def _orders(
    context: Context, segments: list[Segment], whose: tuple[str, ...], message: str, made: Json
) -> list[Wanted]:
    """Return the order that a document is about, where ORC and OBR tell of it, and point to it."""
    ordered = arrange(segments)
    if ordered.orc is None and ordered.obr is None:
        return []
    orc = ordered.orc.segment if ordered.orc else None
    obr = ordered.obr.segment if ordered.obr else None
    wanted = requesting.read_request(context, ordered, obr_map.order(context, orc, obr), whose, message)
    reference = {"reference": f"ServiceRequest/{wanted.resource['id']}"}
    inner = made.get("context", {})
    made["context"] = {**inner, "related": [*inner.get("related", []), reference]}
    return [replace(wanted, how="fill")]


def _related(
    context: Context, txa: Segment, trigger: str, whose: tuple[str, ...], made: Json, otherwise: Json
) -> list[Wanted]:
    """Point to the parent document (TXA-13); one that is replaced is superseded where it is stored.

    An event that does not tell how they stand to each other (T11) leaves what an earlier one told.
    """
    parent = entity(context, txa, 13, txa.first(13), "", own="documents")
    if parent is None or parent == made["masterIdentifier"]:
        return []
    told = txa_map.RELATIONS.get(trigger)
    if told is None:
        context.note(txa, 13, "relation-assumed")
    id = made_id("DocumentReference", *whose, parent["system"], parent["value"])
    target = {"reference": f"DocumentReference/{id}", "type": "DocumentReference", "identifier": parent}
    (made if told else otherwise)["relatesTo"] = [{"code": told or "appends", "target": target}]
    if told != "replaces":
        return []
    old = {"resourceType": "DocumentReference", "id": id, "status": "superseded"}
    return [Wanted(old, txa, "known")]
