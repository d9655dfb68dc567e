"""The SQLite store: one file, one writer that shares commits, readers that never wait for it."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final, TypeVar

import apsw

from fhir_server.errors import Unavailable
from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import AuditRow, Drafting, Transaction, View
from fhir_server.store.sqlite import audit, draft
from fhir_server.store.sqlite.connection import check_engine, connect
from fhir_server.store.sqlite.keeper import Keeper
from fhir_server.store.sqlite.known import Known
from fhir_server.store.sqlite.migrations import migrate, steps
from fhir_server.store.sqlite.rebuild import rebuild
from fhir_server.store.sqlite.session import Session, Timer
from fhir_server.store.sqlite.terms import hasher
from fhir_server.store.sqlite.transaction import SqliteTransaction
from fhir_server.store.sqlite.unit import Unit
from fhir_server.store.sqlite.view import Readers
from fhir_server.store.sqlite.writer import Writer

T = TypeVar("T")

MOST_WAITING: Final = 2_048  # units that wait; who comes then waits before
_SECRET_BYTES: Final = 32
_INDEX_KEY: Final = "index"  # name of the secret that hashes what is looked up


def _microseconds() -> int:
    return time.time_ns() // 1_000


class SqliteStore:
    """A `store.protocol.Store` in one SQLite file.

    Args:
        path: Of the file.
        index: Gives the values of a resource, for what the index cannot tell a search, and to make the index anew.
        clock: Returns microseconds since 1970.
        timer: Returns seconds that only grow; bounds searches.
        random: Returns that many random bytes; for secrets.
        vfs: Name of a registered apsw VFS; the system's own by default.
        search_seconds: What one search may take.
    """

    def __init__(
        self,
        path: str,
        *,
        index: Callable[[Resource], Indexed],
        clock: Callable[[], int] = _microseconds,
        timer: Timer = time.monotonic,
        random: Callable[[int], bytes] = secrets.token_bytes,
        vfs: str | None = None,
        search_seconds: float = 10.0,
    ) -> None:
        self._drafting: Drafting | None = None
        self._path, self._index, self._clock, self._random, self._vfs = str(path), index, clock, random, vfs
        self._timer, self._seconds = timer, search_seconds
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._keeper: Keeper | None = None
        self._room = asyncio.Semaphore(MOST_WAITING)

    # --- life ----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the file, bring its schema up to date; raise Unavailable with the reason where it is not safe."""
        check_engine()
        session, key, audit_key = await asyncio.get_running_loop().run_in_executor(None, self._open)
        hash_text, self._drafting = hasher(key), Drafting(f"{draft.__name__}:SqliteDrafter", key)
        readers = self._readers = Readers(self._path, self._vfs, hash_text, self._index, self._timer, self._seconds)
        self._keeper = Keeper(lambda: connect(self._path, vfs=self._vfs, writer=True))
        self._writer = Writer(
            session, Known(hash_text), self._index, self._clock, audit_key, self._keeper, self._seconds, readers.renew
        )

    @property
    def drafting(self) -> Drafting | None:
        """How other processes make the index rows of what is written, once the store is open."""
        return self._drafting

    def _open(self) -> tuple[Session, bytes, bytes]:
        connection = connect(self._path, vfs=self._vfs, writer=True)
        try:
            migrate(connection, steps())
            key = self._kept_secret(connection, _INDEX_KEY)
            hash_text = hasher(key)
            audit_key = self._kept_secret(connection, audit.KEY)
            session = Session(connection, self._timer, hash_text, tables=False)
            rebuild(session, Known(hash_text), self._index, audit_key)
            return session, key, audit_key
        except apsw.Error as error:
            connection.close()
            raise Unavailable(f"The store cannot be opened: {type(error).__name__}.") from error
        except BaseException:
            connection.close()
            raise

    def _kept_secret(self, connection: apsw.Connection, name: str) -> bytes:
        connection.execute("INSERT OR IGNORE INTO secret VALUES (?, ?)", (name, self._random(_SECRET_BYTES)))
        found: bytes = connection.execute("SELECT value FROM secret WHERE name = ?", (name,)).get
        return found

    async def close(self) -> None:
        """Finish what was accepted, copy the WAL into the file and let go; may be called twice."""
        writer, readers, keeper = self._writer, self._readers, self._keeper
        self._writer = self._readers = self._keeper = None
        if writer is not None and readers is not None and keeper is not None:
            loop = asyncio.get_running_loop()
            await writer.end()
            await readers.close()
            await loop.run_in_executor(None, partial(keeper.close, healthy=writer.healthy))

    @property
    def healthy(self) -> bool:
        """Whether it can be written to: open, not refused by a full disk or a lock, and its disk has not failed."""
        return self._writer is not None and self._writer.ready

    @property
    def slow_searches(self) -> int:
        """How many searches went from the event loop to a thread, since the store was opened."""
        return self._readers.slow if self._readers is not None else 0

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise Unavailable("The store is closed.")
        return self._writer

    # --- work ----------------------------------------------------------------------------------------------

    def view(self, tenant: str) -> AbstractAsyncContextManager[View]:
        """A consistent state, held until the context is left; never waits for a writer."""
        if self._readers is None:
            raise Unavailable("The store is closed.")
        return self._readers.snapshot(tenant)

    async def transact(self, tenant: str, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction and return its result once it is durable."""
        writer = self._open_writer()
        await self._room.acquire()
        try:
            loop = asyncio.get_running_loop()
            unit = Unit(tenant, work, loop.create_future(), contextvars.copy_context())
            writer.submit(unit)
            result: T = await unit.future
            return result
        finally:
            self._room.release()

    def audit_soon(self, tenant: str, row: AuditRow) -> None:
        """Append to the audit chain with the next commit, without waiting; raise Unavailable when it cannot."""
        self._open_writer().audit(tenant, row)

    # --- what is the store's own ---------------------------------------------------------------------------

    async def tenants(self) -> list[str]:
        """Return the names of the tenants that something was written for."""
        return await self._ask(lambda connection: [r[0] for r in connection.execute("SELECT name FROM tenant")])

    async def verify_audit(self) -> int | None:
        """Return the seq of the first audit row whose hash does not hold; None when the chain is whole."""
        key = await self.secret(audit.KEY)
        return await self._ask(lambda connection: audit.verify(connection, key))

    async def secret(self, name: str) -> bytes:
        """Return 32 random bytes kept under that name, made on first use."""
        found: bytes | None = await self._ask(
            lambda connection: connection.execute("SELECT value FROM secret WHERE name = ?", (name,)).get
        )
        if found is not None:
            return found
        return await self.keep_secret(name, self._random(_SECRET_BYTES))

    async def keep_secret(self, name: str, value: bytes) -> bytes:
        """Keep a secret of another place under a name, unless there is one; return the one that is kept."""

        async def keep(transaction: Transaction) -> bytes:
            assert isinstance(transaction, SqliteTransaction)
            return transaction.keep_secret(name, value)

        return await self.transact("", keep)

    async def secrets(self) -> dict[str, bytes]:
        """Return what `secret` gave, by name, but for the keys of this file's index and audit chain."""

        def read(connection: apsw.Connection) -> dict[str, bytes]:
            every: Any = connection.execute("SELECT name, value FROM secret")
            return {name: value for name, value in every if name not in (_INDEX_KEY, audit.KEY)}

        return await self._ask(read)

    async def checkpoint(self) -> None:
        """Copy the WAL into the file and empty it."""
        if self._keeper is None:
            raise Unavailable("The store is closed.")
        checkpoint = self._keeper.checkpoint
        await asyncio.get_running_loop().run_in_executor(None, checkpoint, apsw.SQLITE_CHECKPOINT_TRUNCATE)

    async def _ask(self, question: Callable[[apsw.Connection], T]) -> T:
        if self._readers is None:
            raise Unavailable("The store is closed.")
        return await self._readers.ask(question)
