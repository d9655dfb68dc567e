"""The HTTP protocol below ASGI: a deadline for heads, refusals that are OperationOutcomes, answers in one piece.

uvicorn waits for ever for a head that trickles or never comes, answers what is no HTTP in plain text, and writes the
head and the body of an answer by a system call each.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fhir_server import gate
from fhir_server.errors import Issue
from fhir_server.outcome import outcome

HEAD_S = 15.0  # seconds from the first byte, or from connecting, to the end of the head

_REASONS = {400: b"400 Bad Request", 501: b"501 Not Implemented"}


class Joining:
    """A transport that keeps the head of an answer until its body comes, or the event loop's next turn.

    Args:
        transport: The connection's own; whatever else is asked of this one is asked of it.
        loop: Where it lives.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._head = transport, loop, b""

    def write(self, data: bytes) -> None:
        """Write; a head waits for what follows."""
        if self._head:
            data, self._head = self._head + data, b""
            self._transport.write(data)
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close once all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 for one connection."""

    _deadline: asyncio.TimerHandle | None = None
    _in_head = False

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.transport = Joining(transport, self.loop)  # type: ignore[assignment]  # it has what is used of one
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_more()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the end of this head."""
        super().on_message_begin()
        self._wait_no_more()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Wait no longer: the body has a deadline of its own."""
        self._in_head = False
        self._wait_no_more()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take in what came; a head that is whole at once, as most are, needs no deadline."""
        super().data_received(data)
        if self._in_head and self._deadline is None and not self.transport.is_closing():
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or a method that nobody knows."""
        unknown_method = isinstance(sys.exc_info()[1], httptools.HttpParserInvalidMethodError)
        status = 501 if unknown_method else 400
        issue = Issue("not-supported", "There is no such method.") if unknown_method else Issue("structure", msg)
        body = gate.write(outcome([issue]))
        head = b"HTTP/1.1 %s\r\ncontent-type: application/fhir+json; charset=utf-8\r\ncontent-length: %d\r\n" % (
            _REASONS[status],
            len(body),
        )
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEAD_S, self._late)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
