"""Views: snapshots of readers' connections, used on the event loop, in a thread where that takes too long.

A state is kept for the views that follow in the same turn of the event loop, unless this process commits meanwhile:
to begin one takes as long as to read a resource. What a turn serves was sent before it began, so nobody is shown a
state from before the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Final, TypeVar

import apsw

from fhir_server.errors import Unavailable
from fhir_server.model import EVERYTHING, Record, Resource, Version, Visibility
from fhir_server.search.query import Clause, Query
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import AuditRow, Found, HistoryQuery, View
from fhir_server.store.sqlite.connection import connect
from fhir_server.store.sqlite.find.history import History
from fhir_server.store.sqlite.find.search import Search, Tenant
from fhir_server.store.sqlite.reading import Snapshot, tenant_number
from fhir_server.store.sqlite.session import Interrupted, Session, Timer
from fhir_server.store.sqlite.terms import HashText, Terms

T = TypeVar("T")

_KEPT: Final = 8  # idle connections
_THREADS: Final = 2


class Readers:
    """A pool of reading connections.

    Args:
        path: Of the file.
        vfs: As of `connect`.
        hash_text: The store's hash.
        index: Gives the values of a resource.
        timer: Returns seconds that only grow.
        seconds: What one search may take in a thread.
    """

    def __init__(
        self,
        path: str,
        vfs: str | None,
        hash_text: HashText,
        index: Callable[[Resource], Indexed],
        timer: Timer,
        seconds: float,
    ) -> None:
        self._path, self._vfs = path, vfs
        self.hash, self.index, self.timer, self.seconds = hash_text, index, timer, seconds
        self.terms = Terms()
        self._tenants: dict[str, int] = {}
        self._idle: list[Session] = []
        self._begun: list[Session] = []  # idle too, and in the state of this turn of the event loop
        self._loop = asyncio.get_running_loop()
        self.turn = 0  # grows when what is begun shows an older state than is to be seen
        self._ends_turn = False  # whether the end of the turn is waited for
        self._closed = False
        self.slow = 0  # searches that went to a thread
        self.threads = ThreadPoolExecutor(_THREADS, "sqlite-reader")

    def take(self) -> Session:
        """Return a connection that nobody uses."""
        try:
            return self._idle.pop()
        except IndexError:  # several threads take
            return Session(connect(self._path, vfs=self._vfs), self.timer, self.hash, tables=True)

    def give(self, session: Session) -> None:
        """Take a connection back."""
        if self._closed or len(self._idle) >= _KEPT:
            session.connection.close()
        else:
            self._idle.append(session)

    def begin(self) -> Session:
        """Return a connection that is in a transaction; on the event loop."""
        if self._begun:
            return self._begun.pop()
        session = self.take()
        try:
            session.connection.execute("BEGIN")
        except BaseException:
            session.connection.close()  # nobody knows in what state it is
            raise
        if not self._ends_turn:
            self._ends_turn = True
            self._loop.call_soon(self._end_turn)
        return session

    def keep(self, session: Session, turn: int) -> None:
        """Take a connection back that is in a transaction since a turn; on the event loop."""
        if turn == self.turn and not self._closed:
            self._begun.append(session)
        else:
            self.end(session)

    def end(self, session: Session) -> None:
        """Take a connection back and let go of its state."""
        try:
            if session.connection.in_transaction:
                session.connection.execute("COMMIT")
            else:
                session.forget_tables()
        except apsw.Error:
            session.connection.close()  # nobody knows in what state it is
        else:
            self.give(session)

    def renew(self) -> None:
        """Let views that begin from now on see what is committed now."""
        self.turn += 1
        while self._begun:
            self.end(self._begun.pop())

    def _end_turn(self) -> None:
        self._ends_turn = False
        self.renew()

    def tenant(self, connection: apsw.Connection, name: str) -> int:
        """Return a tenant's number, 0 where it has none."""
        found = self._tenants.get(name)
        if found is None:
            found = tenant_number(connection, name)
            if found:
                self._tenants[name] = found
        return found

    def snapshot(self, tenant: str) -> Snap:
        """Hold one state until the context is left."""
        return Snap(self, tenant)

    async def ask(self, question: Callable[[apsw.Connection], T]) -> T:
        """Answer a question in a thread, in one snapshot; raise Unavailable where the engine does not."""

        def run() -> T:
            session = self.take()
            try:
                session.connection.execute("BEGIN")
                return question(session.connection)
            except apsw.Error as error:
                raise Unavailable("The store cannot be read.") from error
            finally:
                self.end(session)

        return await asyncio.get_running_loop().run_in_executor(self.threads, run)

    async def close(self) -> None:
        """Close what is idle; what is in use closes when it is given back."""
        self._closed = True
        self.renew()
        await asyncio.get_running_loop().run_in_executor(None, self.threads.shutdown)
        while self._idle:
            self._idle.pop().connection.close()


