"""What a store holds, read in its order a few at a time; its counts and hashes, to compare a copy with its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from fhir_server import gate
from fhir_server.model import Record, Version
from fhir_server.store.copying import COPY
from fhir_server.store.protocol import AuditRow, View

STEP: Final = 500  # versions, records or audit rows of one page
FIRST: Final = 20  # versions of the first; where they are small the next may have twice as many
MOST_BYTES: Final = 4_000_000  # of bodies or audit rows that one page is to have, but for a single larger one


@dataclass(slots=True)
class Content:
    """What a tenant holds: counts, and hashes over all of it in order."""

    counts: Counter[str] = field(default_factory=Counter)
    current: dict[str, int] = field(default_factory=dict)  # resources that a search finds, by type
    _hashes: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str, *values: Any) -> None:
        """Count something and take it into the hash of its part."""
        self.counts[part] += 1
        made = self._hashes.setdefault(part, sha256())
        for value in values:
            one = value if isinstance(value, bytes) else gate.write(value)
            made.update(len(one).to_bytes(8, "big") + one)

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        parts = {
            part: {"count": n, "sha256": self._hashes[part].hexdigest()} for part, n in sorted(self.counts.items())
        }
        return {**parts, "current": dict(sorted(self.current.items()))}


async def versions_of(view: View, *, after: int = 0) -> AsyncIterator[list[Version]]:
    """Yield versions with seq > after in their order, as many at once as their bodies are small."""
    limit = FIRST
    while page := await view.log(after=after, limit=limit):
        after = page[-1].seq
        size = sum(len(version.body) for version in page)
        limit = min(STEP, 2 * limit) if size < MOST_BYTES // 2 else max(1, limit * MOST_BYTES // (2 * size))
        yield page


async def records_of(view: View) -> AsyncIterator[list[Record]]:
    """Yield records, kind by kind in their order, but for what marks a copy."""
    for kind in await view.record_kinds():
        if kind == COPY:
            continue
        after = 0
        while page := await view.records(kind, after=after, limit=STEP):
            yield page
            after = page[-1].seq


async def audits_of(view: View, *, after: int = 0) -> AsyncIterator[list[tuple[int, AuditRow]]]:
    """Yield audit rows with seq > after, and their seq, in order, no more at once than one commit of any store has."""
    while page := await view.audits(after=after, limit=STEP):
        after = page[-1][0]
        rows: list[tuple[int, AuditRow]] = []
        size = 0
        for seq, row in page:
            if rows and size + len(row.query) > MOST_BYTES:
                yield rows
                rows, size = [], 0
            rows.append((seq, row))
            size += len(row.query)
        yield rows


def told_version(v: Version) -> tuple[Any, ...]:
    """Return what a version of a copy has in common with the one that it was made of."""
    return v.type, v.id, v.version, v.at, v.method, v.body, list(v.owners)


async def content(view: View, step: Callable[[int], None] = lambda n: None) -> Content:
    """Return what a view shows; the same of two stores whenever they hold the same in the same order."""
    made = Content()
    types = set()
    async for versions in versions_of(view):
        for v in versions:
            types.add(v.type)
            made.add("versions", *told_version(v))
        step(len(versions))
    async for records in records_of(view):
        for r in records:
            made.add("records", r.kind, r.key, r.state, r.lane, r.body)
    async for rows in audits_of(view):
        for _, row in rows:
            made.add("audit", list(row))
    for type in types:
        made.current[type] = await view.count((type,), ())
    return made
