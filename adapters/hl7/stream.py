"""The stream of messages that come in, and how the worker gives way to it.

Where more comes in than can be applied, what comes waits anyway: then storing and answering go first, and the
worker has a twentieth of the time, or half of it while urgent messages wait. Where it can keep up it works at once, so
that a message has its effect soon.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from adapters.hl7.backlog import Backlog

SHARE: Final = 19  # times as long as it worked, the worker gives way
URGENT_SHARE: Final = 1  # the same while an urgent message waits
LEAST_S: Final = 0.005  # that it gives way, so that what comes can be counted
QUIET_S: Final = 0.02  # since the last message came, or was answered: then none stream in
STEP_S: Final = 0.002  # how often it looks whether somebody waits for it
FREE_S: Final = 0.1  # for which it goes on without giving way where it can keep up
KEEPS_UP: Final = 0.7  # share of its time that applying what comes may take


class Coming(Protocol):
    """What comes in."""

    @property
    def is_storing(self) -> bool:
        """Whether messages are being stored just now."""
        ...

    @property
    def last(self) -> float:
        """When the newest message came, or was answered, by the clock of the event loop."""
        ...

    @property
    def came(self) -> int:
        """How many came."""
        ...


class Ends(Protocol):
    """Whether the hub ends."""

    def __call__(self) -> bool:
        """Return that."""
        ...


class Stream:
    """Measures what comes while the worker gives way: a sender that waits for its answer is then as fast as it can be.

    Args:
        coming: Counts what comes.
    """

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        self._rate = 0.0  # messages a second
        self._free_until = 0.0

    def is_running(self) -> bool:
        """Whether messages stream in."""
        coming = self._coming
        return coming.is_storing or asyncio.get_running_loop().time() - coming.last < QUIET_S

    async def give_way(self, spent: float, backlog: Backlog, ends: Ends) -> None:
        """Let intake have the processor for a multiple of the time that the worker spent, where that is called for.

        Args:
            spent: Seconds.
            backlog: Somebody who waits for it ends the pause; an urgent message makes it short.
            ends: So does the end of the hub.
        """
        loop, coming = asyncio.get_running_loop(), self._coming
        await asyncio.sleep(0)
        began, before = loop.time(), coming.came
        if began < self._free_until or not self.is_running():
            return
        end, soon = began + max(spent * SHARE, LEAST_S), began + spent * URGENT_SHARE
        while not (backlog.has_readers or ends()) and self.is_running():
            if (left := (soon if backlog.has_urgent else end) - loop.time()) <= 0:
                break
            await asyncio.sleep(min(left, STEP_S))
        rate = (coming.came - before) / max(loop.time() - began, STEP_S)
        self._rate += (rate - self._rate) * 0.3
        if self._rate * backlog.cost < KEEPS_UP:
            self._free_until = loop.time() + FREE_S
