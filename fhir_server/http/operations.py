"""FHIR operations that rooms hand in: `Patient/1/$pre-dmp`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from fhir_server import gate
from fhir_server.errors import MethodNotAllowed, NotSupported
from fhir_server.http.message import JSON, XML_TYPES, Request, Response
from fhir_server.interactions.core import Hub
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import Operation, OperationCall


async def serve_operation(hub: Hub, request: Request) -> Response:
    """Find the operation, check the scope, run it."""
    *place, name = request.segments
    operation = _find(hub, place, name[1:])
    if request.method not in operation.methods:
        error = MethodNotAllowed("The operation does not take this method.")
        error.headers["Allow"] = ", ".join(operation.methods)
        raise error
    actor = request.actor
    if not actor.may(operation.needs, operation.type):
        raise forbidden()
    parameters: dict[str, list[str]] = {}
    for key, value in request.pairs:
        is_xml = key == "_format" and value.lower().replace(" ", "+") in XML_TYPES  # written at the edge
        parameters.setdefault(key, []).append(JSON if is_xml else value)
    answer = await operation.run(
        OperationCall(
            actor=actor,
            type=place[0],
            id=place[1] if len(place) == 2 else "",
            method=request.method,
            parameters=parameters,
            resource=request.resource() if request.body else None,
            accept=request.headers.get("accept", ""),
            language=language_of(request.headers.get("accept-language", "")),
        )
    )
    body = gate.write(answer.resource) if answer.resource is not None else answer.body
    return Response(answer.status, body, tuple(answer.headers.items()), answer.media_type)


def _find(hub: Hub, place: list[str], name: str) -> Operation:
    for operation in hub.operations:
        if operation.name == name and place and operation.type == place[0] and operation.instance == (len(place) == 2):
            return operation
    raise NotSupported("There is no such operation here.")


def language_of(text: str) -> str:
    """Return fr or en by an Accept-Language header; fr where it names neither."""
    for part in text.lower().split(","):
        if part.strip()[:2] in ("fr", "en"):
            return part.strip()[:2]
    return "fr"
