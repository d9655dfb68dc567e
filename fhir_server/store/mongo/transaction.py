"""A unit of work inside a batch: reads what is there and what it wrote, and writes."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.errors import VersionConflict
from fhir_server.model import Record, Version
from fhir_server.search.values import Indexed
from fhir_server.store.mongo.batch import Batch, Known
from fhir_server.store.mongo.connection import translated
from fhir_server.store.mongo.documents import Document, read_record
from fhir_server.store.mongo.find.filters import all_of
from fhir_server.store.mongo.reading import MongoView
from fhir_server.store.protocol import AuditRow, Meanwhile, Write


class MongoTransaction(MongoView):
    """A `store.protocol.Transaction`; useless once its unit is over.

    Args:
        batch: Where its writes go.
        now: Its time.
    """

    takes_patterns = False

    def __init__(self, batch: Batch, now: int) -> None:
        super().__init__(batch.tenant, batch.place, batch.base)
        self.now = now
        self._batch = batch
        self.is_over = False

    # --- reading -------------------------------------------------------------------------------------------

    async def _ready(self, *, records: bool = False) -> None:
        await self._batch.flush(records=records)

    async def _known(self, type: str, id: str) -> Known:
        known = self._batch.versions.get((type, id))
        if known is None:
            with translated():
                document = await self._current(type, id)
                version = None if document is None else await self._place.read(document)
            known = Known(version, None if document is None else document["_id"])
            self._batch.versions[type, id] = known
        return known

    async def read(self, type: str, id: str) -> Version | None:
        """Return the newest version, a deletion included; None when the id was never used."""
        found: Version | None = (await self._known(type, id)).value
        return found

    async def look_up(self, keys: Sequence[tuple[str, str]]) -> None:
        """Read the newest versions of these (type, id) now, by one question."""
        versions = self._batch.versions
        if wanted := [key for key in keys if key not in versions]:
            with translated():
                names = {f"{self.tenant}/{type}/{id}": (type, id) for type, id in wanted}
                where = all_of(({"r": {"$in": list(names)}}, self._place.window.current()))
                assert where is not None
                found = {names[one["r"]]: one for one in await self._place.find(where)}
                read = {key: Known(await self._place.read(one), one["_id"]) for key, one in found.items()}
            versions.update({key: read.get(key) or Known(None, None) for key in wanted})

    async def records_of(self, kind: str, keys: Sequence[str]) -> dict[str, Record]:
        """Return a room's rows by key, those that there are; what is not known yet is read by one question."""
        records = self._batch.records
        if wanted := [key for key in keys if (kind, key) not in records]:
            with translated():
                documents = await self._records_of(kind, wanted)
            for key in wanted:
                document = documents.get(key)
                value = None if document is None else read_record(document)
                records[kind, key] = Known(value, None if document is None else document["_id"])
        found = [records[kind, key].value for key in keys]
        return {one.key: one for one in found if one is not None}

    def meanwhile(self, run: Meanwhile) -> None:
        """Do nothing: others run by themselves while the server is waited for."""

    async def _known_record(self, kind: str, key: str) -> Known:
        known = self._batch.records.get((kind, key))
        if known is None:
            with translated():
                document = await self._record(kind, key)
            record = None if document is None else read_record(document)
            known = Known(record, None if document is None else document["_id"])
            self._batch.records[kind, key] = known
        return known

    async def record(self, kind: str, key: str) -> Record | None:
        """Return a room's row, or None."""
        found: Record | None = (await self._known_record(kind, key)).value
        return found

    async def epoch(self) -> int:
        """Return the tenant's guard epoch."""
        return self._batch.head.epoch

    async def audits(self, *, patient: str = "", after: int = 0, limit: int = 100) -> list[tuple[int, AuditRow]]:
        """Return (seq, row) with seq > after, oldest first; its own rows last."""
        found = await super().audits(patient=patient, after=after, limit=limit)
        for seq, (_, row) in enumerate(self._batch.rows, self._batch.base.audits + 1):
            if seq > after and (not patient or patient in row.patients):
                found.append((seq, row))
        return found[:limit]

    # --- writing -------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.is_over:
            raise RuntimeError("the transaction is over")

    async def put(self, write: Write) -> Version:
        """Store a version and make it the current one; raise VersionConflict unless it follows the current."""
        self._check()
        batch, key = self._batch, (write.type, write.id)
        before: Known | None = None
        if write.version == 1 and not batch.careful and key not in batch.versions:
            batch.assume_new(write.type, write.id)
        else:
            before = await self._known(write.type, write.id)
        current: Version | None = before.value if before is not None else None
        if write.version != (current.version if current else 0) + 1:
            raise VersionConflict("The resource is at another version.")
        owners = tuple(write.indexed.owners)
        if write.method == "DELETE" and current is not None:
            owners = current.owners  # a deletion stays in the record of those to whom the resource belonged
        seq = batch.next_seq()
        made = Version(write.type, write.id, write.version, write.at, write.method, write.body, seq, owners)
        batch.put_version(made, write.indexed, before)
        return made

    async def reindex(self, type: str, id: str, indexed: Indexed) -> None:
        """Replace the index values and owners of a current resource; nothing happens where there is none."""
        self._check()
        known = await self._known(type, id)
        version: Version | None = known.value
        if version is not None and not version.is_deleted:
            self._batch.next_seq()  # a state is named by its seq, so it must differ from the one before
            self._batch.replace_index(version._replace(owners=tuple(indexed.owners)), indexed, known)

    async def erase(self, type: str, id: str) -> int:
        """Remove every version of a resource and its index values; return how many versions there were."""
        self._check()
        found = await self._versions(type, id)
        if found:
            self._batch.next_seq()
            self._batch.erase((type, id), [one["_id"] for one in found])
        return len(found)

    async def forget(self, type: str, id: str) -> int:
        """Remove every version of a resource but its newest; return how many."""
        self._check()
        found = sorted(await self._versions(type, id), key=lambda one: int(one["v"]))[:-1]
        if found:
            self._batch.next_seq()
            self._batch.remove([one["_id"] for one in found])
        return len(found)

    async def _versions(self, type: str, id: str) -> list[Document]:
        """Return id and number of each version of a resource."""
        await self._batch.flush(records=False)
        where = {"$and": [self._one(type, id), self._place.window.kept()]}
        with translated():
            return await self._place.find(where, fields={"v": 1})

    async def put_record(self, kind: str, key: str, state: str, body: bytes, *, lane: str = "") -> Record:
        """Insert or replace a room's row; a replaced row keeps its seq."""
        self._check()
        before = await self._known_record(kind, key)
        kept: Record | None = before.value
        seq = self._batch.next_seq()  # also of a replaced row: its state must have another name
        made = Record(kind, key, state, lane, kept.seq if kept else seq, self.now, body)
        self._batch.put_record(made, before)
        return made

    async def drop_record(self, kind: str, key: str) -> None:
        """Remove a room's row, if it is there."""
        self._check()
        before = await self._known_record(kind, key)
        if before.value is not None:
            self._batch.next_seq()
            self._batch.drop_record(kind, key, before)

    async def audit(self, row: AuditRow) -> None:
        """Append to the audit chain."""
        self._check()
        self._batch.audit(row)

    async def bump_epoch(self) -> None:
        """Say that what actors may see may have changed."""
        self._check()
        self._batch.bump_epoch()
