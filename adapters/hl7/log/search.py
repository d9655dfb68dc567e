"""Which messages: a search over the log that reads no more of it than it must, page by page.

Rows are in the order in which the messages came, so a period is found by halving; a state and a patient have an
index; the rest is looked at row by row, at most `BUDGET` rows a page: then the page says where it stopped.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from adapters.hl7.log.entry import Entry, read_entry
from adapters.hl7.record import KIND
from fhir_server.errors import BadParameter
from fhir_server.interface import Asking, Core
from fhir_server.model import Record

STEP: Final = 100  # rows that are read at once: some milliseconds
BUDGET: Final = 20_000  # rows that one page looks at
LAST: Final = 2**62
_YEAR_OR_MONTH: Final = re.compile(r"[0-9]{4}(-[0-9]{2})?")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: all parts that are given must fit."""

    control_id: str = ""
    state: str = ""
    type: str = ""  # ADT, or ADT^A08
    sender: str = ""  # MSH-3, MSH-4, or both as MSH-3|MSH-4
    since: str = ""  # received at or after: as `moment` writes it, or the beginning of that
    until: str = ""  # received before
    fault: str = ""  # code of table 0357, or code and place: `101 PID[1]-3`
    rule: str = ""  # that a problem of it names
    parent: str = ""  # the batch that it came in
    lanes: tuple[str, ...] = ()  # of a patient
    text: bytes = b""  # that stands in it: an identifier whose authority is not told

    def fits(self, entry: Entry) -> bool:
        """Whether a message is one of those."""
        body, error = entry.body, entry.body.get("error", {})
        return (
            (not self.control_id or self.control_id in (body.get("control_id"), entry.key))
            and (not self.state or entry.state == self.state)
            and (not self.type or self.type in (body.get("type"), str(body.get("type", "")).partition("^")[0]))
            and (not self.sender or self.sender in (entry.sender, *entry.sender.split("|")))
            and (not self.since or entry.received >= self.since)
            and (not self.until or entry.received < self.until)
            and (not self.fault or self.fault in (error.get("code"), f"{error.get('code')} {error.get('path')}"))
            and (not self.rule or any(issue["rule"] == self.rule for issue in body.get("issues", ())))
            and (not self.parent or body.get("parent") == self.parent)
            and (not self.text or self.text in entry.raw)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the log, newest first."""

    entries: tuple[Entry, ...]
    next: int  # the page after it is before this seq; 0 where there is none
    is_cut: bool = False  # the page ended because enough rows were looked at, not because it is full


def moment(text: str, zone: tzinfo = UTC) -> str:
    """Return a date or time as records hold it: ISO 8601 in UTC, with milliseconds; "" for "".

    Args:
        text: ISO 8601: a year, a month, a day, or a day and a time, with or without an offset.
        zone: Of a time without one.

    Raises:
        BadParameter: It is none of these.
    """
    if not text:
        return ""
    whole = text + "-01-01"[3 * text.count("-") :] if _YEAR_OR_MONTH.fullmatch(text) else text
    try:
        found = datetime.fromisoformat(whole)
        at = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadParameter("A time is written as 2026-11-20 or 2026-11-20T08:30.") from None
    return at.isoformat(timespec="milliseconds")


async def page(
    core: Core, tenant: str, wanted: Wanted, *, before: int = LAST, limit: int = 50, budget: int | None = None
) -> Page:
    """Return what fits and came before a place, newest first; others are served between its steps.

    Args:
        core: The door.
        tenant: Whose messages.
        wanted: What is looked for.
        before: Only messages that came before this seq.
        limit: How many.
        budget: Rows that are looked at at most; None: `BUDGET`.
    """
    most = BUDGET if budget is None else budget

    async def bounds(asking: Asking) -> tuple[int, int]:
        first = await place_of(asking, wanted.since) - 1 if wanted.since else 0
        return first, min(before, await place_of(asking, wanted.until)) if wanted.until else before

    first, before = await core.ask(tenant, bounds) if wanted.since or wanted.until else (0, before)
    found: list[Entry] = []
    looked = 0
    async for entry in back(core, tenant, wanted, first=first, before=before):
        looked += 1
        if wanted.fits(entry):
            found.append(entry)
        if len(found) == limit or looked == most:
            return Page(tuple(found), entry.seq, is_cut=len(found) < limit)
    return Page(tuple(found), 0)


async def back(core: Core, tenant: str, wanted: Wanted, *, first: int = 0, before: int = LAST) -> AsyncIterator[Entry]:
    """Yield messages, newest first, narrowed by what has an index: state and patient."""

    async def step(asking: Asking) -> Sequence[Record]:
        return await _rows(asking, wanted, first, before)

    while rows := await core.ask(tenant, step):
        for row in rows:
            before = row.seq
            yield read_entry(row)
        await asyncio.sleep(0)


async def _rows(asking: Asking, wanted: Wanted, first: int, before: int) -> Sequence[Record]:
    state = wanted.state or None
    if not wanted.lanes:
        return await asking.records(KIND, state=state, after=first, before=before, limit=STEP)
    rows = [
        row
        for lane in wanted.lanes
        for row in await asking.records(KIND, state=state, lane=lane, after=first, before=before, limit=STEP)
    ]
    return sorted({row.seq: row for row in rows}.values(), key=lambda row: -row.seq)[:STEP]


async def place_of(asking: Asking, moment: str) -> int:
    """Return the seq of the first message that was received at or after a moment; one past the last where none was."""
    newest = await asking.records(KIND, before=LAST, limit=1)
    low, high = 1, newest[0].seq + 1 if newest else 1
    while low < high:
        middle = (low + high) // 2
        rows = await asking.records(KIND, after=middle - 1, limit=1)
        if not rows or read_entry(rows[0]).received >= moment:
            high = middle
        else:
            low = rows[0].seq + 1
    return low


async def walk(core: Core, tenant: str, wanted: Wanted, *, after: int = 0) -> AsyncIterator[Entry]:
    """Yield what fits, oldest first; memory does not grow with the log."""
    if wanted.since:

        async def begin(asking: Asking) -> int:
            return await place_of(asking, wanted.since)

        after = max(after, await core.ask(tenant, begin) - 1)

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND, state=wanted.state or None, after=after, limit=STEP)

    while rows := await core.ask(tenant, work):
        for row in rows:
            entry = read_entry(row)
            if wanted.until and entry.received >= wanted.until and not entry.body.get("replay_of"):
                return
            if wanted.fits(entry):
                yield entry
        after = rows[-1].seq


async def newest(core: Core, tenant: str, wanted: Wanted, limit: int) -> list[Entry]:
    """Return the newest that fit, oldest first, however far back they are."""
    found: list[Entry] = []
    before = LAST
    while before and len(found) < limit:
        got = await page(core, tenant, wanted, before=before, limit=limit - len(found))
        found, before = [*found, *got.entries], got.next
    return found[::-1]


async def by_place(core: Core, tenant: str, seq: int) -> Entry | None:
    """Return the message of a place; None where there is none."""

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND, after=seq - 1, before=seq + 1, limit=1)

    rows: list[Record] = await core.ask(tenant, work)
    return read_entry(rows[0]) if rows else None


async def by_key(core: Core, tenant: str, key: str) -> Entry | None:
    """Return the message of a key; None where there is none."""

    async def work(asking: Asking) -> Record | None:
        return await asking.record(KIND, key)

    row: Record | None = await core.ask(tenant, work)
    return read_entry(row) if row else None
