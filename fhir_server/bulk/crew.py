"""Worker processes as the process that writes sees them: blocks go out, prepared resources come back.

They may be started before it is known what for: `predmp load` imports the hub while they import their part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from fhir_server.bulk.prepare import Prepared
from fhir_server.bulk.worker import HEAD, SIZE
from fhir_server.errors import Unavailable
from fhir_server.store.protocol import Drafting

_LIMIT: Final = 268_435_456  # bytes of an answer
_WORTH: Final = 300_000  # bytes of files, packed or not, that are worth starting workers for


def are_many(files: Sequence[Path]) -> bool:
    """Whether there is enough in files to start workers before the first of them is read."""
    return sum(path.stat().st_size for path in files) >= _WORTH


def worker_count() -> int:
    """Return how many workers are fit: a processor for each, but one for the process that writes.

    On two processors there are two all the same: one alone has more to do for a resource than the process that writes.
    """
    count = os.cpu_count() or 1
    return min(max(count - 1, min(count, 2)), 8)


class Worker:
    """One process; answers come in the order of the blocks."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked: deque[asyncio.Future[list[Prepared]]] = deque()
        self._terms: list[Any] = []
        self.is_ready = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> Self:
        """Start a process."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fhir_server.bulk.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1_048_576,
            start_new_session=True,  # Ctrl-C is for who started it, with whom it ends
        )
        return cls(process)

    async def brief(self, zone: str, base_url: str, drafting: Drafting | None) -> None:
        """Say what all blocks have in common, before the first of them.

        Args:
            zone: Of a date that names none.
            base_url: Of FHIR.
            drafting: How it does a part of the store's work, where it can.
        """
        maker, key = drafting or ("", b"")
        await self._send(marshal.dumps((zone, base_url, maker, key)), 0)

    @property
    def process_id(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def load(self) -> int:
        """How many blocks it has before it."""
        return len(self._asked)

    async def ask(self, body: bytes, line: int) -> asyncio.Future[list[Prepared]]:
        """Hand a block or a Bundle over; the future has its resources."""
        future: asyncio.Future[list[Prepared]] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        await self._send(body, line)
        return future

    async def _send(self, body: bytes, line: int) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(HEAD.pack(len(body), line) + body)
            await stdin.drain()
        except ConnectionError:
            raise _lost() from None

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            await stdout.readexactly(SIZE.size)
            self.is_ready = True
            while True:
                (size,) = SIZE.unpack(await stdout.readexactly(SIZE.size))
                if size > _LIMIT:
                    raise asyncio.IncompleteReadError(b"", size)
                terms, values, rows = marshal.loads(await stdout.readexactly(size))  # noqa: S302  # our own process wrote it
                self._terms += terms
                shared = (self._terms, values)
                self._asked.popleft().set_result([Prepared._make((*row, shared)) for row in rows])
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.InvalidStateError):
            self.is_ready = False
            for future in self._asked:
                if not future.done():
                    future.set_exception(_lost())

    async def stop(self) -> None:
        """End the process."""
        self._reading.cancel()
        for future in self._asked:
            future.cancel()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def _lost() -> Unavailable:
    return Unavailable("A worker process ended; the import goes on from its last checkpoint.")


class Crew:
    """Workers that were started and have no pool yet."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []

    def __len__(self) -> int:
        return len(self._idle)

    async def start(self, count: int) -> None:
        """Start some; it takes a part of a second until they are ready."""
        for _ in range(count):
            self._idle.append(await Worker.start())

    async def take(self) -> Worker:
        """Return one of them, or a new one."""
        return self._idle.pop() if self._idle else await Worker.start()

    async def stop(self) -> None:
        """End those that nobody took."""
        while self._idle:
            await self._idle.pop().stop()