class Snap:
    """The context of a view."""

    def __init__(self, readers: Readers, tenant: str) -> None:
        self._readers, self._tenant = readers, tenant
        self._session: Session | None = None
        self._turn = 0

    async def __aenter__(self) -> View:
        """Take a connection and begin; raise Unavailable where the engine does not."""
        readers = self._readers
        try:
            session = self._session = readers.begin()
            self._turn = readers.turn
            return SqliteView(readers, session, self._tenant)
        except BaseException as error:
            self._end(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the state; raise Unavailable where the engine failed."""
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        session, self._session = self._session, None
        if session is not None:
            if error is None:
                self._readers.keep(session, self._turn)
            else:
                self._readers.end(session)
        if isinstance(error, apsw.Error):
            raise Unavailable("The store cannot be read.") from error


class SqliteView:
    """A `store.protocol.View`; one call at a time.

    Args:
        readers: Whose connection it is.
        session: Inside a transaction.
        tenant: Name.
    """

    knows_words = True

    def __init__(self, readers: Readers, session: Session, tenant: str) -> None:
        self.tenant = tenant
        self._readers, self._session = readers, session
        number = readers.tenant(session.connection, tenant)
        self._snapshot = Snapshot(session.connection, readers.terms, number)
        self._place = Tenant(session, readers.terms, number, readers.hash, readers.index, readers.seconds)

    async def _bounded(self, work: Callable[[], T]) -> T:
        """Run work here within a small budget, or else in a thread within the large one."""
        readers, session = self._readers, self._session
        try:
            with session.budget(None):
                return work()
        except Interrupted:
            readers.slow += 1

        def run() -> T:
            with session.budget(readers.seconds):
                return work()

        task = asyncio.get_running_loop().run_in_executor(readers.threads, run)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # The connection goes back to the pool only when the thread has let go of it.
            session.connection.interrupt()
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            task.exception()
            raise

    async def read(self, type: str, id: str) -> Version | None:
        """Return the newest version, a deletion included; None when the id was never used."""
        return self._snapshot.read(type, id)

    async def vread(self, type: str, id: str, version: int) -> Version | None:
        """Return that version, or None."""
        return self._snapshot.vread(type, id, version)

    async def search(self, query: Query, *, see: Visibility = EVERYTHING) -> Found:
        """Return a page of what matches and may be seen."""
        return await self._bounded(lambda: Search(self._place, query.types, query.where, see).page(query))

    async def count(self, types: tuple[str, ...], where: Sequence[Clause], *, see: Visibility = EVERYTHING) -> int:
        """Return how many resources match and may be seen."""
        return await self._bounded(lambda: Search(self._place, types, where, see).count())

    async def explain(self, query: Query, *, see: Visibility = EVERYTHING) -> dict[str, object]:
        """Return how a search would be run, as JSON."""
        return await self._bounded(lambda: Search(self._place, query.types, query.where, see).explain(query))

    async def log(self, *, after: int = 0, limit: int = 1000) -> list[Version]:
        """Return versions of all types with seq > after, oldest first."""
        return await self._bounded(lambda: self._snapshot.log(after, limit))

    async def history(self, query: HistoryQuery, *, see: Visibility = EVERYTHING) -> tuple[list[Version], int]:
        """Return a page of versions, newest first, and the total number."""
        return await self._bounded(lambda: History(self._place, query, see).page())

    async def record(self, kind: str, key: str) -> Record | None:
        """Return a room's row, or None."""
        return self._snapshot.record(kind, key)

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
        return self._snapshot.records(kind, state, lane, after, before, limit)

    async def record_kinds(self) -> list[str]:
        """Return the kinds of rooms' rows that there are, sorted."""
        return await self._bounded(self._snapshot.record_kinds)

    async def epoch(self) -> int:
        """Return the tenant's guard epoch."""
        return self._snapshot.epoch()

    async def audits(self, *, patient: str = "", after: int = 0, limit: int = 100) -> list[tuple[int, AuditRow]]:
        """Return (seq, row) with seq > after, oldest first."""
        return await self._bounded(lambda: self._snapshot.audits(patient, after, limit))
