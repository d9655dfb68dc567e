"""FHIR operations: `Patient/1/$everything`, `Observation/$lastn`, `$export`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from fhir_server import gate
from fhir_server.errors import MethodNotAllowed, NotSupported
from fhir_server.http.message import JSON, JSON_TYPES, XML_TYPES, Request, Response, check_content_type
from fhir_server.http.part import NAMES as PARTS
from fhir_server.http.part import WHOLE, read_part
from fhir_server.interactions.core import Hub
from fhir_server.interactions.ids import check_id
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import Operation, OperationCall
from fhir_server.model import Resource


async def serve_operation(hub: Hub, request: Request) -> Response:
    """Find the operation, check the scope, run it."""
    *place, _ = request.segments
    type, id = place[0] if place else "", place[1] if len(place) > 1 else ""
    operation = find_operation(hub, request)
    if request.method not in operation.methods and (request.method != "HEAD" or "GET" not in operation.methods):
        error = MethodNotAllowed("The operation does not take this method.")
        error.headers["Allow"] = ", ".join(operation.methods)
        raise error
    actor = request.actor
    if operation.needs and not actor.may(operation.needs, type or "*"):
        raise forbidden()
    if id:
        check_id(id)
    part = WHOLE if _parts_itself(operation) else read_part(request, hub.types)
    parameters: dict[str, list[str]] = {}
    for key, value in request.pairs:
        if key in PARTS and not _parts_itself(operation):
            continue
        is_xml = key == "_format" and value.lower().replace(" ", "+") in XML_TYPES  # written at the edge
        parameters.setdefault(key, []).append(JSON if is_xml else value)
    answer = await operation.run(
        OperationCall(
            actor=actor,
            type=type,
            id=id,
            method=request.method,
            parameters=parameters,
            resource=_resource(request, operation),
            accept=request.headers.get("accept", ""),
            language=language_of(request.headers.get("accept-language", "")),
            body=request.body,
            content_type=request.headers.get("content-type", ""),
            preferences=request.preferences,
            request_id=request.id,
            if_match=request.headers.get("if-match", ""),
            version=place[3] if len(place) == 4 else "",
            parts=request.parts,
            format=dict(request.pairs).get("_format", ""),
            query=request.query,
        )
    )
    body = gate.write(answer.resource) if answer.resource is not None else answer.body
    if not part.is_whole and answer.status == 200 and answer.media_type == JSON and answer.chunks is None:
        body = gate.write(part.of_answer(gate.load(body)))
    return Response(answer.status, body, tuple(answer.headers.items()), answer.media_type, chunks=answer.chunks)


def _parts_itself(operation: Operation) -> bool:
    """Whether `_summary` and `_elements` are the operation's own matter: its answer is no FHIR, or comes later."""
    return operation.is_job or operation.takes_any_body


def _resource(request: Request, operation: Operation) -> Resource | None:
    if not request.body:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if operation.reads_body:
        check_content_type(request.headers.get("content-type", ""))
        return None
    if operation.takes_any_body and kind not in JSON_TYPES - {"application/json", "text/json"}:
        return None
    return request.resource()


def find_operation(hub: Hub, request: Request) -> Operation:
    """Return the operation that a path names; raise NotSupported where there is none."""
    *place, last = request.segments
    name = last[1:]
    is_version = len(place) == 4 and place[2] == "_history"
    type, is_instance = place[0] if place else "", len(place) == 2 or is_version
    if (len(place) <= 2 or is_version) and (not type or type in hub.types):
        levels = (type, "*") if type else ("",)
        for operation in hub.operations:
            if operation.name == name and operation.instance == is_instance and operation.type in levels:
                if is_version and not operation.on_versions:
                    continue
                return operation
    raise NotSupported("There is no such operation here.")


def language_of(text: str) -> str:
    """Return fr or en by an Accept-Language header; fr where it names neither."""
    for part in text.lower().split(","):
        if part.strip()[:2] in ("fr", "en"):
            return part.strip()[:2]
    return "fr"
