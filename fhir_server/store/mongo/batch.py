"""Units of work that share a commit: what they wrote so far, each undone by itself where it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bson import ObjectId

from fhir_server.model import Record, Resource, Version
from fhir_server.search.values import Indexed
from fhir_server.store.mongo import audit
from fhir_server.store.mongo.commit import commit_id
from fhir_server.store.mongo.connection import Collection, Database, translated
from fhir_server.store.mongo.documents import Document, body_parts, check_size, record_document, version_document
from fhir_server.store.mongo.find.place import Place
from fhir_server.store.mongo.head import Head
from fhir_server.store.mongo.window import Own, Window
from fhir_server.store.protocol import AuditRow

_MANY: Final = 1_000  # ids asked for at once


class Repeat(Exception):
    """What was taken for new is there: the batch must be run again, looking first."""


class Known:
    """A resource or record as the batch sees it: what it holds, and its current document."""

    __slots__ = ("document", "value")

    def __init__(self, value: Any, document: ObjectId | None) -> None:
        self.value, self.document = value, document


class Batch:
    """One commit under way.

    Args:
        database: The collections.
        tenant: Name.
        head: The commit that it follows.
        index: Gives the values of a resource, for searches.
        seconds: What one statement may take.
        careful: Whether it looks before it takes a first version for new.
    """

    def __init__(
        self,
        database: Database,
        tenant: str,
        head: Head,
        index: Callable[[Resource], Indexed],
        seconds: float,
        *,
        careful: bool,
    ) -> None:
        self.database, self.tenant, self.base, self.head, self.careful = database, tenant, head, head, careful
        self.own = Own(ObjectId())
        self.place = Place(database, Window(tenant, head.seq, self.own), index, seconds)
        self.versions: dict[tuple[str, str], Known] = {}
        self.records: dict[tuple[str, str], Known] = {}
        self.rows: list[tuple[str, AuditRow]] = []
        self.size = 0  # bytes of bodies and audit rows
        self.broken: BaseException | None = None  # why it is not known what of it is in the database
        self._waiting: dict[str, dict[ObjectId, Document]] = {"version": {}, "record": {}}
        self._parts: dict[ObjectId, list[Document]] = {}
        self._sent: dict[str, set[ObjectId]] = {"version": set(), "record": set(), "part": set()}
        self._dropped: set[ObjectId] = set()  # sent, and undone
        self._assumed: set[str] = set()  # "Type/id" taken for new without a look
        self._removed: set[ObjectId] = set()
        self._erased: set[ObjectId] = set()
        self._old_records: set[ObjectId] = set()
        self._undo: list[Callable[[], None]] = []

    # --- units ---------------------------------------------------------------------------------------------

    def begin_unit(self, clock: Callable[[], int]) -> int:
        """Begin a unit and return its time, which is later than that of any before."""
        self._undo.clear()
        self._set_head(now=max(clock(), self.head.now + 1))
        return self.head.now

    def undo_unit(self) -> None:
        """Take back what the unit did; its time stays used."""
        now = self.head.now
        while self._undo:
            self._undo.pop()()
        self.head = self.head._replace(now=now)

    def _set_head(self, **fields: Any) -> None:
        before = self.head
        self.head = self.head._replace(**fields)
        self._undo.append(lambda: setattr(self, "head", before))

    def _keep(self, known: dict[tuple[str, str], Known], key: tuple[str, str], made: Known) -> None:
        before = known.get(key)

        def undo() -> None:
            if before is None:
                known.pop(key, None)
            else:
                known[key] = before

        known[key] = made
        self._undo.append(undo)

    def _add(self, found: set[Any], one: Any) -> None:
        if one not in found:
            found.add(one)
            self._undo.append(lambda: found.discard(one))

    def next_seq(self) -> int:
        """Return the next place in the order of writes."""
        self._set_head(seq=self.head.seq + 1)
        return self.head.seq

    # --- writing -------------------------------------------------------------------------------------------

    def put_version(self, made: Version, indexed: Indexed, before: Known | None) -> None:
        """Let a version wait, and the one before it be superseded."""
        document = self._write_version(made, indexed)
        if before is not None and before.document is not None:
            self.hide(before.document, made.at)
        self._keep(self.versions, (made.type, made.id), Known(made, document["_id"]))

    def _write_version(self, made: Version, indexed: Indexed) -> Document:
        document = version_document(self.tenant, made, indexed, self.own.tx, self.base.n + 1)
        check_size(document, made.body)
        if parts := body_parts(document, made.body):
            self._parts[document["_id"]] = parts
        self._wait("version", document)
        self.size += len(made.body)
        return document

    def replace_index(self, made: Version, indexed: Indexed, before: Known) -> None:
        """Let a version stand with other index values: as another document in its place."""
        document = self._write_version(made, indexed)
        if before.document is not None:
            self.hide(before.document, None)
            self._remove(before.document)
        self._keep(self.versions, (made.type, made.id), Known(made, document["_id"]))

    def _wait(self, name: str, document: Document) -> None:
        id, waiting = document["_id"], self._waiting[name]
        waiting[id] = document

        def undo() -> None:
            if waiting.pop(id, None) is None:
                self._dropped.add(id)
                self.own.removed.add(id)
            self._parts.pop(id, None)

        self._undo.append(undo)

    def hide(self, id: ObjectId, at: int | None) -> None:
        """Say that a document is not current any more; `at`: the time of the version that followed."""
        self.own.hidden[id] = at
        self._undo.append(lambda: void(self.own.hidden.pop(id, None)))

    def _remove(self, id: ObjectId) -> None:
        self._add(self.own.removed, id)
        self._add(self._removed, id)

    def erase(self, key: tuple[str, str], ids: list[ObjectId]) -> None:
        """Say that all documents of a resource are gone for good."""
        self.remove(ids)
        self._keep(self.versions, key, Known(None, None))

    def remove(self, ids: list[ObjectId]) -> None:
        """Say that documents are gone for good."""
        for id in ids:
            self._remove(id)
            self._add(self._erased, id)

    def put_record(self, made: Record, before: Known) -> None:
        """Let a record wait, and the one before it be superseded."""
        document = record_document(self.tenant, made, self.own.tx, self.base.n + 1)
        self._wait("record", document)
        self._supersede(before)
        self._keep(self.records, (made.kind, made.key), Known(made, document["_id"]))

    def drop_record(self, kind: str, key: str, before: Known) -> None:
        """Say that a record is not there any more."""
        self._supersede(before)
        self._keep(self.records, (kind, key), Known(None, None))

    def _supersede(self, before: Known) -> None:
        if before.document is not None:
            self.hide(before.document, None)
            self._add(self._old_records, before.document)

    def audit(self, row: AuditRow) -> None:
        """Append to the audit chain."""
        self.add_row(audit.write_row(self.tenant, row), row)

    def add_row(self, body: str, row: AuditRow) -> None:
        """Append a row that is written already."""
        self.rows.append((body, row))
        self.size += len(body)
        self._undo.append(lambda: void(self.rows.pop()))

    def bump_epoch(self) -> None:
        """Let the guard epoch grow."""
        self._set_head(epoch=self.head.epoch + 1)

    def assume_new(self, type: str, id: str) -> None:
        """Take a resource for new; whether it is will be looked up once for all, before the commit."""
        self._add(self._assumed, f"{type}/{id}")

    # --- sending -------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return self.head._replace(now=0) == self.base._replace(now=0) and not (
            self.rows or any(self._waiting.values()) or self.own.hidden or self._removed
        )

    async def flush(self, *, records: bool = True) -> None:
        """Send what waits, so that searches find it; what fails here ends the whole batch."""
        try:
            with translated():
                await self._send(records)
        except BaseException as error:
            self.broken = error
            raise

    async def _send(self, records: bool) -> None:
        for name in ("version", "record") if records else ("version",):
            waiting = self._waiting[name]
            if not waiting:
                continue
            documents = list(waiting.values())
            parts = [part for id in waiting for part in self._parts.pop(id, ())]
            waiting.clear()
            self._sent[name].update(document["_id"] for document in documents)
            if parts:
                self._sent["part"].update(part["of"] for part in parts)
                await self.database.part.insert_many(parts, ordered=False)
            collection: Collection = getattr(self.database, name)
            await collection.insert_many(documents, ordered=False)

    async def finish(self, key: bytes) -> Document:
        """Send all that waits and return the commit to put in.

        Raises:
            Repeat: What was taken for new is there.
        """
        await self._look_for_assumed()
        await self.flush()
        await self._drop()
        rows = audit.commit_fields(self.base, self.rows)
        hash = rows["hashes"][-1] if rows["hashes"] else self.base.hash
        head = self.head._replace(n=self.base.n + 1, audits=rows["last"], hash=hash)
        return {
            "_id": commit_id(self.tenant, head.n),
            "t": self.tenant,
            "n": head.n,
            "seq": head.seq,
            "tx": self.own.tx,
            "wrote": [name for name, sent in self._sent.items() if sent],
            "sent": {name: len(self._sent[name] - self._dropped) for name in self._waiting},
            "followed": self._followed(),
            "removed": sorted(self._removed),
            "erased": sorted(self._erased),
            "records": sorted(self._old_records),
            "head": head.fields(),
            "sign": audit.sign(key, self.tenant, head),
            **rows,
        }

    async def _drop(self) -> None:
        """Remove what was sent by units that were undone, before it is committed with the rest.

        On a sharded cluster a removal of many may pass a document by while it moves, so it is looked for those.
        """
        dropped = list(self._dropped)
        for name, field in (("version", "_id"), ("record", "_id"), ("part", "of")) if dropped else ():
            collection: Collection = getattr(self.database, name)
            where = {field: {"$in": dropped}}
            while (await collection.delete_many(where)).deleted_count:
                if await collection.find_one(where, {"_id": 1}) is None:
                    break

    def _followed(self) -> list[Document]:
        """Return the versions that were superseded, by the time of what followed."""
        groups: dict[int, list[ObjectId]] = {}
        for id, at in self.own.hidden.items():
            if at is not None and id not in self._dropped:
                groups.setdefault(at, []).append(id)
        return [{"at": at, "ids": ids} for at, ids in groups.items()]

    async def _look_for_assumed(self) -> None:
        assumed = sorted(self._assumed)
        for start in range(0, len(assumed), _MANY):
            names = [f"{self.tenant}/{one}" for one in assumed[start : start + _MANY]]
            committed = Window(self.tenant, self.base.seq).kept()
            if await self.database.version.find_one({"r": {"$in": names}, **committed}, {"_id": 1}) is not None:
                raise Repeat

    async def forget(self) -> None:
        """Remove what was sent, where it will not be committed."""
        for name, sent in self._sent.items():
            if sent:
                await getattr(self.database, name).delete_many({"tx": self.own.tx})


def void(_: object) -> None:
    """Let a value go."""
