"""`POST /devices` and `GET /devices/quarantine` over HTTP."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from adapters.devices import quarantine
from adapters.devices.intake import Intake, Result
from adapters.devices.message import MAX_READINGS, read_message
from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, Forbidden, TooLarge, UnsupportedMediaType
from fhir_server.interface import Asking, Core
from fhir_server.model import Record

MAX_BODY: Final = 2_097_152  # bytes: 1,000 readings of 2 kB

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 256}
_NUMBER: Final = {
    "description": "a decimal number or the text of one; its digits are kept",
    "type": ["number", "string"],
}
_READING: Final = {
    "type": "object",
    "required": ["code"],
    "additionalProperties": False,
    "properties": {
        "system": {"enum": ["loinc", "mdc"], "default": "loinc"},
        "code": _TEXT,
        "value": _NUMBER,
        "unit": _TEXT,
        "components": {
            "description": "of a panel such as 85354-9, in place of value and unit",
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "value", "unit"],
                "properties": {"code": _TEXT, "value": _NUMBER, "unit": _TEXT},
            },
        },
        "at": {"type": "string", "description": "FHIR dateTime with seconds and offset"},
        "id": {**_TEXT, "description": "the sender's own id of the reading"},
    },
}
BODY: Final = {
    "type": "object",
    "required": ["device", "readings"],
    "additionalProperties": False,
    "properties": {
        "device": {"type": "object", "required": ["system", "value"], "properties": {"system": _TEXT, "value": _TEXT}},
        "readings": {"type": "array", "minItems": 1, "maxItems": MAX_READINGS, "items": _READING},
    },
}
"""JSON Schema of the request, shown in OpenAPI; `message` is what reads it."""


def make_router(core: Core, intake: Intake) -> APIRouter:
    """Return the routes of the device feed."""
    router = APIRouter(tags=["devices"])

    async def post_readings(request: Request) -> Response:
        """Take readings of one device; answers one result each, in order."""
        actor = await core.authenticate(request.headers.get("authorization", ""))
        if not actor.may("c", "Observation"):
            raise Forbidden("The token's scopes do not allow creating an Observation.")
        message = read_message(gate.parse(await _body(request)))
        results = await intake.take(message, actor=actor)
        language = core.pages.language(request)
        return _json({"results": [result_json(result, language) for result in results]})

    async def get_quarantine(request: Request) -> Response:
        """List readings that were kept aside, oldest first; for the operator. `after` is the `seq` of the last one."""
        actor = await core.authenticate(request.headers.get("authorization", ""))
        if not actor.is_operator or not actor.may("r", "Observation"):
            raise Forbidden("Only the operator sees what was kept aside.")
        after = _after(request)

        async def work(asking: Asking) -> list[Record]:
            return await quarantine.kept(asking, after=after)

        rows: list[Record] = await core.ask(actor.tenant, work)
        return _json({"quarantined": [{"seq": row.seq, "at": row.at, **gate.load(row.body)} for row in rows]})

    content = {"application/json": {"schema": BODY}}
    router.add_api_route(
        "/devices",
        post_readings,
        methods=["POST"],
        response_class=Response,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    router.add_api_route("/devices/quarantine", get_quarantine, methods=["GET"], response_class=Response)
    return router


def result_json(result: Result, language: str) -> dict[str, Any]:
    """Return a result as the answer shows it: status, and reference or reason with its text."""
    made: dict[str, Any] = {"status": result.status}
    if result.reference:
        made["reference"] = result.reference
    if result.reason is not None:
        made |= {"reason": result.reason.code, "text": result.reason.text(language)}
    return made


async def _body(request: Request) -> bytes:
    """Read the body within its bound; raise TooLarge, BadRequest, UnsupportedMediaType."""
    media_type = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("Readings are posted as application/json.")
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_BODY:
                raise TooLarge("A message of readings has at most 2,097,152 bytes.")
            parts.append(part)
    except ClientDisconnect:
        raise BadRequest("The body was cut off.") from None
    return b"".join(parts)


def _after(request: Request) -> int:
    text = request.query_params.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadParameter("after is a number that a row was listed with.")
    return int(text)


def _json(value: Any) -> Response:
    return Response(gate.write(value), media_type="application/json", headers={"Cache-Control": "no-store"})
