"""Bodies that are handed on as they arrive, of any length: those of `$import`."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from fhir_server.errors import BadRequest, FhirError, Malformed, TooLarge, UnsupportedMediaType
from fhir_server.http.message import Request
from fhir_server.http.operations import find_operation
from fhir_server.interactions.core import Hub

SILENT_S: Final = 30  # seconds that a peer may send nothing
NDJSON: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "application/x-ndjson"})
_STEP: Final = 1 << 20  # bytes that are unpacked at once

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


def is_streamed(hub: Hub, request: Request) -> bool:
    """Whether the body of a request is handed to its operation part by part."""
    if request.method != "POST" or not request.segments or request.segments[-1][:1] != "$":
        return False
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in NDJSON:
        return False
    try:
        return find_operation(hub, request).takes_stream
    except FhirError:
        return False  # answered as ever, with what is wrong


async def read_parts(request: Request, receive: Receive, limit: int) -> AsyncIterator[bytes]:
    """Yield a body as it arrives, its content coding undone.

    Args:
        request: Its headers are read.
        receive: Of ASGI.
        limit: Bytes, unpacked.

    Raises:
        TooLarge: There are more.
        BadRequest: The peer left, or was silent for 30 seconds.
    """
    unpack = _reader(request.headers.get("content-encoding", "identity").strip().lower())
    size = 0
    while True:
        try:
            async with asyncio.timeout(SILENT_S):
                message = await receive()
        except TimeoutError:
            raise BadRequest("The body stopped for 30 seconds.") from None
        if message["type"] == "http.disconnect":
            raise BadRequest("The peer left before the body was whole.")
        body = message.get("body", b"")
        for part in unpack(body) if body else ():
            size += len(part)
            if size > limit:
                raise TooLarge(f"The body is larger than {limit} bytes.")
            yield part
        if not message.get("more_body", False):
            return


class _Unpacker(Protocol):
    def __call__(self, body: bytes) -> list[bytes]: ...


def _reader(coding: str) -> _Unpacker:
    if coding in ("identity", ""):
        return lambda body: [body]
    if coding in ("gzip", "x-gzip"):
        return _Gzip()
    raise UnsupportedMediaType("A body of any length is read as it is, or in gzip.")


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)

    def __call__(self, body: bytes) -> list[bytes]:
        made = []
        try:
            while body:
                made.append(self._stream.decompress(body, _STEP))
                body = self._stream.unconsumed_tail
                if self._stream.eof:  # another member may follow
                    body, self._stream = self._stream.unused_data, zlib.decompressobj(31)
        except zlib.error:
            raise Malformed("The body is no gzip.") from None
        return made
