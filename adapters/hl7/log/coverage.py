"""Accounts by sender: which fields its messages fill, which a map reads, which codes have no map.

`collect` goes through the log once, from where it stopped, and adds each settled message to the row of its sender,
type and day (`hl7-coverage`); so a report reads rows, not messages, however long the log is. A message that is not
applied yet is looked at again later. A replay changes no account: it is of what came.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

from adapters.hl7.log import silence
from adapters.hl7.log.entry import Entry, read_entry
from adapters.hl7.record import KIND, RECEIVED
from fhir_server import gate
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Record

ROWS: Final = "hl7-coverage"
"""Kind of the records: the key is sender, type and day, the lane the sender."""

CURSOR: Final = "hl7-coverage-cursor"
STEP: Final = 50  # messages added in one transaction: some milliseconds
MOST_PENDING: Final = 2_000  # messages not applied yet that are remembered; beyond, collecting waits for them
MOST_KEYS: Final = 500  # different codes, or problems, of one row
REST: Final = "…"  # the rest of them

_NUMBERS = re.compile(r"\[\d+\]")


@dataclass(slots=True)
class Account:
    """What some messages of one sender held."""

    messages: int = 0
    states: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)  # `PID-3` -> messages in which a map read it
    unused: Counter[str] = field(default_factory=Counter)  # `ZZZ`, `PID-12` -> messages in which none did
    unmapped: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # field, system, code -> how often
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)  # place without numbers, rule -> how often

    def add(self, entry: Entry) -> None:
        """Count a message."""
        body = entry.body
        self.messages += 1
        self.states[entry.state] += 1
        self.used.update(f"{name}-{number}" for name, numbers in body.get("used", {}).items() for number in numbers)
        for name in body.get("unused", ()):
            _count(self.unused, name, 1, REST)
        for place, system, code, count in body.get("unmapped", ()):
            _count(self.unmapped, (place, system, code), count, (REST, "", ""))
        for issue in body.get("issues", ()):
            _count(self.rules, (_NUMBERS.sub("", issue["path"]), issue["rule"]), 1, (REST, ""))

    def join(self, other: Account) -> None:
        """Count what another counted."""
        self.messages += other.messages
        for name in ("states", "used", "unused", "unmapped", "rules"):
            getattr(self, name).update(getattr(other, name))

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        made: dict[str, Any] = {"messages": self.messages}
        for name in ("states", "used", "unused"):
            made[name] = dict(getattr(self, name))
        for name in ("unmapped", "rules"):
            made[name] = [[*key, count] for key, count in getattr(self, name).items()]
        return made

    @classmethod
    def of_json(cls, body: Mapping[str, Any]) -> Account:
        """Read it back."""
        made = cls(body["messages"], *(Counter(body[name]) for name in ("states", "used", "unused")))
        made.unmapped.update({(row[0], row[1], row[2]): row[3] for row in body["unmapped"]})
        made.rules.update({(row[0], row[1]): row[2] for row in body["rules"]})
        return made

    @property
    def seen(self) -> int:
        """How many different fields, or whole segments, were filled."""
        return len(self.used.keys() | self.unused.keys())


def _count(counter: Counter[Any], key: Any, count: int, rest: Any) -> None:
    counter[key if key in counter or len(counter) < MOST_KEYS else rest] += count


def row_key(entry: Entry) -> str:
    """Return the key of the row that counts a message: sender, type, day."""
    parts = (entry.sender, str(entry.body.get("type", "")) or "?", entry.received[:10])
    return "\x1f".join(parts)


async def collect(core: Core, tenant: str, zone: ZoneInfo) -> list[Entry]:
    """Add the next messages to their accounts; return them, none where all are counted."""
    added: list[Entry] = []

    async def work(writing: Writing) -> None:
        added.clear()
        cursor = await writing.record(CURSOR, "cursor")
        at: dict[str, Any] = gate.load(cursor.body) if cursor else {"after": 0, "pending": []}
        waiting = [row for key in at["pending"][:STEP] if (row := await writing.record(KIND, key)) is not None]
        later = [row.key for row in waiting if row.state == RECEIVED] + at["pending"][STEP:]
        rows: Sequence[Record] = ()
        if len(later) < MOST_PENDING:
            rows = await writing.records(KIND, after=at["after"], limit=STEP)
        done = [row for row in (*waiting, *rows) if row.state != RECEIVED]
        later += [row.key for row in rows if row.state == RECEIVED]
        added.extend(read_entry(row) for row in done)
        await _store(writing, added)
        await silence.learn(writing, added, zone)
        after = rows[-1].seq if rows else at["after"]
        if rows or len(later) != len(at["pending"]) or done:
            body = gate.write({"after": after, "pending": later})
            await writing.put_record(CURSOR, "cursor", "", body)

    if await core.ask(tenant, _is_behind):
        await core.transact(tenant, work)
    return added


async def _is_behind(asking: Asking) -> bool:
    """Whether anything is to be counted: so that an idle hub writes nothing."""
    cursor = await asking.record(CURSOR, "cursor")
    if cursor is None:
        return bool(await asking.records(KIND, limit=1))
    at = gate.load(cursor.body)
    if await asking.records(KIND, after=at["after"], limit=1):
        return True
    for key in at["pending"][:STEP]:
        row = await asking.record(KIND, key)
        if row is None or row.state != RECEIVED:
            return True
    return False


async def _store(writing: Writing, entries: Sequence[Entry]) -> None:
    found: dict[str, Account] = {}
    for entry in entries:
        if not entry.body.get("replay_of"):
            key = row_key(entry)
            if key not in found:
                row = await writing.record(ROWS, key)
                found[key] = Account.of_json(gate.load(row.body)) if row else Account()
            found[key].add(entry)
    for key, account in found.items():
        sender = key.partition("\x1f")[0]
        await writing.put_record(ROWS, key, "", gate.write(account.to_json()), lane=sender)


async def catch_up(core: Core, tenant: str, zone: ZoneInfo) -> int:
    """Count all messages that are not counted yet; return how many there were."""
    counted = 0
    while added := await collect(core, tenant, zone):
        counted += len(added)
    return counted


async def report(
    core: Core, tenant: str, *, sender: str = "", since: str = "", until: str = ""
) -> dict[tuple[str, str], Account]:
    """Return accounts by sender and type of message, of the days asked for.

    Args:
        core: The door.
        tenant: Whose messages.
        sender: MSH-3, MSH-4 or both as `MSH-3|MSH-4`; "" for all.
        since: First day, YYYY-MM-DD, in UTC; "" for the beginning.
        until: Day after the last.
    """
    made: dict[tuple[str, str], Account] = {}
    lane, after = sender if "|" in sender else None, 0

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(ROWS, lane=lane, after=after, limit=STEP)

    while rows := await core.ask(tenant, work):
        for row in rows:
            who, type, day = row.key.split("\x1f")
            is_wanted = not sender or sender in (who, *who.split("|"))
            if is_wanted and day >= since[:10] and (not until or day < until[:10]):
                made.setdefault((who, type), Account()).join(Account.of_json(gate.load(row.body)))
        after = rows[-1].seq
        await asyncio.sleep(0)  # others are served between two pages
    return dict(sorted(made.items()))


def shown(who: str, type: str, account: Account, *, top: int = 20) -> dict[str, Any]:
    """Return an account as `predmp hl7 coverage --json` prints it."""
    return {
        "sender": who,
        "type": type,
        "messages": account.messages,
        "states": dict(account.states),
        "seen": account.seen,
        "used": dict(sorted(account.used.items())),
        "unused": dict(account.unused.most_common()),
        "unmapped": [
            {"field": place, "system": system, "code": code, "count": count}
            for (place, system, code), count in account.unmapped.most_common(top)
        ],
        "problems": [
            {"field": place, "rule": rule, "count": count} for (place, rule), count in account.rules.most_common(top)
        ],
    }
