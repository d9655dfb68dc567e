"""Feeds that fall silent: for each hour of the week, how long a sender is usually quiet, and whether it is longer now.

`hl7-feed` records, one for each sender: when its first and its last message came, and for each hour of the week (in
the hub's zone) the longest silence that was going on in it. After two weeks a feed is silent when its silence is
twice the longest that this hour ever saw, and a quarter of an hour more. The numbers are ours. Anybody may call
themselves anything: the senders beyond the first thousand are counted together, and their silence is not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from adapters.hl7.log.entry import Entry
from fhir_server import gate
from fhir_server.interface import Asking, Writing
from fhir_server.model import Record

KIND: Final = "hl7-feed"
PAGE: Final = 100

TRUSTED_AFTER_S: Final = 14 * 86_400  # two of each hour of the week
FACTOR: Final = 2
SLACK_S: Final = 900
SLOTS: Final = 168  # hours of a week
MOST: Final = 1_000  # feeds: all are read every few seconds
REST: Final = "…"
"""The feed of all senders beyond; no sender has this name, theirs have `|`."""


@dataclass(slots=True)
class Feed:
    """When the messages of one sender come."""

    sender: str
    first: float = 0.0  # seconds since 1970
    last: float = 0.0
    messages: int = 0
    quiet: list[float] = field(default_factory=lambda: [0.0] * SLOTS)  # longest silence by hour of the week, seconds

    def see(self, at: float, zone: ZoneInfo) -> None:
        """Take in that a message came; one that is older than the last changes no silence."""
        if not self.messages:
            self.first = self.last = at
        self.messages += 1
        if at <= self.last:
            return
        for slot, silence in _slots(self.last, at, zone):
            allowed = self.allowed(slot, at)
            learned = silence if allowed is None else min(silence, allowed)
            self.quiet[slot] = max(self.quiet[slot], learned)
        self.last = at

    def allowed(self, slot: int, now: float) -> float | None:
        """Return how long it may be silent in an hour of the week; None where that is not known yet."""
        if now - self.first < TRUSTED_AFTER_S:
            return None
        return FACTOR * self.quiet[slot] + SLACK_S

    def is_silent(self, now: float, zone: ZoneInfo) -> bool:
        """Whether it is silent for longer than it ever was at this time of the week."""
        allowed = None if self.sender == REST else self.allowed(slot_of(now, zone), now)
        return allowed is not None and now - self.last > allowed

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        quiet = [round(seconds) for seconds in self.quiet]
        return {"first": self.first, "last": self.last, "messages": self.messages, "quiet": quiet}


def slot_of(at: float, zone: ZoneInfo) -> int:
    """Return the hour of the week of a moment: 0 is Monday, midnight to one."""
    local = datetime.fromtimestamp(at, zone)
    return local.weekday() * 24 + local.hour


def _slots(start: float, end: float, zone: ZoneInfo) -> Iterator[tuple[int, float]]:
    """Yield each hour of the week that a silence goes through, and how long it is at that hour's end."""
    at = start
    for _ in range(SLOTS + 1):
        local = datetime.fromtimestamp(at, zone)
        following = (local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)).timestamp()
        stop = min(end, following if following > at else at + 3600)
        yield slot_of(at, zone), stop - start
        if stop >= end:
            return
        at = stop
    yield from ((slot, end - start) for slot in range(SLOTS))  # a silence of more than a week: in every hour


def read_feed(record: Record) -> Feed:
    """Read a record."""
    body = gate.load(record.body)
    quiet = [float(seconds) for seconds in body["quiet"]]
    return Feed(record.key, float(body["first"]), float(body["last"]), body["messages"], quiet)


async def learn(writing: Writing, entries: Sequence[Entry], zone: ZoneInfo) -> None:
    """Take in when messages came."""
    found: dict[str, Feed] = {}
    room = -1  # feeds that there is room for; -1: not looked at yet
    for entry in sorted(entries, key=lambda one: one.received):
        if entry.body.get("replay_of") or not entry.received:
            continue
        feed = found.get(entry.sender)
        if feed is None:
            row = await writing.record(KIND, entry.sender)
            if row is None and room < 0:
                room = MOST - len(await writing.records(KIND, limit=MOST))
            name = entry.sender if row is not None or room > 0 else REST
            room -= row is None and room > 0
            feed = found.get(name) or await _stored(writing, name)
            found[name] = feed
        feed.see(datetime.fromisoformat(entry.received).timestamp(), zone)
    for feed in found.values():
        await writing.put_record(KIND, feed.sender, "", gate.write(feed.to_json()))


async def _stored(writing: Writing, name: str) -> Feed:
    row = await writing.record(KIND, name)
    return read_feed(row) if row else Feed(name)


async def feeds(asking: Asking) -> list[Feed]:
    """Return all feeds."""
    made: list[Feed] = []
    after = 0
    while rows := await asking.records(KIND, after=after, limit=PAGE):
        made += [read_feed(row) for row in rows]
        after = rows[-1].seq
        await asyncio.sleep(0)  # others are served between two pages
    return sorted(made, key=lambda feed: feed.sender)
