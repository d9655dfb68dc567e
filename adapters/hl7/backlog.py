"""The backlog: what was received and is not applied yet; how much of it there may be, who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from adapters.hl7.answer import Answer
from adapters.hl7.arrival import Arrival
from adapters.hl7.channels import Channel
from adapters.hl7.turns import Turns

KEPT_BYTES: Final = 33_554_432  # of waiting messages that are kept in memory; others are read again
RESERVE: Final = 0.1  # share of the places that only messages have with which an urgent one comes in
QUICKER, SLOWER = 0.5, 0.05  # weight of a newest measurement that is below, or above, the mean cost of a message


@dataclass(slots=True, eq=False)
class Waiting:
    """A message that was received and is not applied yet."""

    key: str
    channel: Channel
    raw: bytes  # b"" where it is read again from the store
    at: int  # when it was received, microseconds since 1970
    futures: tuple[asyncio.Future[Answer], ...] = ()  # answered once it is applied
    arrival: Arrival | None = None  # the message, once it was read
    number: int = 0  # in the order of this process
    tries: int = 0
    whose: tuple[str, ...] = ()  # as a look at it told: at least those of `lanes` that it shares with others
    sender: str = ""  # whose urgent turns it takes
    is_urgent: bool = False
    is_taken: bool = False  # whether it had its turn

    def __lt__(self, other: object) -> bool:
        return isinstance(other, Waiting) and self.number < other.number

    @property
    def lanes(self) -> tuple[str, ...]:
        """The patients it is about; where they are not known, its channel."""
        found = self.arrival.lanes if self.arrival is not None else ()
        return found or (f"{self.channel.tenant}|channel|{self.channel.name}",)

    @property
    def label(self) -> str:
        """Its name, where it was read: what a log may show."""
        return self.arrival.label if self.arrival is not None else "?"


class Backlog:
    """Waiting messages.

    Args:
        most: How many there may be before no more are taken in.
        hurries: Whether an urgent message is among those that are to be taken in; `hurry` says when it came.
    """

    def __init__(self, most: int, hurries: Callable[[], bool] = lambda: False) -> None:
        self._most, self._hurries = most, hurries
        self._turns: Turns[Waiting] = Turns()
        self._known: dict[tuple[str, str], Waiting] = {}  # by tenant and key
        self._bytes = self._added = self._passed = 0  # numbers of the newest message, of the last that was tried
        self._room = asyncio.Event()
        self._readers: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.cost = 0.004  # seconds a message, a running mean
        self.work = 0.004  # the same without the wait for the commit, which all messages of a transaction share
        self.is_stuck = False  # whether the store does not answer: then nobody waits

    def __len__(self) -> int:
        return len(self._known)

    @property
    def is_ready(self) -> bool:
        """Whether some message can be applied now."""
        return bool(self._turns)

    @property
    def has_urgent(self) -> bool:
        """Whether some urgent message can be applied now that may go ahead."""
        return self._turns.has_urgent

    @property
    def is_next_urgent(self) -> bool:
        """Whether it is the turn of an urgent message, or of one that must come before it."""
        return self._turns.is_next_urgent

    @property
    def is_full(self) -> bool:
        """Whether so many messages wait that only urgent ones are taken in."""
        return len(self._known) >= self._most

    @property
    def is_behind(self) -> bool:
        """Whether some message was not tried yet, or is just being tried."""
        return self._passed < self._added

    @property
    def has_readers(self) -> bool:
        """Whether somebody waits for what was received."""
        return bool(self._readers)

    def holds(self, tenant: str, key: str) -> bool:
        """Whether a message waits here."""
        return (tenant, key) in self._known

    def since(self) -> int | None:
        """Return when the message was received that waits longest."""
        first = next(iter(self._known.values()), None)
        return None if first is None else first.at

    # --- in and out ----------------------------------------------------------------------------------------

    def add(self, one: Waiting) -> None:
        """Let a message wait; one that waits already only gets the futures."""
        place = (one.channel.tenant, one.key)
        known = self._known.setdefault(place, one)
        if known is not one:
            known.futures += one.futures
            return
        self._added += 1
        one.number = self._added
        if self._bytes + len(one.raw) > KEPT_BYTES and not one.futures:
            one.raw, one.arrival = b"", None
        self._bytes += len(one.raw)
        tenant = one.channel.tenant
        # What names nobody is in the lane of its channel; a number never begins with this.
        one.whose = tuple([f"{tenant}|{name}" for name in one.whose]) or (f"{tenant}\n{one.channel.name}",)
        self._turns.add(one)

    def first(self) -> Waiting:
        """Return the message whose turn it is."""
        return self._turns.first()

    def upcoming(self, most: int) -> list[Waiting]:
        """Return messages whose turn comes soon."""
        return self._turns.upcoming(most)

    def take(self) -> Waiting:
        """Take the message whose turn it is."""
        return self._turns.take()

    def give_back(self, several: Iterable[Waiting]) -> None:
        """Let messages be the next again, in their order."""
        self._turns.give_back(several)

    def forget(self, one: Waiting) -> None:
        """Let go of a message that is settled."""
        self._known.pop((one.channel.tenant, one.key), None)
        self._bytes -= len(one.raw)
        self._room.set()

    # --- who waits for it ----------------------------------------------------------------------------------

    def room(self) -> Awaitable[None] | None:
        """Return what to await before more messages are taken in; None where there is room."""
        return self._until_room() if self._is_closed() else None

    def hurry(self) -> None:
        """Say that an urgent message is to be taken in."""
        self._room.set()

    def _is_closed(self) -> bool:
        return self.is_full and not (len(self._known) < self._most * (1 + RESERVE) and self._hurries())

    async def _until_room(self) -> None:
        while self._is_closed():
            self._room.clear()
            await self._room.wait()

    def open(self) -> None:
        """Let all in: the hub ends, and what is stored is applied by the next one."""
        self._most = 1 << 62
        self._room.set()

    def settled(self, within_s: float) -> Awaitable[None] | None:
        """Return what to await until all that was received until now is applied, or put off.

        Args:
            within_s: It is waited for at most that long; not at all where more waits than can be applied in it.

        Returns:
            None where there is nothing to wait for.
        """
        if self._passed >= self._added or self.is_stuck or len(self._turns) * self.cost > within_s:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.append((self._added, future))
        return _within(future, within_s)

    def measure(self, seconds: float, work: float, messages: int) -> None:
        """Note how long some messages took: the means follow what is possible, not what one slow message took.

        Args:
            seconds: Until they were committed.
            work: Of these, what reading and applying took.
            messages: How many they were.
        """
        if messages:
            self.cost = _mean(self.cost, seconds / messages)
            self.work = _mean(self.work, work / messages)

    def passed(self) -> None:
        """Let readers go on whose messages were all tried."""
        oldest = self._turns.oldest
        self._passed = self._added if oldest is None else oldest - 1
        while self._readers and (self._readers[0][0] <= self._passed or self._readers[0][1].done()):
            _, future = self._readers.popleft()
            if not future.done():
                future.set_result(None)


def _mean(before: float, newest: float) -> float:
    return before + (newest - before) * (QUICKER if newest < before else SLOWER)


async def _within(future: asyncio.Future[None], seconds: float) -> None:
    try:
        await asyncio.wait([future], timeout=seconds)
    finally:
        future.cancel()
