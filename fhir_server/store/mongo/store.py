"""The MongoDB store: one database, many hub processes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from pymongo.errors import DuplicateKeyError

from fhir_server.errors import Unavailable
from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.store.mongo import audit
from fhir_server.store.mongo.connection import Database, connect, make_indexes, translated
from fhir_server.store.mongo.find.place import Place
from fhir_server.store.mongo.head import read_head
from fhir_server.store.mongo.janitor import Janitor
from fhir_server.store.mongo.lane import Lane
from fhir_server.store.mongo.lease import Lease
from fhir_server.store.mongo.presence import Presence
from fhir_server.store.mongo.probe import probe
from fhir_server.store.mongo.reading import MongoView
from fhir_server.store.mongo.unit import Unit
from fhir_server.store.mongo.window import Window
from fhir_server.store.protocol import AuditRow, Transaction, View

T = TypeVar("T")

MOST_WAITING: Final = 2_048  # units that wait; who comes then waits before
_SECRET_BYTES: Final = 32


def _microseconds() -> int:
    return time.time_ns() // 1_000


class MongoStore:
    """A `store.protocol.Store` in a MongoDB database.

    Args:
        url: mongodb://HOST[:PORT]/DATABASE[?OPTIONS].
        index: Gives the values of a resource, to look closer where a filter cannot say all.
        clock: Returns microseconds since 1970.
        random: Returns that many random bytes; for secrets.
        search_seconds: What one statement may take.
    """

    drafting = None

    def __init__(
        self,
        url: str,
        *,
        index: Callable[[Resource], Indexed],
        clock: Callable[[], int] = _microseconds,
        random: Callable[[int], bytes] = secrets.token_bytes,
        search_seconds: float = 10.0,
    ) -> None:
        self._url, self._index, self._clock, self._random = url, index, clock, random
        self._seconds = search_seconds
        self._owner = random(8).hex()
        self._database: Database | None = None
        self._lanes: dict[str, Lane] = {}
        self._key = b""
        self._janitor: Janitor | None = None
        self._presence: Presence | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self._room = asyncio.Semaphore(MOST_WAITING)

    # --- life ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, look what the server can, make indexes, finish what a crash left; raise Unavailable otherwise."""
        database = connect(self._url)
        try:
            await probe(database)
            with translated():
                await make_indexes(database)
                self._key = await self._secret(database, audit.KEY)
                janitor = Janitor(database, self._clock)
                await janitor.tidy()
        except BaseException:
            await database.client.close()
            raise
        self._database, self._janitor, self._ended = database, janitor, asyncio.Event()
        loop = asyncio.get_running_loop()
        self._presence = Presence(database, loop.time)
        self._tasks = [
            loop.create_task(janitor.run(self._ended), name="mongo-janitor"),
            loop.create_task(self._presence.run(self._ended), name="mongo-presence"),
        ]

    async def close(self) -> None:
        """Finish what was accepted and let go; may be called twice."""
        database, self._database = self._database, None
        if database is None:
            return
        self._ended.set()
        await asyncio.gather(*self._tasks)
        for lane in self._lanes.values():
            await lane.end()
        self._lanes.clear()
        await database.client.close()

    @property
    def healthy(self) -> bool:
        """Whether it is open and the server answers."""
        janitor, presence = self._janitor, self._presence
        if self._database is None or janitor is None or presence is None:
            return False
        return presence.is_there and janitor.is_well and all(lane.healthy for lane in self._lanes.values())

    def _open_database(self) -> Database:
        if self._database is None:
            raise Unavailable("The store is closed.")
        return self._database

    def _reachable(self) -> Database:
        """Return the database; raise Unavailable at once where its server is missing for long."""
        database = self._open_database()
        if self._presence is not None:
            self._presence.check()
        return database

    def _lane(self, tenant: str) -> Lane:
        database = self._open_database()
        if tenant not in self._lanes:
            lease = Lease(database.head, tenant, self._owner, self._clock)
            self._lanes[tenant] = Lane(database, tenant, lease, self._index, self._clock, self._key, self._seconds)
        return self._lanes[tenant]

    # --- work ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def view(self, tenant: str) -> AsyncIterator[View]:
        """A consistent state, held until the context is left; never waits for a writer."""
        database = self._reachable()
        with translated():
            head = read_head(await database.head.find_one({"_id": tenant}))
        yield MongoView(tenant, Place(database, Window(tenant, head.seq), self._index, self._seconds), head)

    async def transact(self, tenant: str, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction and return its result once it is durable."""
        self._reachable()
        async with self._room:
            unit = Unit(work, asyncio.get_running_loop().create_future(), contextvars.copy_context())
            self._lane(tenant).submit(unit)
            result: T = await unit.future
            return result

    def audit_soon(self, tenant: str, row: AuditRow) -> None:
        """Append to the audit chain with the next commit, without waiting; raise Unavailable when it cannot."""
        self._lane(tenant).audit(row)

    # --- what is the store's own ---------------------------------------------------------------------------

    async def tenants(self) -> list[str]:
        """Return the names of the tenants that something was written for."""
        with translated():
            heads = await self._open_database().head.find({"n": {"$gt": 0}}, {"_id": 1}).to_list()
        return sorted(head["_id"] for head in heads)

    async def verify_audit(self) -> int | None:
        """Return the seq of the first audit row whose hash does not hold; None when every tenant's chain is whole."""
        database = self._open_database()
        with translated():
            for head in await database.head.find({}).sort([("_id", 1)]).to_list():
                bad = await audit.first_broken(database.txn, head, self._key)
                if bad is not None:
                    return bad
        return None

    async def secret(self, name: str) -> bytes:
        """Return 32 random bytes kept under that name, made on first use."""
        with translated():
            return await self._secret(self._open_database(), name)

    async def _secret(self, database: Database, name: str) -> bytes:
        found = await database.secret.find_one({"_id": name})
        if found is not None:
            return bytes(found["value"])
        return await self._keep(database, name, self._random(_SECRET_BYTES))

    async def _keep(self, database: Database, name: str, value: bytes) -> bytes:
        """Keep a secret unless another process was faster; return the one that is kept."""
        with contextlib.suppress(DuplicateKeyError):
            await database.secret.insert_one({"_id": name, "value": value})
        found = await database.secret.find_one({"_id": name})
        if found is None:
            raise Unavailable("A secret is not kept.")
        return bytes(found["value"])

    async def secrets(self) -> dict[str, bytes]:
        """Return what `secret` gave, by name, but for the key of the audit chain."""
        with translated():
            every = await self._open_database().secret.find({}).to_list()
        return {one["_id"]: bytes(one["value"]) for one in every if one["_id"] != audit.KEY}

    async def keep_secret(self, name: str, value: bytes) -> bytes:
        """Keep a secret of another place under a name, unless there is one; return the one that is kept."""
        with translated():
            return await self._keep(self._open_database(), name, value)
