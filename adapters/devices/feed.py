"""`POST /devices`, `POST /devices/sessions` and `GET /devices/quarantine` over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.devices import quarantine, reason, schema
from adapters.devices.arrival import arrival_key, first_arrival
from adapters.devices.format import JSON, SOURCES, Given, check, read_format
from adapters.devices.intake import ROOM, Intake, Result
from adapters.devices.message import Message, bounded, read_message
from adapters.devices.reading import DeviceName
from adapters.devices.reading_json import is_text
from adapters.devices.session import Opening, Session, close_session, open_session, read_opening
from fhir_server import gate
from fhir_server.errors import (
    BadParameter,
    BadRequest,
    FhirError,
    Forbidden,
    NotFound,
    TooLarge,
    Unprocessable,
    UnsupportedMediaType,
)
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Actor, Record
from fhir_server.pages.form import read_unpacked

MAX_BODY: Final = 2_097_152  # bytes: 1,000 readings of 2 kB
MAX_MEDIA_BODY: Final = 33_554_432  # bytes, where it holds pictures, sounds or waves
NDJSON: Final = ("application/x-ndjson", "application/ndjson")


def make_router(core: Core, intake: Intake) -> APIRouter:
    """Return the routes of the device feed."""
    router = APIRouter(tags=["Devices"])
    feed = Feed(core, intake)
    json: dict[str, Any] = {JSON: {"schema": schema.BODY}, NDJSON[0]: {"schema": schema.MESSAGE}}
    json |= {name: {"schema": {}} for name in SOURCES if name != JSON}
    session = {"application/json": {"schema": schema.SESSION}}
    for path, run, content in (
        ("/devices", feed.post_readings, json),
        ("/devices/sessions", feed.post_session, session),
    ):
        router.add_api_route(
            path,
            run,
            methods=["POST"],
            response_class=Response,
            openapi_extra={"requestBody": {"required": True, "content": content}},
        )
    router.add_api_route("/devices/quarantine", feed.get_quarantine, methods=["GET"], response_class=Response)
    return router


class Feed:
    """The HTTP feed."""

    def __init__(self, core: Core, intake: Intake) -> None:
        self._core, self._intake = core, intake

    async def post_readings(self, request: Request) -> Response:
        """Take readings of one device or of many, in any format; answers one result each, in order.

        `device` (system|value) names the device of Open mHealth data points in place of their `user_id`.
        """
        actor = await self._sender(request)
        kind, body = await _read(request, json_only=False)
        if kind in NDJSON:
            messages, source = _lines(body), "http"
        else:
            given = await self._given(request, actor, kind, body)
            messages, source = list(given.messages), given.source
        results = await self._intake.take_all(messages, actor=actor, source=source)
        return self._answer(request, results)

    async def post_session(self, request: Request) -> Response:
        """Take a cart's session: one Encounter, its readings and media; answers the Encounter and one result each."""
        actor = await self._sender(request)
        if not actor.may("c", "Encounter"):
            raise Forbidden("The token's scopes do not allow creating an Encounter.")
        _, body = await _read(request, json_only=True)
        opening = read_opening(gate.parse(body))
        bounded(list(opening.messages))
        patient = await self._patient(opening, actor)
        own = self._core.internal(actor.tenant, ROOM)

        async def begin(writing: Writing) -> Session:
            zone, base = self._intake.zone, self._core.base_url
            return await open_session(writing, opening, patient, actor=actor, own=own, zone=zone, base=base)

        session: Session = await self._core.transact(actor.tenant, begin)
        results = await self._intake.take_all(opening.messages, actor=actor)
        if not opening.stays_open:
            await self._core.transact(actor.tenant, lambda writing: close_session(writing, opening, own=own))
        status = session.status if opening.stays_open else "finished"
        return self._answer(request, results, session=opening.id, encounter=session.encounter, status=status)

    async def get_quarantine(self, request: Request) -> Response:
        """List readings that were kept aside, oldest first; for the operator. `after` is the `seq` of the last one."""
        actor = await self._core.authenticate(request.headers.get("authorization", ""))
        if not actor.is_operator or not actor.may("r", "Observation"):
            raise Forbidden("Only the operator sees what was kept aside.")
        after = _after(request)

        async def work(asking: Asking) -> list[Record]:
            return await quarantine.kept(asking, after=after)

        rows: list[Record] = await self._core.ask(actor.tenant, work)
        quarantine.shown_to(self._core, actor, "R", getattr(request.state, "request_id", ""))
        return _json({"quarantined": [quarantine.shown(row) for row in rows]})

    async def _sender(self, request: Request) -> Actor:
        actor = await self._core.authenticate(request.headers.get("authorization", ""))
        if not actor.may("c", "Observation"):
            raise Forbidden("The token's scopes do not allow creating an Observation.")
        return actor

    async def _given(self, request: Request, actor: Actor, kind: str, body: bytes) -> Given:
        """Read a body; relative times of one sent again under its Idempotency-Key stay what they were."""
        device, name = _device(request), request.headers.get("idempotency-key", "")
        base = self._core.base_url
        given = read_format(kind, body, now=self._core.now(), device=device, base=base)
        if given.is_relative and name:
            key = arrival_key("http", actor.subject, name)
            first = await first_arrival(self._core, actor.tenant, key)
            given = read_format(kind, body, now=first, device=device, base=base)
        return given

    async def _patient(self, opening: Opening, actor: Actor) -> str:
        """Return Patient/ID of a session's patient, whom the caller may see; raise Unprocessable."""
        try:
            if isinstance(opening.patient, str):
                return (await self._core.read(opening.patient, actor=actor)).reference
            token = quote(f"{_escaped(opening.patient.system)}|{_escaped(opening.patient.value)}", safe="")
            found = (await self._core.search(f"Patient?identifier={token}&_count=2", actor=actor)).resources
        except NotFound:
            found = []
        if len(found) != 1:
            raise Unprocessable("The session's patient is not known here, or not to this caller.")
        return f"Patient/{found[0]['id']}"

    def _answer(self, request: Request, results: Sequence[Sequence[Result]], **more: str) -> Response:
        language = self._core.pages.language(request)
        flat = [result_json(result, language) for of_device in results for result in of_device]
        return _json({**more, "results": flat})


