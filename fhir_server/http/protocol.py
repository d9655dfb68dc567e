"""The HTTP protocol below ASGI: a deadline for heads, refusals that are OperationOutcomes, answers in one piece.

uvicorn waits for ever for a head that trickles or never comes, answers what is no HTTP in plain text, writes the
head and the body of an answer by a system call each, and sets a timer after every answer.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fhir_server import gate
from fhir_server.errors import Issue
from fhir_server.http.cycle import EXTENSIONS, Cycle, Signal
from fhir_server.outcome import outcome

HEAD_S = 15.0  # seconds from the first byte, or from connecting, to the end of the head

_REASONS = {400: b"400 Bad Request", 501: b"501 Not Implemented"}


class Joining:
    """A transport that keeps the head of an answer until its body comes, or the event loop's next turn.

    Args:
        transport: The connection's own; whatever else is asked of this one is asked of it.
        loop: Where it lives.
    """

    __slots__ = ("_head", "_loop", "_transport", "is_closing")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._head = transport, loop, b""
        self.is_closing = transport.is_closing

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

    def write_whole(self, data: bytes) -> None:
        """Write a head with all that belongs to it."""
        self._flush()
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
    _silent_since: float | None = None  # when the last answer was sent; None while a request is under way

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        self.transport = Joining(transport, self.loop)  # type: ignore[assignment]  # it has what is used of one
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_more()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the end of this head."""
        super().on_message_begin()
        self._wait_no_more()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Serve what the head asks for, or after those before it; the body has a deadline of its own."""
        self._in_head = False
        self._wait_no_more()
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        if version != "1.1":
            scope["http_version"] = version
        scope["method"] = parser.get_method().decode("ascii")
        raw_path, query = split_url(self.url)
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"], scope["query_string"], scope["extensions"] = raw_path, query, EXTENSIONS
        before = self.cycle
        cycle = self.cycle = Cycle(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            Signal(),  # type: ignore[arg-type]  # it has what is used of an Event
            self.expect_100_continue,
            version != "1.0" and parser.should_keep_alive(),
            self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.tasks.add(self.loop.create_task(cycle.run(app, self.tasks, self.loop)))

    def on_response_complete(self) -> None:
        """Serve the next of those that wait, or wait for another."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._silent_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._wait_for_more(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        """Take in what came; a head that is whole at once, as most are, needs no deadline."""
        self._silent_since = None
        super().data_received(data)
        if self._in_head and self._deadline is None and not self.transport.is_closing():
            self._wait()

    def _unset_keepalive_if_required(self) -> None:
        """Let the one timer be: it looks for how long nothing came when it ends."""

    def _wait_for_more(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close what was silent for as long as it may be."""
        self.timeout_keep_alive_task = None
        if self._silent_since is None:
            return  # the end of what is under way sets another
        left = self._silent_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._wait_for_more(left)
        else:
            super().timeout_keep_alive_handler()

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


def split_url(url: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query of what a head asks for, as they are written there."""
    if url[:1] == b"/" and url[:2] != b"//" and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path, parsed.query or b""
