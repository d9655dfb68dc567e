"""A unit of work inside a batch: reads what is there and what it wrote, and writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from fhir_server.errors import VersionConflict
from fhir_server.model import EVERYTHING, Record, Resource, Version, Visibility
from fhir_server.search.query import Clause, Query
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import AuditRow, Found, HistoryQuery, Meanwhile, Write
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.batch import Batch
from fhir_server.store.sqlite.body import write_row
from fhir_server.store.sqlite.find.history import History
from fhir_server.store.sqlite.find.search import Search, Tenant
from fhir_server.store.sqlite.job import BREATH, Job
from fhir_server.store.sqlite.placing import Placing
from fhir_server.store.sqlite.reading import Snapshot, tenant_number, write_audit
from fhir_server.store.sqlite.session import Interrupted

T = TypeVar("T")


class SqliteTransaction:
    """A `store.protocol.Transaction`; its methods suspend by Jobs alone, which the writer does.

    Args:
        batch: Where its writes go.
        tenant: Name.
        index: Gives the values of a resource, for what the index cannot tell a search.
        now: Its time.
    """

    knows_words = True
    takes_patterns = True

    def __init__(self, batch: Batch, tenant: str, index: Callable[[Resource], Indexed], now: int) -> None:
        self.tenant, self.now = tenant, now
        self._batch, self._index = batch, index
        self._number = batch.overlay.get(("tenant", tenant)) or tenant_number(batch.connection, tenant)
        self._snapshot = Snapshot(batch.connection, batch.terms, self._number)

    # --- reading -------------------------------------------------------------------------------------------

    def _written(self, *tables: str) -> Snapshot:
        """Return the snapshot after rows that wait for these tables are written; for any table if none is named."""
        batch = self._batch
        if not tables or any(batch.lists[table] for table in tables):
            batch.flush()
        return self._snapshot

    def _current(self, type: str, id: str) -> Version | None:
        key = (self._number, type, id)
        overlay = self._batch.overlay
        if key in overlay:
            return overlay[key]  # type: ignore[no-any-return]
        found = overlay[key] = self._snapshot.read(type, id)
        if found is not None:
            self._batch.known.bytes += len(found.body)
        return found

    async def _bounded(self, work: Callable[[Tenant], T]) -> T:
        """Run a search here within a small budget, or else in a thread within the large one."""
        batch = self._batch
        batch.flush()
        place = Tenant(batch.session, batch.terms, self._number, batch.hash, self._index)
        try:
            with batch.session.budget(None):
                return work(place)
        except Interrupted:
            made: T = await Job(lambda: work(place))
            return made

    async def read(self, type: str, id: str) -> Version | None:
        """Return the newest version, a deletion included; None when the id was never used."""
        if self._batch.session.is_tired():
            await BREATH
        return self._current(type, id)

    async def look_up(self, keys: Sequence[tuple[str, str]]) -> None:
        """Read the newest versions of these (type, id) now, all of a type by one statement."""
        overlay, number = self._batch.overlay, self._number
        wanted: dict[str, list[str]] = {}
        for type, id in keys:
            if (number, type, id) not in overlay:
                wanted.setdefault(type, []).append(id)
        for type, ids in wanted.items():
            overlay.update(dict.fromkeys([(number, type, id) for id in ids]))
            for found in self._snapshot.read_many(type, ids):
                overlay[number, type, found.id] = found
                self._batch.known.bytes += len(found.body)

    async def records_of(self, kind: str, keys: Sequence[str]) -> dict[str, Record]:
        """Return a room's rows by key, those that there are; what is not known yet is read by one statement."""
        overlay, number = self._batch.overlay, self._number
        places = [("record", number, kind, key) for key in keys]
        # SQLite ends a JSON text at NUL: such a key is looked for alone.
        wanted = [place for place in places if place not in overlay and "\0" not in place[3]]
        if wanted:
            overlay.update(dict.fromkeys(wanted))
            for one in self._snapshot.records_of(kind, [place[3] for place in wanted]):
                overlay["record", number, kind, one.key] = one
        found = [overlay[place] if place in overlay else self._record(kind, place[3]) for place in places]
        return {one.key: one for one in found if one is not None}

    def meanwhile(self, run: Meanwhile) -> None:
        """Have something done on the event loop while the thread waits for the disk."""
        self._batch.meanwhile.append(run)

    async def vread(self, type: str, id: str, version: int) -> Version | None:
        """Return that version, or None."""
        current = self._current(type, id)
        if current is None or current.version == version:
            return current
        return self._written("version").vread(type, id, version)

    async def search(self, query: Query, *, see: Visibility = EVERYTHING) -> Found:
        """Return a page of what matches and may be seen."""
        return await self._bounded(lambda place: Search(place, query.types, query.where, see).page(query))

    async def count(self, types: tuple[str, ...], where: Sequence[Clause], *, see: Visibility = EVERYTHING) -> int:
        """Return how many resources match and may be seen."""
        return await self._bounded(lambda place: Search(place, types, where, see).count())

    async def explain(self, query: Query, *, see: Visibility = EVERYTHING) -> dict[str, object]:
        """Return how a search would be run, as JSON."""
        return await self._bounded(lambda place: Search(place, query.types, query.where, see).explain(query))

    async def log(self, *, after: int = 0, limit: int = 1000) -> list[Version]:
        """Return versions of all types with seq > after, oldest first."""
        return self._written("version", "term").log(after, limit)

    async def history(self, query: HistoryQuery, *, see: Visibility = EVERYTHING) -> tuple[list[Version], int]:
        """Return a page of versions, newest first, and the total number."""
        return await self._bounded(lambda place: History(place, query, see).page())

    async def record(self, kind: str, key: str) -> Record | None:
        """Return a room's row, or None."""
        return self._record(kind, key)

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
        return self._written("record", "no_record").records(kind, state, lane, after, before, limit)

    async def record_kinds(self) -> list[str]:
        """Return the kinds of rooms' rows that there are, sorted."""
        return self._written("record", "no_record").record_kinds()

    async def epoch(self) -> int:
        """Return the tenant's guard epoch."""
        overlay, key = self._batch.overlay, ("epoch", self._number)
        if key not in overlay:
            overlay[key] = self._snapshot.epoch()
        return overlay[key]  # type: ignore[no-any-return]

    async def audits(self, *, patient: str = "", after: int = 0, limit: int = 100) -> list[tuple[int, AuditRow]]:
        """Return (seq, row) with seq > after, oldest first."""
        return self._written("audit").audits(patient, after, limit)

    # --- writing -------------------------------------------------------------------------------------------

    def _own_tenant(self) -> int:
        """Return the tenant's number, giving it one on its first write."""
        self._number = self._snapshot.tenant = self._batch.tenant(self.tenant)
        return self._number

    async def put(self, write: Write) -> Version:
        """Store a version and make it the current one; raise VersionConflict unless it follows the current."""
        if self._batch.session.is_tired():
            await BREATH
        tenant, batch = self._own_tenant(), self._batch
        is_new = write.version == 1 and not batch.careful and (tenant, write.type, write.id) not in batch.overlay
        before = None if is_new else self._current(write.type, write.id)
        if write.version != (before.version if before else 0) + 1:
            raise VersionConflict("The resource is at another version.")
        batch.known.seq += 1
        if write.at < batch.known.at:
            batch.set(batch.counters, (0, "disorder"), 1)
        batch.known.at = max(batch.known.at, write.at)
        owners = write.indexed.owners
        if write.method == "DELETE" and before is not None:
            owners = before.owners
        made = Version(write.type, write.id, write.version, write.at, write.method, write.body, batch.known.seq, owners)
        k = batch.term(tenant, write.type, terms.TYPE, "", "")
        lists = batch.lists
        if before is not None:
            self._supersede(k, before)
        lists["version"].append(write_row(k, made))
        lists["new_resource" if before is None else "resource"].append((k, write.id, made.seq, made.version))
        if made.is_deleted:
            lists["token"].append((batch.term(tenant, write.type, terms.HISTORY, "", ""), 0, made.seq))
        else:
            self._placing().add(k, made, write.indexed, draft=write.draft)
            batch.count(k, "current", 1)
        batch.count(k, "versions", 1)
        batch.set(batch.overlay, (tenant, write.type, write.id), made)
        batch.known.bytes += len(made.body)
        return made

    def _supersede(self, k: int, before: Version) -> None:
        batch, lists = self._batch, self._batch.lists
        if not before.is_deleted:
            self._placing().remove(k, before.type, before.seq, before.body)
            history = batch.term(self._number, before.type, terms.HISTORY, "", "")
            lists["token"].append((history, 0, before.seq))
            batch.count(k, "current", -1)
        lists["superseded"].append((k, before.id, before.version, before.seq))

    def _placing(self) -> Placing:
        return Placing(self._batch, self._number)

    async def reindex(self, type: str, id: str, indexed: Indexed) -> None:
        """Replace the index values and owners of a current resource; nothing happens where there is none."""
        batch, current = self._batch, self._current(type, id)
        if current is None or current.is_deleted:
            return
        if batch.session.is_tired():
            await BREATH
        k = self._snapshot.type_term(type)
        if current.owners != tuple(indexed.owners):
            current = current._replace(owners=tuple(indexed.owners))
            batch.statement("UPDATE version SET owners = ? WHERE seq = ?", (" ".join(current.owners), current.seq))
            batch.set(batch.overlay, (self._number, type, id), current)
        self._placing().replace(k, current, indexed)

    async def erase(self, type: str, id: str) -> int:
        """Remove every version of a resource and its index values; return how many versions there were."""
        if self._current(type, id) is None:
            return 0
        erased = self._placing().erase(self._snapshot.type_term(type), type, id)
        self._batch.set(self._batch.overlay, (self._number, type, id), None)
        return erased

    async def forget(self, type: str, id: str) -> int:
        """Remove every version of a resource but its newest; return how many."""
        if self._current(type, id) is None:
            return 0
        return self._placing().forget(self._snapshot.type_term(type), type, id)

    def _record(self, kind: str, key: str) -> Record | None:
        overlay, place = self._batch.overlay, ("record", self._number, kind, key)
        if place not in overlay:
            overlay[place] = self._snapshot.record(kind, key)
        return overlay[place]  # type: ignore[no-any-return]

    async def put_record(self, kind: str, key: str, state: str, body: bytes, *, lane: str = "") -> Record:
        """Insert or replace a room's row; a replaced row keeps its seq."""
        tenant, batch = self._own_tenant(), self._batch
        before = self._record(kind, key)
        if before is None:
            batch.known.record_seq += 1
        made = Record(kind, key, state, lane, before.seq if before else batch.known.record_seq, self.now, body)
        batch.set(batch.overlay, ("record", tenant, kind, key), made)
        batch.lists["record"].append((made.seq, tenant, kind, key, state, lane, self.now, body))
        return made

    async def drop_record(self, kind: str, key: str) -> None:
        """Remove a room's row, if it is there."""
        batch = self._batch
        before = self._record(kind, key)
        if before is not None:
            self._written("record", "no_record")  # a row of this batch is written before it is removed
            batch.lists["no_record"].append((before.seq,))
            batch.set(batch.overlay, ("record", self._number, kind, key), None)

    async def audit(self, row: AuditRow) -> None:
        """Append to the audit chain."""
        self._batch.lists["audit"].append((self._own_tenant(), write_audit(self.tenant, row)))

    async def bump_epoch(self) -> None:
        """Say that what actors may see may have changed."""
        batch, tenant = self._batch, self._own_tenant()
        made = await self.epoch() + 1
        batch.set(batch.overlay, ("epoch", tenant), made)
        batch.set(batch.counters, (tenant, "epoch"), made)

    def keep_secret(self, name: str, value: bytes) -> bytes:
        """Keep a secret unless there is one of that name; return the one that is kept."""
        connection = self._batch.connection
        self._batch.statement("INSERT OR IGNORE INTO secret VALUES (?, ?)", (name, value))
        kept: bytes = connection.execute("SELECT value FROM secret WHERE name = ?", (name,)).get
        return kept