def result_json(result: Result, language: str) -> dict[str, Any]:
    """Return a result as the answer shows it: status, and reference or reason with its text."""
    made: dict[str, Any] = {"status": result.status}
    if result.reference:
        made["reference"] = result.reference
    if result.reason is not None:
        text = result.reason.text(language)
        if result.status == "refused":
            text = f"{text} {reason.NO_ROOM.text(language)}"
        made |= {"reason": result.reason.code, "text": text}
    return made


async def _read(request: Request, *, json_only: bool) -> tuple[str, bytes]:
    """Read the body within its bound; raise TooLarge, BadRequest, UnsupportedMediaType."""
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if json_only and kind != JSON:
        raise UnsupportedMediaType("A session is posted as application/json.")
    if kind not in NDJSON:
        check(kind)
    body = await read_unpacked(request, MAX_MEDIA_BODY, "A message of readings has at most 33,554,432 bytes.")
    # A message of numbers alone is small; what is longer must hold media or waves.
    if len(body) > MAX_BODY and b'"media"' not in body and b'"samples"' not in body:
        raise TooLarge("A message of readings has at most 2,097,152 bytes, unless it holds media or samples.")
    return kind, body


def _lines(body: bytes) -> list[Message]:
    """Read NDJSON: one message a line; raise BadRequest that names the line."""
    messages: list[Message] = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            messages.append(read_message(gate.parse(line)))
            bounded(messages)
        except FhirError as error:
            if isinstance(error, TooLarge):
                raise
            raise BadRequest(f"Line {number}: {error.text} Nothing of the body was taken.") from None
    if not messages:
        raise BadRequest("The body holds no message.")
    return messages


def _device(request: Request) -> DeviceName | None:
    text = request.query_params.get("device")
    if text is None:
        return None
    system, separator, value = text.partition("|")
    if not (separator and is_text(system) and is_text(value)):
        raise BadParameter("device is an identifier: system|value.")
    return DeviceName(system, value)


def _after(request: Request) -> int:
    text = request.query_params.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadParameter("after is a number that a row was listed with.")
    return int(text)


def _escaped(text: str) -> str:
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return text


def _json(value: Any) -> Response:
    return Response(gate.write(value), media_type="application/json", headers={"Cache-Control": "no-store"})
