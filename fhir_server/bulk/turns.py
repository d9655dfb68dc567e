"""Writes one after the other, while the caller makes the next one ready."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self


class Turns:
    """A context in which one write is under way at a time; leaving it waits for the last one."""

    def __init__(self) -> None:
        self._writing: asyncio.Task[None] | None = None

    async def take(self, write: Coroutine[Any, Any, None]) -> None:
        """Begin a write once the one before it has ended; raise what that one raised."""
        if self._writing is not None:
            try:
                await self._writing
            except BaseException:
                write.close()
                raise
        self._writing = asyncio.create_task(write)

    async def rest(self) -> None:
        """Wait until no write is under way; raise what the last one raised."""
        if self._writing is not None:
            await self._writing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writing is None:
            return
        if error is None:
            await self._writing
            return
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)
