"""Reading one state: what a view and a transaction have in common."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from fhir_server.errors import Unavailable
from fhir_server.model import EVERYTHING, Record, Version, Visibility
from fhir_server.search.query import Clause, Query
from fhir_server.store.mongo import audit
from fhir_server.store.mongo.connection import translated
from fhir_server.store.mongo.documents import Document, read_record
from fhir_server.store.mongo.find import history
from fhir_server.store.mongo.find.filters import all_of
from fhir_server.store.mongo.find.place import PLAIN, Place
from fhir_server.store.mongo.find.search import Search
from fhir_server.store.mongo.head import Head
from fhir_server.store.protocol import AuditRow, Found, HistoryQuery

HELD_S: Final = 600.0
"""How long a state is surely whole; less than the janitor waits (`janitor.HELD_MS`)."""


class MongoView:
    """A `store.protocol.View`.

    Args:
        tenant: Name.
        place: Where its searches run, with its state.
        head: The commit that it shows.
    """

    knows_words = False

    def __init__(self, tenant: str, place: Place, head: Head) -> None:
        self.tenant = tenant
        self._place, self._head = place, head
        self._begun = time.monotonic()

    @asynccontextmanager
    async def _asking(self, *, records: bool = False) -> AsyncIterator[None]:
        """Read in it; raise Unavailable where the state is not whole any more, which is never kept silent."""
        with translated():
            await self._ready(records=records)
            yield
            if time.monotonic() - self._begun > HELD_S:
                await self._check_whole()

    async def _check_whole(self) -> None:
        head = await self._place.database.head.find_one({"_id": self.tenant}, {"letting": 1})
        if head is not None and int(head.get("letting", 0)) > self._head.n:
            raise Unavailable("The state that is read is too old: others wrote for too long meanwhile. Begin again.")

    async def _ready(self, *, records: bool = False) -> None:
        """Let the documents have all that is to be read; a transaction writes what waits."""

    def _one(self, type: str, id: str) -> dict[str, Any]:
        return {"r": f"{self.tenant}/{type}/{id}"}

    async def _current(self, type: str, id: str, fields: Document | None = None) -> Document | None:
        where = all_of((self._one(type, id), self._place.window.current()))
        return await self._place.versions.find_one(where, fields or PLAIN)

    async def read(self, type: str, id: str) -> Version | None:
        """Return the newest version, a deletion included; None when the id was never used."""
        async with self._asking():
            found = await self._current(type, id)
            return None if found is None else await self._place.read(found)

    async def vread(self, type: str, id: str, version: int) -> Version | None:
        """Return that version, or None."""
        async with self._asking():
            where = all_of((self._one(type, id), {"v": version}, self._place.window.kept()))
            found = await self._place.versions.find_one(where, PLAIN)
            return None if found is None else await self._place.read(found)

    async def search(self, query: Query, *, see: Visibility = EVERYTHING) -> Found:
        """Return a page of what matches and may be seen."""
        async with self._asking():
            return await Search(self._place, query.types, query.where, see).page(query)

    async def count(self, types: tuple[str, ...], where: Sequence[Clause], *, see: Visibility = EVERYTHING) -> int:
        """Return how many resources match and may be seen."""
        async with self._asking():
            return await Search(self._place, types, where, see).count()

    async def explain(self, query: Query, *, see: Visibility = EVERYTHING) -> dict[str, object]:
        """Return how a search would be run."""
        async with self._asking():
            return await Search(self._place, query.types, query.where, see).explain(query)

    async def log(self, *, after: int = 0, limit: int = 1000) -> list[Version]:
        """Return versions of all types with seq > after, oldest first, deletions among them."""
        async with self._asking():
            where = all_of(({"t": self.tenant, "seq": {"$gt": after}}, self._place.window.kept()))
            assert where is not None
            return await self._place.read_all(await self._place.find(where, sort=[("seq", 1)], limit=limit))

    async def history(self, query: HistoryQuery, *, see: Visibility = EVERYTHING) -> tuple[list[Version], int]:
        """Return a page of versions, newest first, and the total number."""
        async with self._asking():
            return await history.page(self._place, query, see)

    async def _record(self, kind: str, key: str) -> Document | None:
        where = all_of(({"t": self.tenant, "kind": kind, "key": key}, self._place.window.current()))
        return await self._place.database.record.find_one(where)

    async def _records_of(self, kind: str, keys: Sequence[str]) -> dict[str, Document]:
        """Return the documents of rows that are there, by key."""
        named = {"t": self.tenant, "kind": kind, "key": {"$in": list(keys)}}
        where = all_of((named, self._place.window.current()))
        return {found["key"]: found for found in await self._place.database.record.find(where).to_list()}

    async def record(self, kind: str, key: str) -> Record | None:
        """Return a room's row, or None."""
        async with self._asking():
            found = await self._record(kind, key)
            return None if found is None else read_record(found)

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
        span = {"$gt": after} if before is None else {"$gt": after, "$lt": before}
        named: dict[str, Any] = {"t": self.tenant, "kind": kind, "seq": span}
        if state is not None:
            named["state"] = state
        if lane is not None:
            named["lane"] = lane
        async with self._asking(records=True):
            where = all_of((named, self._place.window.current()))
            cursor = self._place.database.record.find(where).sort([("seq", 1 if before is None else -1)]).limit(limit)
            return [read_record(found) for found in await cursor.to_list()]

    async def record_kinds(self) -> list[str]:
        """Return the kinds of rooms' rows that there are, sorted."""
        async with self._asking(records=True):
            where = all_of(({"t": self.tenant}, self._place.window.current()))
            return sorted(await self._place.database.record.distinct("kind", where))

    async def epoch(self) -> int:
        """Return the tenant's guard epoch."""
        return self._head.epoch

    async def audits(self, *, patient: str = "", after: int = 0, limit: int = 100) -> list[tuple[int, AuditRow]]:
        """Return (seq, row) with seq > after, oldest first; of one Patient where `patient` is given."""
        with translated():
            return await audit.rows(self._place.database.txn, self._head, self.tenant, patient, after, limit)
