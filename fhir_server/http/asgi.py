"""FHIR over ASGI: bytes in, dispatch, bytes out; every failure leaves as an OperationOutcome.

A framework's router is left out of this path, since it would cost as much as the work itself
(docs/why/adr-0005-http.md).
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from fhir_server import gate, xmlformat
from fhir_server.errors import BadRequest, FhirError, Throttled, TooLarge, Unauthorized, Unavailable
from fhir_server.http import binary, compression, jobs
from fhir_server.http.answer import WHOLE, answer
from fhir_server.http.asynchronous import kick_off
from fhir_server.http.begun import begin
from fhir_server.http.formats import in_json, in_xml, speaks_json, wants_xml
from fhir_server.http.message import JSON, MAX_QUERY, XML, Request, Response, is_xml, read_pairs, wanted_format
from fhir_server.http.metadata import Metadata
from fhir_server.http.metrics import Metrics
from fhir_server.http.routes import serve
from fhir_server.http.stream import is_streamed, read_parts
from fhir_server.interactions.core import Hub
from fhir_server.interactions.ids import new_request_id
from fhir_server.model import Actor
from fhir_server.outcome import to_outcome

log = logging.getLogger("predmp")

BODY_S = 30  # seconds that a body may take to arrive
_LISTS: Final = frozenset({b"accept", b"accept-encoding", b"accept-language", b"if-match", b"if-none-match", b"prefer"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class FhirApp:
    """The FHIR base as an ASGI application.

    Args:
        hub: The core.
        authenticate: Authorization header -> Actor; None answers every caller as `anyone`.
        anyone: The actor of every caller where authentication is off.
        max_body: Largest body, in bytes.
        max_import: Largest body that is handed on as it arrives, in bytes.
        metrics: Counts requests.
        prefix: Path of the base, "/fhir".
        metadata: Answers what the server can do.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        authenticate: Callable[[str], Actor],
        anyone: Actor | None,
        max_body: int,
        max_import: int,
        metrics: Metrics,
        prefix: str,
        metadata: Metadata,
    ) -> None:
        self._hub, self._authenticate, self._anyone = hub, authenticate, anyone
        self._max_import = max_import
        self._max_body, self._metrics, self._prefix, self._metadata = max_body, metrics, prefix, metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if len(headers) < len(scope["headers"]):
            headers |= joined(scope["headers"])
        method, query = scope["method"], scope["query_string"]
        id = headers.get("x-request-id", "")
        if not id or not _REQUEST_ID.fullmatch(id):
            id = new_request_id()
        is_json = speaks_json(query, headers)
        try:
            response = await self._serve(scope, receive, headers, id, is_json=is_json)
            if not is_json and wants_xml(query, headers):
                response = await in_xml(response, may_refuse=method in ("GET", "HEAD"))
        except Exception as error:  # the one place where a failure becomes an answer
            response = failure(error, id)
            if not is_json and wants_xml(query, headers):
                response = await in_xml(response, may_refuse=False)
        if query and b"_pretty=" in query:
            response = pretty(response, query)
        self._metrics.count(method, response.status)
        coding = compression.wanted(headers["accept-encoding"]) if "accept-encoding" in headers else ""
        is_whole = WHOLE in scope.get("extensions", ())
        await answer(send, response, id, is_head=method == "HEAD", coding=coding, is_whole=is_whole)

    async def _serve(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str], id: str, *, is_json: bool
    ) -> Response:
        segments = read_segments(scope["raw_path"], len(self._prefix))
        query = scope["query_string"].decode("latin-1")
        if len(query) > MAX_QUERY:
            raise BadRequest(f"The query string is longer than {MAX_QUERY:,} characters.")
        method: str = scope["method"]
        request = Request(method, segments, query, headers, b"", id)
        if segments == ("metadata",):
            return self._metadata_of(request)
        request.signed_in = self._actor(headers)
        first = segments[0] if segments else ""
        if not first:
            request.metadata = self._metadata_of
        if first == jobs.PATH:
            return await jobs.serve_job(self._hub, request)
        as_it_is = first == "Binary" and binary.wants_content(request)
        if not is_json and not as_it_is and wanted_format(query, headers) == XML:
            request.headers = {**headers, "accept": JSON}  # inside there is JSON only
        if is_streamed(self._hub, request):
            request.parts = read_parts(request, receive, self._max_import)
        elif method in ("POST", "PUT", "PATCH"):
            request.body = await read_body(headers, receive, self._max_body)
            if "content-encoding" in headers:
                request.body = await compression.decode(request.body, headers["content-encoding"], self._max_body)
            if first == "Binary" and binary.is_content(request):
                request = await binary.wrapped(request)
            elif not is_json and is_xml(headers.get("content-type", "")):
                request.body = await in_json(request.body) if request.body else b""
                request.headers = {**request.headers, "content-type": JSON}
        if "respond-async" in request.preferences and (made := await kick_off(self._hub, request)) is not None:
            return made
        response = await serve(self._hub, request)
        return await binary.unwrapped(response) if as_it_is else response

    def _metadata_of(self, request: Request) -> Response:
        """Answer what needs no token."""
        wanted_format(request.query, request.headers)
        return self._metadata.answer(request)

    def _actor(self, headers: Mapping[str, str]) -> Actor | None:
        authorization = headers.get("authorization", "")
        if authorization:
            return self._authenticate(authorization)
        return self._anyone


