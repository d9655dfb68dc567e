"""The one writer of a process: units of work wait in a queue, all that wait share one commit.

Units run on the event loop, where a statement costs no fight for Python's global lock; COMMIT, which waits for
the disk, runs in a thread. Meanwhile the next batch gathers by itself, so nothing is delayed to wait for company.
One unit alone on a quick disk is committed on the event loop: the way to the thread and back would take longer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import apsw

from fhir_server.errors import Unavailable
from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import AuditRow, Meanwhile
from fhir_server.store.sqlite import audit
from fhir_server.store.sqlite import connection as connections
from fhir_server.store.sqlite.batch import Batch, Repeat
from fhir_server.store.sqlite.job import Job
from fhir_server.store.sqlite.keeper import Keeper
from fhir_server.store.sqlite.known import Known
from fhir_server.store.sqlite.reading import write_audit
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.transaction import SqliteTransaction
from fhir_server.store.sqlite.unit import Unit

_log = logging.getLogger(__name__)

MOST_UNITS: Final = 256  # of a batch
MOST_AUDITS: Final = 50_000  # rows that wait for a commit
_AUDIT_WAIT_S: Final = 0.02  # how long audit rows wait for a unit to share their commit
_RETRY_S: Final = 1.0  # between two tries to write what the disk or another process refused
_LOOK_MS: Final = 200  # how long such a try waits for another process
_SHARED_S: Final = 2.0  # after another process wrote, how long it is taken to go on
_LOCK_MS: Final = 8  # that the engine waits for a lock before it is asked anew; it looks after 1, 3 and 8 of them
_TURN_S: Final = 0.005  # how long the lock is left to others then
_INLINE_ROWS: Final = 3_000  # that are written on the event loop, in about 2 ms
_QUICK_S: Final = 0.000_7  # what a commit may take on the event loop, which answers nobody meanwhile
_FORGETTING: Final = 0.95  # a slow commit is remembered: 2 ms for the next 20

BROKEN: Final = "The store had an error of its disk and must be opened again."

_REFUSED: Final = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.NoMemError,
    apsw.ReadOnlyError,
)
"""What the engine or its disk may answer to a right statement."""


class Writer:
    """Has the writing connection; lives in the event loop that makes it.

    Args:
        session: Its connection from now on.
        known: What it knows of the file.
        index: Gives the values of a resource.
        clock: Returns microseconds since 1970.
        audit_key: Signs the head of the audit chain.
        keeper: Called as the WAL grows.
        seconds: What one search in a unit may take.
        committed: Called after commits, before anybody is told of them.
    """

    def __init__(
        self,
        session: Session,
        known: Known,
        index: Callable[[Resource], Indexed],
        clock: Callable[[], int],
        audit_key: bytes,
        keeper: Keeper,
        seconds: float,
        committed: Callable[[], None],
    ) -> None:
        self._committed = committed
        self._session, self._connection, self._known = session, session.connection, known
        self._index, self._clock, self._audit_key, self._seconds = index, clock, audit_key, seconds
        self._keeper, self._pages = keeper, 0
        self._connection.set_wal_hook(self._note_wal)
        self._thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._units: deque[Unit] = deque()
        self._audits: deque[tuple[str, str]] = deque()  # tenant, row as it is written
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = self._failed = False
        self._committing = False  # whether the thread waits for the disk
        self._stuck = False  # whether audit rows could not be written
        self._slowest = 1.0  # of the last commits, in seconds; the first are waited for in the thread
        self._erased = known.has_erased(self._connection)  # whether the WAL may hold what was erased
        self._empty_after = 0.0  # when it is tried to empty it
        self._changes = known.changes
        self._shared_until = self._released = 0.0  # until when others are taken to write; when the lock was let go

    @property
    def healthy(self) -> bool:
        """Whether the disk has not failed yet."""
        return not self._failed and not self._keeper.failed

    @property
    def ready(self) -> bool:
        """Whether what comes now is likely to be written: neither is the disk full nor the file locked."""
        return self.healthy and not self._stuck

    # --- what comes in -------------------------------------------------------------------------------------

    def submit(self, unit: Unit) -> None:
        """Let a unit wait for the next batch; raise Unavailable when there will be none."""
        self._check()
        self._units.append(unit)
        self._wake()

    def audit(self, tenant: str, row: AuditRow) -> None:
        """Let a row wait for the next batch; raise Unavailable when there will be none."""
        self._check()
        if self._stuck or len(self._audits) >= MOST_AUDITS:
            raise Unavailable("The access cannot be audited now.")
        self._audits.append((tenant, write_audit(tenant, row)))
        self._wake_later(_AUDIT_WAIT_S)

    def _check(self) -> None:
        if not self.healthy:
            raise Unavailable(BROKEN)
        if self._ending:
            raise Unavailable("The store is closed.")

    def _wake_later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._task = self._loop.create_task(self._run())

    async def end(self) -> None:
        """Finish what was accepted, then close the connection."""
        self._ending = True
        self._wake()
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._timer is not None:
            self._timer.cancel()
        self._give_up()
        self._thread.shutdown()
        self._connection.close()

    # --- batches -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        looked = False
        try:
            if not self._units and not self._audits:
                looked = await self._look()
                await self._tidy()  # what could not be done before
            while self._units or self._audits:
                await self._take_turns()
                units = [self._units.popleft() for _ in range(min(len(self._units), MOST_UNITS))]
                await self._batch(units)
                self._released = self._loop.time()
                self._committed()
                await self._empty()
                for unit in units:
                    unit.answer()
                await self._tidy()
                if not self._units and (self._stuck or not self._ending):
                    break  # rows that came meanwhile wait for company, so that reads do not meet a commit each
        finally:
            self._task = None
            if (self._audits or self._erased or self._stuck) and not self._ending and self.healthy:
                is_soon = bool(self._audits) != self._stuck and not looked  # rows, or the first look
                self._wake_later(_AUDIT_WAIT_S if is_soon else _RETRY_S)

    async def _take_turns(self) -> None:
        """Leave the lock to other processes for a moment, else the busiest one would have it again and again."""
        now = self._loop.time()
        if self._known.changes != self._changes:
            self._changes, self._shared_until = self._known.changes, now + _SHARED_S
        if now < self._shared_until and (rest := self._released + _TURN_S - now) > 0:
            await asyncio.sleep(rest)

    async def _look(self) -> bool:
        """Find out whether a refused file can be written again, without which no read is audited; return whether asked.

        It is told by a small write that changes nothing.
        """
        if not self._stuck or not self.healthy:
            return False
        try:
            await self._loop.run_in_executor(self._thread, self._touch)
            self._stuck = False
        except _REFUSED as error:
            self._fail([], [], error)
        return True

    def _touch(self) -> None:
        self._connection.set_busy_timeout(_LOOK_MS)
        self._connection.execute("BEGIN IMMEDIATE; UPDATE secret SET value = value; COMMIT").fetchall()

    async def _tidy(self) -> None:
        """Do what no unit waits for: have the WAL copied into the file, list whom audit rows tell of."""
        if not self.healthy:
            return
        await self._empty()
        if self._keeper.call(self._pages):
            await self._loop.run_in_executor(self._thread, self._keeper.checkpoint)
        known = self._known
        if known.head.seq - known.listed >= audit.MANY:
            try:
                known.listed = await self._loop.run_in_executor(self._thread, audit.index_patients, self._connection)
            except _REFUSED as error:
                self._undo()
                _log.warning("audit rows are not listed by patient: %s", type(error).__name__)

    async def _empty(self) -> None:
        """Empty the WAL where it may hold what was erased; where readers are in the way, again a second later."""
        if self._erased and self.healthy and self._loop.time() >= self._empty_after:
            if await self._loop.run_in_executor(self._thread, self._keeper.empty):
                self._erased = False
            self._empty_after = self._loop.time() + _RETRY_S

    async def _batch(self, units: list[Unit]) -> None:
        """Run units and waiting audit rows in one transaction; each unit has its result or error then."""
        if not self.healthy:
            self._give_up()
            for unit in units:
                unit.error = Unavailable(BROKEN)
            return
        units = [unit for unit in units if not unit.future.cancelled()]
        rows = [self._audits.popleft() for _ in range(len(self._audits))]
        try:
            try:
                await self._transact(units, rows, careful=False)
            except Repeat:
                self._undo()
                await self._transact(units, rows, careful=True)
            self._stuck = False
        except _REFUSED as error:
            self._fail(units, rows, error)
        except Exception as error:  # a fault of ours: find whose unit it is, and let the others pass
            self._undo()
            self._audits.extendleft(reversed(rows))
            if len(units) > 1:
                for unit in units:
                    await self._batch([unit])
            elif units:
                units[0].error = error
            else:
                self._stuck = True
                _log.error("audit rows cannot be written: %s", type(error).__name__)
        except BaseException:  # the loop ends, perhaps in the middle of a commit
            self._failed = True
            for unit in units:
                unit.error = Unavailable("The store is closed.")
            raise

    async def _transact(self, units: list[Unit], rows: list[tuple[str, str]], *, careful: bool) -> None:
        await self._begin()
        batch = Batch(self._session, self._known, self._audit_key, careful=careful)
        if rows:  # they were there before the units
            batch.begin_unit(self._clock)
            batch.lists["audit"] += [(batch.tenant(tenant), body) for tenant, body in rows]
            batch.end_unit()
        for unit in units:
            await self._perform(batch, unit)
        if batch.waiting > _INLINE_ROWS:
            await self._loop.run_in_executor(self._thread, batch.finish)
        else:
            batch.finish()
        if batch.wrote and not self._is_quick(units):
            self._committing = True
            commit = self._loop.run_in_executor(self._thread, self._commit)
            for run in batch.meanwhile:
                self._use(run)
            await commit
        else:
            self._commit()
        if batch.erased:
            self._erased, self._empty_after = True, 0.0
            self._connection.execute(connections.SECURE_DELETE).fetchall()
        self._known.trim()

    async def _begin(self) -> None:
        """Take the file's write lock; where another process has it, wait for that in the thread."""
        self._session.rest()
        try:
            self._connection.set_busy_timeout(0)
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            await self._loop.run_in_executor(self._thread, self._wait)

    def _wait(self) -> None:
        """Take the lock as soon as it is free.

        The engine looks more and more rarely, every 100 ms in the end, and others are there before it. It looks
        without Python's global lock, for which this thread waits long while many read.
        """
        self._connection.set_busy_timeout(_LOCK_MS)
        end = time.monotonic() + connections.BUSY_MS / 1000
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except apsw.BusyError:
                if time.monotonic() > end:
                    raise

    def _is_quick(self, units: list[Unit]) -> bool:
        """Whether to wait for the disk here: one unit, nobody behind it, and the last commits were quick."""
        return len(units) == 1 and not self._units and self._slowest <= _QUICK_S

    def _use(self, run: Meanwhile) -> None:
        """Use the time until the disk answers."""
        try:
            run(self._is_committing)
        except Exception as error:  # a supervisor: the commit has nothing to do with it
            _log.error("what was to be done meanwhile failed: %s", type(error).__name__)

    def _is_committing(self) -> bool:
        return self._committing

    def _commit(self) -> None:
        began = time.perf_counter()
        try:
            self._connection.execute("COMMIT")
        finally:
            self._committing = False
        self._slowest = max(time.perf_counter() - began, self._slowest * _FORGETTING)

    async def _perform(self, batch: Batch, unit: Unit) -> None:
        """Run one unit; what it raises undoes it alone."""
        if self._session.is_tired():
            await self._breathe()
        now = batch.begin_unit(self._clock)
        await unit.run(SqliteTransaction(batch, unit.tenant, self._index, now), self._done)
        if not self._connection.in_transaction:
            # The engine undid everything; the unit may have caught its error.
            raise apsw.IOError("the transaction is gone")
        if unit.error is None:
            batch.end_unit()
        else:
            batch.undo_unit()

    async def _done(self, job: Job) -> Any:
        """Do what a unit asks for."""
        work = job.run
        if work is None:
            return await self._breathe()

        def bounded() -> Any:
            with self._session.budget(self._seconds):
                return work()

        return await self._loop.run_in_executor(self._thread, bounded)

    async def _breathe(self) -> None:
        await asyncio.sleep(0)
        self._session.rest()

    def _fail(self, units: list[Unit], rows: list[tuple[str, str]], error: BaseException) -> None:
        """Undo a batch that the engine refused: nothing of it is acknowledged."""
        self._undo()
        if isinstance(error, (apsw.BusyError, apsw.LockedError)):
            reason = "Another process keeps the store locked."
        elif isinstance(error, apsw.FullError):
            reason = "The disk is full."
        else:
            # After a failed sync the kernel may have dropped the pages; only a fresh start knows what is there.
            # https://wiki.postgresql.org/wiki/Fsync_Errors
            self._failed, reason = True, BROKEN
        _log.error("commit failed: %s, %d units", type(error).__name__, len(units))
        self._stuck = True
        self._audits.extendleft(reversed(rows))
        for unit in units:
            unit.error = Unavailable(reason)

    def _give_up(self) -> None:
        """Say how many rows wait that can never be written."""
        if self._audits:
            _log.error("%d audit rows are lost: the store cannot be written to", len(self._audits))
            self._audits.clear()

    def _undo(self) -> None:
        self._known.forget()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as error:
                self._failed = True
                _log.error("rollback failed: %s", type(error).__name__)

    def _note_wal(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK
