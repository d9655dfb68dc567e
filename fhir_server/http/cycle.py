"""One request and its answer on a connection: uvicorn's, with a short way for answers that are whole.

By ASGI an answer is two messages, whose headers uvicorn checks and writes one by one. An application that has the
whole answer sends it as one message instead, an extension of ASGI (`answer.WHOLE`); head and body go out in one piece.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from fhir_server.http.answer import WHOLE

EXTENSIONS: Final[dict[str, dict[object, object]]] = {WHOLE: {}}
"""What the scope of a request says of it."""


class Signal:
    """What uvicorn uses of an asyncio.Event, for requests that are there at once: most never wait."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None
        self._is_set = False

    def set(self) -> None:
        """Let those go on that wait."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        """Have those wait that come from now on."""
        self._is_set = False
        if self._event is not None:
            self._event.clear()

    async def wait(self) -> bool:
        """Return once it is set."""
        if not self._is_set:
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()
        return True


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    async def run(self, app: Any, tasks: set[asyncio.Task[None]], loop: asyncio.AbstractEventLoop) -> None:
        """Serve it, as one of some tasks of an event loop until that is done."""
        try:
            await self.run_asgi(app)
        finally:
            task = asyncio.current_task(loop)  # which need not be looked for
            assert task is not None, "it is run by one"
            tasks.discard(task)

    async def send(self, message: Any) -> None:
        """Send a message of an answer, or a whole one."""
        if message["type"] != WHOLE:
            await super().send(message)
            return
        if self.response_started:
            raise RuntimeError("An answer was sent already.")
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        self.response_started = True
        if not self.disconnected:
            self._write(message["status"], message["lines"], message["body"])

    def _write(self, status: int, lines: bytes, body: bytes) -> None:
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        given = [b"%b: %b\r\n" % pair for pair in self.default_headers]  # the date
        transport: Any = self.transport
        transport.write_whole(b"".join((STATUS_LINE[status], *given, lines, end, body)))
        self.waiting_for_100_continue = False
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            transport.close()
        self.on_response()
