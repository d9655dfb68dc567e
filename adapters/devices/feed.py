"""`POST /devices` and `GET /devices/quarantine` over HTTP."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from adapters.devices import quarantine
from adapters.devices.arrival import arrival_key, first_arrival
from adapters.devices.format import JSON, SOURCES, Given, check, read_body
from adapters.devices.intake import Intake, Result
from adapters.devices.message import MAX_READINGS
from adapters.devices.reading import DeviceName
from adapters.devices.reading_json import is_text
from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, Forbidden, TooLarge
from fhir_server.interface import Asking, Core
from fhir_server.model import Actor, Record

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
        """Take readings, in any of the formats; answers one result each, in order, device after device.

        `device` (system|value) names the device of Open mHealth data points in place of their `user_id`.
        """
        actor = await core.authenticate(request.headers.get("authorization", ""))
        if not actor.may("c", "Observation"):
            raise Forbidden("The token's scopes do not allow creating an Observation.")
        given = await _given(core, request, actor)
        results: list[Result] = []
        for message in given.messages:
            results += await intake.take(message, actor=actor, source=given.format)
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

    content = {"application/json": {"schema": BODY}, **{name: {"schema": {}} for name in SOURCES if name != JSON}}
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


async def _given(core: Core, request: Request, actor: Actor) -> Given:
    """Read the body; relative times of one sent again under its Idempotency-Key stay what they were.

    Raises:
        BadRequest, Malformed, TooLarge, UnsupportedMediaType: It cannot be taken.
    """
    media_type, device = request.headers.get("content-type", JSON), _device(request)
    check(media_type)
    body = await _body(request)
    given = read_body(media_type, body, now=core.now(), device=device)
    name = request.headers.get("idempotency-key", "")
    if given.is_relative and name:
        first = await first_arrival(core, actor.tenant, arrival_key("http", actor.subject, name))
        given = read_body(media_type, body, now=first, device=device)
    return given


def _device(request: Request) -> DeviceName | None:
    text = request.query_params.get("device")
    if text is None:
        return None
    system, separator, value = text.partition("|")
    if not (separator and is_text(system) and is_text(value)):
        raise BadParameter("device is an identifier: system|value.")
    return DeviceName(system, value)


async def _body(request: Request) -> bytes:
    """Read the body within its bound; raise TooLarge, BadRequest."""
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
