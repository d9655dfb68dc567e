"""Whose turn it is: messages in the order in which they came, but for those that are urgent.

An urgent message goes ahead together with all that came before it about the same patient, so the order of one patient
is always kept. What is the same patient is told by the numbers that messages share (`urgency.Glance.whose`), also by
way of a third message that names both: a merge that waits joins two patients' lanes until nothing waits in them.

Bounded: after `MOST_IN_A_ROW` urgent turns comes the message that waits longest; and a sender has a credit of `CREDIT`
turns of other senders, of which one comes back with each `EACH` turns that are not urgent. Without it only its own
turns are left: those of its messages that wait longest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

MOST_IN_A_ROW: Final = 16
CREDIT: Final = 100
EACH: Final = 2
MOST_SENDERS: Final = 1_000
"""Senders of which the credit is kept; more of them share one."""
SPARE: Final = 1_000  # messages that were taken ahead and are not yet cleared away


class Turn(Protocol):
    """What waits for its turn."""

    number: int  # in the order in which they came
    whose: tuple[str, ...]  # its lanes
    sender: str  # whose credit it takes
    is_urgent: bool
    is_taken: bool

    def __lt__(self, other: object, /) -> bool:
        """Whether it came before another one."""
        ...


T = TypeVar("T", bound=Turn)


class _Lane(Generic[T]):
    """What waits of those who share a number; a heap: lanes that become one keep the order in which messages came."""

    __slots__ = ("names", "waiting")

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.waiting: list[T] = []


class _Credit:
    """What is left of a sender's urgent turns."""

    __slots__ = ("at", "left")

    def __init__(self, at: int) -> None:
        self.left, self.at = float(CREDIT), at

    def count(self, others: int) -> float:
        """Return what is left after so many turns of others."""
        self.left, self.at = min(self.left + (others - self.at) / EACH, float(CREDIT)), others
        return self.left


class Turns(Generic[T]):
    """Messages that wait for their turn."""

    def __init__(self) -> None:
        self._order: deque[T] = deque()  # all but those given back; some of them were taken already
        self._back: deque[T] = deque()  # were taken before, and are the next again
        self._lanes: dict[str, _Lane[T]] = {}
        self._urgent: dict[str, deque[T]] = {}  # by sender; who had a turn goes to the end
        self._credits: dict[str, _Credit] = {}
        self._count = self._row = self._others = 0  # that wait; urgent turns in a row; turns of others, ever
        self._swept = -1  # when credits were last cleared away

    def __len__(self) -> int:
        return self._count

    @property
    def has_urgent(self) -> bool:
        """Whether an urgent message waits that may go ahead."""
        return self._ahead() is not None

    @property
    def is_next_urgent(self) -> bool:
        """Whether the next turn is an urgent one's, or one's that came before it in its lane."""
        return not self._back and self._row < MOST_IN_A_ROW and self.has_urgent

    @property
    def oldest(self) -> int | None:
        """The number of what came first; None where nothing waits."""
        numbers = [one.number for one in self._back]
        self._clear(self._order)
        if self._order:
            numbers.append(self._order[0].number)
        return min(numbers, default=None)

    def add(self, one: T) -> None:
        """Let one wait that came after all others."""
        self._count += 1
        self._order.append(one)
        heappush(self._lane(one.whose).waiting, one)
        if one.is_urgent:
            one.sender = self._payer(one.sender)
            self._urgent.setdefault(one.sender, deque()).append(one)

    def first(self) -> T:
        """Return whose turn it is."""
        if self._back:
            return self._back[0]
        ahead = self._ahead() if self._row < MOST_IN_A_ROW else None
        if ahead is not None:
            return self._lane(ahead.whose).waiting[0]
        self._clear(self._order)
        return self._order[0]

    def upcoming(self, most: int) -> list[T]:
        """Return up to so many of those whose turn comes next, unless urgent ones go ahead of them."""
        return [*islice(self._back, most), *(one for one in islice(self._order, most) if not one.is_taken)]

    def take(self) -> T:
        """Take whose turn it is."""
        self._count -= 1
        if self._back:
            return self._back.popleft()
        ahead = self._ahead() if self._row < MOST_IN_A_ROW else None
        if ahead is None:
            one = self.first()
            self._row, self._others = 0, self._others + 1
        else:
            one = self._lane(ahead.whose).waiting[0]
            self._row += 1
            if self._order[0].sender != ahead.sender:  # else the turn was its own
                self._credits[ahead.sender].left -= 1
            if one is ahead:
                self._urgent[ahead.sender] = self._urgent.pop(ahead.sender)
            if len(self._order) > 2 * self._count + SPARE:
                self._order = deque(each for each in self._order if each is not one and not each.is_taken)
        one.is_taken = True
        lane = self._lane(one.whose)
        heappop(lane.waiting)
        if not lane.waiting:
            for name in lane.names:
                del self._lanes[name]
        return one

    def give_back(self, several: Iterable[T]) -> None:
        """Let those that were taken be the next again, in their order."""
        made = list(several)
        self._count += len(made)
        self._back.extendleft(reversed(made))

    def _ahead(self) -> T | None:
        """Return the urgent one whose lane may go ahead."""
        if not self._urgent:
            return None
        self._clear(self._order)
        for sender, waiting in list(self._urgent.items()):
            self._clear(waiting)
            if not waiting:
                del self._urgent[sender]
            elif self._order[0].sender == sender or self._credits[sender].count(self._others) >= 1:
                return waiting[0]
        return None

    def _lane(self, names: tuple[str, ...]) -> _Lane[T]:
        """Return the lane of these names; lanes that share a message are one from then on."""
        lane = self._lanes.get(names[0])
        if lane is None:
            lane = self._lanes[names[0]] = _Lane([names[0]])
        for name in names[1:]:
            other = self._lanes.get(name)
            if other is None:
                lane.names.append(name)
                self._lanes[name] = lane
            elif other is not lane:
                lane = self._join(lane, other)
        return lane

    def _join(self, one: _Lane[T], other: _Lane[T]) -> _Lane[T]:
        large, small = (one, other) if len(one.waiting) >= len(other.waiting) else (other, one)
        for name in small.names:
            self._lanes[name] = large
        large.names += small.names
        large.waiting += small.waiting
        heapify(large.waiting)
        return large

    def _payer(self, sender: str) -> str:
        """Return whose credit a sender has: its own, as long as there are not too many of them."""
        if sender not in self._credits and len(self._credits) >= MOST_SENDERS and self._swept != self._others:
            self._swept = self._others
            for name in [name for name, one in self._credits.items() if one.count(self._others) == CREDIT]:
                if name not in self._urgent:
                    del self._credits[name]
        if sender not in self._credits and len(self._credits) >= MOST_SENDERS:
            sender = ""
        self._credits.setdefault(sender, _Credit(self._others))
        return sender

    @staticmethod
    def _clear(waiting: deque[T]) -> None:
        while waiting and waiting[0].is_taken:
            waiting.popleft()
