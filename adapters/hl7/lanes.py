"""Order per patient: what has a lane in common goes one after the other, everything else side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Turn:
    """A place in the queues of some lanes."""

    def __init__(self, lanes: Lanes, keys: tuple[str, ...], before: list[asyncio.Future[None]]) -> None:
        self._lanes, self._keys, self._before = lanes, keys, before
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def come(self) -> None:
        """Wait until all that entered these lanes before has left them."""
        for future in self._before:
            await asyncio.shield(future)

    def leave(self) -> None:
        """Let the next one in; may be called twice, and before one's turn came: then those before still go first."""
        self._release()

    def _release(self, _: asyncio.Future[None] | None = None) -> None:
        for future in self._before:
            if not future.done():
                future.add_done_callback(self._release)
                return
        if not self.done.done():
            self.done.set_result(None)
            self._lanes.forget(self._keys, self.done)


class Lanes:
    """The queues, by lane. One enters in the order in which one wants to be served."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    def enter(self, keys: Iterable[str]) -> Turn:
        """Take a place at the end of every one of these lanes, at once: no two can wait for each other."""
        wanted = tuple(dict.fromkeys(keys))
        turn = Turn(self, wanted, [self._last[key] for key in wanted if key in self._last])
        for key in wanted:
            self._last[key] = turn.done
        return turn

    def forget(self, keys: tuple[str, ...], done: asyncio.Future[None]) -> None:
        """Drop the lanes in which nobody came after."""
        for key in keys:
            if self._last.get(key) is done:
                del self._last[key]

    def __len__(self) -> int:
        return len(self._last)
