"""`POST /hl7v2`: one message as the body, its acknowledgement as the answer."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from adapters.hl7.arrival import Channel
from adapters.hl7.authorities import Authorities
from adapters.hl7.charset import CODECS
from adapters.hl7.inbox import Inbox
from adapters.hl7.local import Locals
from fhir_server.errors import BadRequest, Forbidden, TooLarge, UnsupportedMediaType
from fhir_server.interface import Core

MEDIA_TYPES = ("application/hl7-v2", "application/hl7-v2+er7", "x-application/hl7-v2+er7", "text/plain")
NAMES = frozenset(CODECS.values()) | {"cp1252", "windows-1252", "iso-8859-1", "iso-8859-15", "us-ascii"}


def make_router(
    core: Core, inbox: Inbox, authorities: Authorities, locals_: Locals, *, zone: ZoneInfo, max_message: int
) -> APIRouter:
    """Return the route of HL7 v2 over HTTP."""
    router = APIRouter(tags=["hl7v2"])

    async def post_message(request: Request) -> Response:
        """Take one HL7 v2 message; answers its acknowledgement, AA once it is stored."""
        actor = await core.authenticate(request.headers.get("authorization", ""))
        if not actor.may("c", "Observation"):
            raise Forbidden("The token's scopes do not allow creating an Observation.")
        charset = _charset(request)
        raw = await _body(request, max_message)
        known = await authorities.of(actor.tenant)
        local = await locals_.of(actor.tenant)
        answer = await inbox.receive(Channel("http", actor.tenant, zone, known, charset, local=local), raw)
        body = b"".join(answer.frames)
        return Response(
            body, media_type=f"application/hl7-v2; charset={answer.codec}", headers={"Cache-Control": "no-store"}
        )

    schema = {"type": "string", "description": "one HL7 v2 message, segments parted by CR"}
    content = {media_type: {"schema": schema} for media_type in ("application/hl7-v2", "text/plain")}
    router.add_api_route(
        "/hl7v2",
        post_message,
        methods=["POST"],
        response_class=Response,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    return router


def _charset(request: Request) -> str:
    """Return the codec for text that does not declare its own; raise UnsupportedMediaType."""
    media_type, _, rest = request.headers.get("content-type", "application/hl7-v2").partition(";")
    if media_type.strip().lower() not in MEDIA_TYPES:
        raise UnsupportedMediaType("HL7 v2 messages are posted as application/hl7-v2 or text/plain.")
    name = rest.rpartition("charset=")[2].partition(";")[0].strip().strip('"').lower() if "charset=" in rest else ""
    if name and name not in NAMES:
        raise UnsupportedMediaType("The charset is not known here.")
    return name or "cp1252"


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
