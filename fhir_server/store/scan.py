"""What a memory store answers, by scanning a state.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html and https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fhir_server import gate
from fhir_server.model import EVERYTHING, Record, Version, Visibility
from fhir_server.search.cursor import ordered, place, read_cursor, write_cursor
from fhir_server.search.match import Node, matches
from fhir_server.search.query import Clause, Query
from fhir_server.search.values import Period, Token, Value, Values
from fhir_server.store.protocol import AuditRow, Found, HistoryQuery
from fhir_server.store.visibility import is_visible


class Kept(NamedTuple):
    """A resource: all its versions, the newest last, and the index values of that one."""

    versions: tuple[Version, ...]
    values: Values


class State(NamedTuple):
    """All of a tenant but its audit chain; a committed state is never changed."""

    resources: dict[tuple[str, str], Kept]
    records: dict[tuple[str, str], Record]
    epoch: int


class Chained(NamedTuple):
    """A row of the audit chain, which all tenants share."""

    seq: int  # 1, 2, 3 ... without a gap
    tenant: str
    row: AuditRow
    hash: bytes  # SHA-256 of the hash before and the row as JSON


def link(chained: Sequence[Chained], tenant: str, row: AuditRow) -> Chained:
    """Return the row that follows a chain."""
    previous, seq = (chained[-1].hash, chained[-1].seq) if chained else (b"", 0)
    return Chained(seq + 1, tenant, row, hashlib.sha256(previous + gate.write([tenant, *row])).digest())


def first_broken(chained: Sequence[Chained]) -> int | None:
    """Return the seq of the first row whose hash does not hold; None when all do."""
    for n, row in enumerate(chained):
        if link(chained[:n][-1:], row.tenant, row.row) != row:
            return row.seq
    return None


def keep(earlier: tuple[Version, ...], made: Version, values: Values) -> Kept:
    """Return a resource with a new version; for search, its id and time are those of the store."""
    own: dict[str, tuple[Value, ...]] = {"_id": (Token("", made.id),), "_lastUpdated": (Period(made.at, made.at + 1),)}
    return Kept((*earlier, made), {**values, **own})


def _node(kept: Kept) -> Node:
    return Node(kept.versions[-1].type, kept.versions[-1].id, kept.values, kept.versions[-1].body)


class _Visible:
    """`match.Around`: the current resources that may be seen."""

    def __init__(self, state: State, see: Visibility) -> None:
        self._state, self._see = state, see

    def target(self, type: str, id: str) -> Node | None:
        """Return that resource, or None where there is none to be seen."""
        kept = self._state.resources.get((type, id))
        return _node(kept) if kept and self.has(kept) else None

    def sources(self, type: str, code: str, to: Node) -> Iterable[Node]:
        """Return all resources of a type that may be seen."""
        return (_node(kept) for kept in self.of((type,)))

    def of(self, types: Sequence[str]) -> Iterable[Kept]:
        """Return all resources of these types that may be seen."""
        wanted = frozenset(types)
        return (kept for kept in self._state.resources.values() if kept.versions[-1].type in wanted and self.has(kept))

    def has(self, kept: Kept) -> bool:
        """Whether the resource is there and may be seen."""
        current = kept.versions[-1]
        return not current.is_deleted and (self._see.is_total or is_visible(current, self._see))


class MemoryView:
    """`protocol.View` over one state.

    Args:
        tenant: Whose state it is.
        state: Its resources and records.
        chained: The audit chain, which only grows; the view shows it as long as it is now.
    """

    knows_words = False

    def __init__(self, tenant: str, state: State, chained: list[Chained]) -> None:
        self.tenant, self.state, self.chained = tenant, state, chained
        self._audited = len(chained)

    async def read(self, type: str, id: str) -> Version | None:
        """Return the newest version, a deletion included; None when the id was never used."""
        kept = self.state.resources.get((type, id))
        return kept.versions[-1] if kept else None

    async def vread(self, type: str, id: str, version: int) -> Version | None:
        """Return that version, or None."""
        kept = self.state.resources.get((type, id))
        return next((one for one in kept.versions if one.version == version), None) if kept else None

    async def search(self, query: Query, *, see: Visibility = EVERYTHING) -> Found:
        """Return a page of what matches and may be seen, in the order asked for."""
        found, around = self._matching(query.types, query.where, see), _Visible(self.state, see)
        by_place = ordered(query.sort)
        seqs = {kept.versions[-1].seq: kept for kept in found}
        places = {seq: place(query.sort, _node(kept), seq, around) for seq, kept in seqs.items()}
        found.sort(key=lambda kept: by_place(places[kept.versions[-1].seq]))
        total = None if query.total == "none" else len(found)
        if query.after is not None:
            start = by_place(read_cursor(query.sort, query.after))
            found = [kept for kept in found if by_place(places[kept.versions[-1].seq]) > start]
        page = [kept.versions[-1] for kept in found[: query.count]]
        more = bool(page) and len(found) > len(page)
        return Found(page, write_cursor(places[page[-1].seq]) if more else None, total)

    async def count(self, types: tuple[str, ...], where: Sequence[Clause], *, see: Visibility = EVERYTHING) -> int:
        """Return how many resources match and may be seen."""
        return len(self._matching(types, where, see))

    def _matching(self, types: Sequence[str], where: Sequence[Clause], see: Visibility) -> list[Kept]:
        around = _Visible(self.state, see)
        return [kept for kept in around.of(types) if all(matches(clause, _node(kept), around) for clause in where)]

    async def explain(self, query: Query, *, see: Visibility = EVERYTHING) -> dict[str, object]:
        """Return how a search would be run: every resource of the types is looked at."""
        seen = _Visible(self.state, see)
        return {
            "engine": "memory",
            "types": list(query.types),
            "steps": [{"step": "scan", "rows": sum(1 for _ in seen.of(query.types)), "checks": len(query.where)}],
            "sort": [{"parameter": sort.parameter.code, "by": "values"} for sort in query.sort],
        }

    async def log(self, *, after: int = 0, limit: int = 1000) -> list[Version]:
        """Return versions of all types with seq > after, oldest first, deletions among them."""
        every = (v for kept in self.state.resources.values() for v in kept.versions if v.seq > after)
        return sorted(every, key=lambda version: version.seq)[:limit]

    async def history(self, query: HistoryQuery, *, see: Visibility = EVERYTHING) -> tuple[list[Version], int]:
        """Return a page of versions, newest first, and the total number."""
        found = [
            version
            for (type, id), kept in self.state.resources.items()
            if query.type in ("", type) and query.id in ("", id)
            for version in _asked(kept, query, see)
        ]
        found.sort(key=lambda version: -version.seq)
        page = [v for v in found if query.before_seq is None or v.seq < query.before_seq]
        return page[: query.count], len(found)

    async def record(self, kind: str, key: str) -> Record | None:
        """Return a room's row, or None."""
        return self.state.records.get((kind, key))

    async def records(
        self,
        kind: str,
        *,
        state: str | None = None,
        lane: str | None = None,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Return rows of that kind with seq > after, oldest first; with `before` the newest below it first."""
        found = [
            record
            for record in self.state.records.values()
            if record.kind == kind
            and record.seq > after
            and (before is None or record.seq < before)
            and state in (None, record.state)
            and lane in (None, record.lane)
        ]
        return sorted(found, key=lambda record: record.seq, reverse=before is not None)[:limit]

    async def record_kinds(self) -> list[str]:
        """Return the kinds of rooms' rows that there are, sorted."""
        return sorted({record.kind for record in self.state.records.values()})

    async def epoch(self) -> int:
        """Return the tenant's guard epoch."""
        return self.state.epoch

    async def audits(self, *, patient: str = "", after: int = 0, limit: int = 100) -> list[tuple[int, AuditRow]]:
        """Return (seq, row) with seq > after, oldest first; of one Patient where `patient` is given."""
        shown = (c for c in self.chained[: self._audited] if c.tenant == self.tenant and c.seq > after)
        return [(c.seq, c.row) for c in shown if not patient or patient in c.row.patients][:limit]


def _asked(kept: Kept, query: HistoryQuery, see: Visibility) -> Iterable[Version]:
    """Return the versions of one resource that a history query asks for and that may be seen.

    `at`: "resource versions that were current at some point during the time period"
    (https://hl7.org/fhir/R4/http.html#history).
    """
    for n, version in enumerate(kept.versions):
        before = kept.versions[n - 1] if n else None
        next = kept.versions[n + 1] if n + 1 < len(kept.versions) else None
        if query.since is not None and version.at < query.since:
            continue
        if query.at and not (version.at < query.at[1] and (next is None or next.at > query.at[0])):
            continue
        if is_visible(version, see, before=before):
            yield version
