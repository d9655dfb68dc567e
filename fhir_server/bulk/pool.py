"""Worker processes that prepare blocks and Bundles, in their order, with a bounded number under way."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from fhir_server.bulk.lines import Block
from fhir_server.bulk.prepare import Prepared, find_drafter, prepare
from fhir_server.bulk.worker import BUNDLE, HEAD, SIZE
from fhir_server.errors import Issue, Unavailable
from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Drafting

_AHEAD: Final = 3  # blocks that each worker has before it
_ALONE: Final = 1  # blocks that this process prepares itself: small imports need no workers
_TURN: Final = 20  # lines that are prepared here without a pause
_LIMIT: Final = 268_435_456  # bytes of an answer


def worker_count() -> int:
    """Return how many workers are fit: a processor for each, but one for the process that writes.

    On two processors there are two all the same: one alone has more to do for a resource than the process that writes.
    """
    count = os.cpu_count() or 1
    return min(max(count - 1, min(count, 2)), 8)


class _Worker:
    """One process; answers come in the order of the blocks."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked: deque[asyncio.Future[list[Prepared]]] = deque()
        self._terms: list[Any] = []
        self.is_ready = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, zone: str, base_url: str, drafting: Drafting | None) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "fhir_server.bulk.worker", zone, base_url, drafting.maker if drafting else ""),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1_048_576,
        )
        made = cls(process)
        await made._send(drafting.key if drafting else b"", 0)
        return made

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


class Pool:
    """Prepares blocks, in this process at first and then in workers.

    Args:
        validate: Resource -> issues, for what is prepared here.
        index: Resource -> index values, the same as the workers'.
        zone: Of a date that names none.
        base_url: Of FHIR.
        drafting: How workers do a part of the store's work, where they can.
        size: Workers; 0 prepares all in this process.
    """

    def __init__(
        self,
        validate: Callable[[Resource], list[Issue]],
        index: Callable[..., Indexed],
        *,
        zone: str,
        base_url: str,
        drafting: Drafting | None = None,
        size: int,
    ) -> None:
        self._validate, self._index = validate, index
        self._zone, self._base_url, self._size = zone, base_url, size
        self._drafting, self._drafter = drafting, find_drafter(drafting)
        self._workers: list[_Worker] = []

    async def prepare(self, blocks: AsyncIterator[Block]) -> AsyncIterator[tuple[Block, list[Prepared]]]:
        """Yield each block with its resources, in order; memory holds some blocks only."""
        alone = 0
        pending: deque[tuple[Block, asyncio.Future[list[Prepared]]]] = deque()
        async for block in blocks:
            if not self._size or (alone < _ALONE and not self._workers):
                alone += 1
                yield block, await self._here(block)
                continue
            pending.append((block, await (await self._free()).ask(block.body, block.line)))
            while len(pending) >= self._size * _AHEAD:
                first, answer = pending.popleft()
                yield first, await answer
        while pending:
            first, answer = pending.popleft()
            yield first, await answer

    async def start(self) -> None:
        """Start the workers; it takes a second until they are ready."""
        while len(self._workers) < self._size:
            self._workers.append(await _Worker.start(self._zone, self._base_url, self._drafting))

    @property
    def is_ready(self) -> bool:
        """Whether there are workers that would begin at once."""
        return any(worker.is_ready for worker in self._workers)

    async def bundle(self, body: bytes, known: Mapping[str, str]) -> asyncio.Future[list[Prepared]]:
        """Hand a Bundle over to a worker; the future has what `bundle.prepare_bundle` makes of it.

        Args:
            body: The Bundle.
            known: Conditional reference -> `Type/id`.

        Raises:
            Unavailable: The worker ended; the future may say so too.
        """
        worker = min((worker for worker in self._workers if worker.is_ready), key=lambda worker: worker.load)
        return await worker.ask(marshal.dumps((body, dict(known))), BUNDLE)

    async def _here(self, block: Block) -> list[Prepared]:
        """Prepare a block in this process, and let others be served between its lines."""
        made: list[Prepared] = []
        lines = block.body.split(b"\n")
        for start in range(0, len(lines), _TURN):
            part = b"\n".join(lines[start : start + _TURN])
            made += prepare(part, block.line + start, self._validate, self._index, self._drafter)
            await asyncio.sleep(0)
        if self._drafter is None:
            return made
        shared = (self._drafter.terms, self._drafter.take())
        return [one._replace(shared=shared) for one in made]

    async def _free(self) -> _Worker:
        if len(self._workers) < self._size:
            self._workers.append(await _Worker.start(self._zone, self._base_url, self._drafting))
        return min(self._workers, key=lambda worker: worker.load)

    async def stop(self) -> None:
        """End the workers."""
        for worker in self._workers:
            await worker.stop()
        self._workers.clear()
