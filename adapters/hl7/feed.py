"""`POST /hl7v2`: a message or a batch as the body, its acknowledgement as the answer.

What was answered as HL7 says is 200, also where that is AE or AR: the transport did its part.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from adapters.hl7.charset import CODECS
from adapters.hl7.connection import HangUp
from adapters.hl7.reception import Settled
from adapters.hl7.ways import HTTP, Ways
from fhir_server.errors import BadRequest, Forbidden, TooLarge, Unavailable, UnsupportedMediaType
from fhir_server.interface import Core

MEDIA_TYPES = ("application/hl7-v2", "application/hl7-v2+er7", "x-application/hl7-v2+er7", "text/plain")
NAMES = frozenset(CODECS.values()) | {"cp1252", "windows-1252", "iso-8859-1", "iso-8859-15", "us-ascii"}
REGISTERED = {
    "ascii": "us-ascii",
    "cp1252": "windows-1252",
    "euc_kr": "euc-kr",
    "iso2022_jp": "iso-2022-jp",
    "iso2022_jp_1": "iso-2022-jp-1",
    "iso2022_jp_ext": "iso-2022-jp",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
}
"""Python's name -> the registered one, where they differ."""

LATER_S = 30.0  # seconds that a second part of an answer is waited for


def make_router(core: Core, ways: Ways, *, max_message: int) -> APIRouter:
    """Return the route of HL7 v2 over HTTP."""
    router = APIRouter(tags=["HL7 v2"])

    async def post_message(request: Request) -> Response:
        """Take one HL7 v2 message or batch; answers its acknowledgement, AA once it is stored."""
        actor = await core.authenticate(request.headers.get("authorization", ""))
        if not actor.may("c", "Observation"):
            raise Forbidden("The token's scopes do not allow creating an Observation.")
        if actor.patient:  # a message changes the record of whomever it names, and may merge it with another one
            raise Forbidden("A patient's own token sends no HL7 v2 messages.")
        charset = _charset(request)
        raw = await _body(request, max_message)
        address = request.client.host if request.client else ""
        channel = await ways.channels.of_request(actor.tenant, address, charset, raw)
        try:
            answer = await ways.take(HTTP, channel, raw)
        except HangUp:
            raise Unavailable("The store does not answer.") from None
        name = answer.codec.replace("iso8859-", "iso-8859-")
        media_type = f"application/hl7-v2; charset={REGISTERED.get(name, name)}"
        return Response(await _whole(answer), media_type=media_type, headers={"Cache-Control": "no-store"})

    schema = {"type": "string", "description": "one HL7 v2 message or batch, segments parted by CR"}
    content = {media_type: {"schema": schema} for media_type in ("application/hl7-v2", "text/plain")}
    router.add_api_route(
        "/hl7v2",
        post_message,
        methods=["POST"],
        response_class=Response,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    return router


async def _whole(answer: Settled) -> bytes:
    """Return an answer with its later part: there is no other way to send it."""
    frames = list(answer.frames)
    if (later := getattr(answer, "later", None)) is not None:
        try:
            async with asyncio.timeout(LATER_S):
                frames += (await later).frames
        except TimeoutError:
            return b"".join(frames)  # accepted: what became of it stands in the message log
    return b"".join(frames)


def _charset(request: Request) -> str:
    """Return the codec for text that does not declare its own, "" where none is named; raise UnsupportedMediaType."""
    media_type, _, rest = request.headers.get("content-type", "application/hl7-v2").partition(";")
    if media_type.strip().lower() not in MEDIA_TYPES:
        raise UnsupportedMediaType("HL7 v2 messages are posted as application/hl7-v2 or text/plain.")
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("An HL7 v2 message is posted without Content-Encoding.")
    name = ""
    for parameter in rest.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            name = value.strip().strip('"').lower()
    if name and name not in NAMES:
        raise UnsupportedMediaType("The charset is not known here.")
    return name


async def _body(request: Request, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise TooLarge("The message is longer than this system takes.")
            parts.append(part)
    except ClientDisconnect:
        raise BadRequest("The body was cut off.") from None
    if not size:
        raise BadRequest("The body is empty.")
    return b"".join(parts)
