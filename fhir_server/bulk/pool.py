"""Worker processes that prepare blocks and Bundles, in their order, with a bounded number under way."""

from __future__ import annotations

import asyncio
import marshal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from fhir_server.bulk.crew import Crew, Worker
from fhir_server.bulk.lines import Block
from fhir_server.bulk.prepare import Prepared, find_drafter, prepare
from fhir_server.bulk.worker import BUNDLE
from fhir_server.errors import Issue
from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Drafting

_AHEAD: Final = 3  # blocks that each worker has before it
_ALONE: Final = 1  # blocks that this process prepares itself: small imports need no workers
_TURN: Final = 20  # lines that are prepared here without a pause


class Pool:
    """Prepares blocks, in this process at first and then in workers.

    Args:
        validate: Resource -> issues, for what is prepared here.
        index: Resource -> index values, the same as the workers'.
        zone: Of a date that names none.
        base_url: Of FHIR.
        drafting: How workers do a part of the store's work, where they can.
        size: Workers; 0 prepares all in this process.
        crew: Workers that were started before.
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
        crew: Crew | None = None,
    ) -> None:
        self._validate, self._index = validate, index
        self._zone, self._base_url, self._size = zone, base_url, size
        self._drafting, self._drafter = drafting, find_drafter(drafting)
        self._workers: list[Worker] = []
        self._crew = Crew() if crew is None else crew

    async def prepare(self, blocks: AsyncIterator[Block]) -> AsyncIterator[tuple[Block, list[Prepared]]]:
        """Yield each block with its resources, in order; memory holds some blocks only."""
        alone = 0
        pending: deque[tuple[Block, asyncio.Future[list[Prepared]]]] = deque()
        async for block in blocks:
            if not self._size or (alone < _ALONE and not self._workers and not self._crew):
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
            self._workers.append(await self._hire())

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

    async def _hire(self) -> Worker:
        worker = await self._crew.take()
        await worker.brief(self._zone, self._base_url, self._drafting)
        return worker

    async def _free(self) -> Worker:
        if len(self._workers) < self._size:
            self._workers.append(await self._hire())
        return min(self._workers, key=lambda worker: worker.load)

    async def stop(self) -> None:
        """End the workers."""
        for worker in self._workers:
            await worker.stop()
        self._workers.clear()
        await self._crew.stop()