def joined(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return header fields that are lists and come in several lines, as one (RFC 9110 §5.3): each line counts."""
    made: dict[str, list[str]] = {}
    for name, value in fields:
        if name in _LISTS:
            made.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return {name: ", ".join(values) for name, values in made.items()}


def read_segments(raw_path: bytes, skip: int) -> tuple[str, ...]:
    """Split a raw path into decoded segments; raise BadRequest where it is no UTF-8 or has an empty part."""
    path = raw_path[skip:].strip(b"/") if b"?" not in raw_path else raw_path.partition(b"?")[0][skip:].strip(b"/")
    if not path:
        return ()
    if b"%" not in path:
        parts = path.decode("latin-1").split("/")
    else:
        try:
            parts = [unquote_to_bytes(part).decode("utf-8") for part in path.split(b"/")]
        except UnicodeDecodeError:
            raise BadRequest("The path is not UTF-8.") from None
    if not all(parts) or len(parts) > 6:
        raise BadRequest("The path has an empty part, or too many.")
    return tuple(parts)


async def read_body(headers: Mapping[str, str], receive: Receive, limit: int) -> bytes:
    """Read a body up to its limit.

    Raises:
        TooLarge: It is larger, or says so; what follows is not read.
        BadRequest: The peer left, or took longer than 30 seconds.
    """
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    message, following = begin(receive())
    if message is not None and not message.get("more_body", False) and message["type"] == "http.request":
        whole: bytes = message.get("body", b"")  # a small body comes with its head, and needs no deadline
        if len(whole) > limit:
            raise _too_large(limit)
        return whole
    body = bytearray()
    if message is not None and _is_whole(message, body, limit):
        return bytes(body)
    try:
        async with asyncio.timeout(BODY_S):
            if following is None or not _is_whole(await following, body, limit):
                while not _is_whole(await receive(), body, limit):
                    continue
    except TimeoutError:
        raise BadRequest("The body took longer than 30 seconds.") from None
    return bytes(body)


def _is_whole(message: MutableMapping[str, Any], body: bytearray, limit: int) -> bool:
    """Add what arrived to a body; return whether that is all."""
    if message["type"] == "http.disconnect":
        raise BadRequest("The peer left before the body was whole.")
    body += message.get("body", b"")
    if len(body) > limit:
        raise _too_large(limit)
    return not message.get("more_body", False)


def _too_large(limit: int) -> TooLarge:
    error = TooLarge(f"The body is larger than {limit} bytes.")
    error.headers["Connection"] = "close"
    return error


def failure(error: Exception, id: str) -> Response:
    """Return the answer to any failure; what is unknown goes to the log, without values."""
    if not isinstance(error, FhirError):
        log.error("request %s failed: %s at %s", id, type(error).__name__, where(error))
    status, resource = to_outcome(error, request_id=id)
    headers = tuple(error.headers.items()) if isinstance(error, FhirError) else ()
    if isinstance(error, Unavailable | Throttled):
        headers += (("retry-after", "1" if isinstance(error, Unavailable) else "30"),)
    if isinstance(error, Unauthorized) and not error.headers:
        headers += (("www-authenticate", 'Bearer realm="predmp"'),)
    return Response(status, gate.write(resource), headers)


def where(error: BaseException) -> str:
    """Return the places an exception came through: files and lines, never a value or its text."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames))


def pretty(response: Response, query: bytes) -> Response:
    """Return a response laid out for people where `_pretty=true` asks for it (https://hl7.org/fhir/R4/http.html)."""
    asked = [value for name, value in read_pairs(query.decode("latin-1")) if name == "_pretty"]
    if asked[-1:] != ["true"] or not response.body or response.chunks is not None:
        return response
    if binary.is_file(response):
        return response
    if "json" in response.media_type:
        return response._replace(body=gate.laid_out(response.body))
    return response._replace(body=xmlformat.laid_out(response.body)) if response.media_type == XML else response
