"""The one writer of a process: units of work wait in a queue, all that wait share one commit.

While a commit waits for the disk the next batch gathers by itself, so nothing is delayed to wait for company.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

import apsw

from fhir_server.errors import Unavailable
from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import AuditRow, Transaction
from fhir_server.store.sqlite.audit import index_patients
from fhir_server.store.sqlite.batch import Batch, Repeat
from fhir_server.store.sqlite.keeper import Keeper
from fhir_server.store.sqlite.reading import write_audit
from fhir_server.store.sqlite.rows import RowMaker
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.terms import HashText, Terms
from fhir_server.store.sqlite.transaction import SqliteTransaction

_log = logging.getLogger(__name__)

MOST_UNITS: Final = 256  # of a batch
MOST_AUDITS: Final = 50_000  # rows that wait for a commit
_AUDIT_WAIT_S: Final = 0.02  # how long audit rows wait for a unit to share their commit

_RETRY_S: Final = 1.0  # between two tries to write audit rows that the disk refused

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


@dataclass(slots=True)
class Unit:
    """A unit of work that waits for its answer."""

    tenant: str
    work: Callable[[Transaction], Awaitable[Any]]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    context: contextvars.Context
    result: Any = None
    error: BaseException | None = None


class Writer:
    """A thread with the writing connection.

    Args:
        session: Its connection from now on.
        hash_text: The store's hash.
        index: Gives the values of a resource.
        clock: Returns microseconds since 1970.
        audit_key: Signs the head of the audit chain.
        keeper: Called as the WAL grows.
    """

    def __init__(
        self,
        session: Session,
        hash_text: HashText,
        index: Callable[[Resource], Indexed],
        clock: Callable[[], int],
        audit_key: bytes,
        keeper: Keeper,
    ) -> None:
        self._keeper, self._pages = keeper, 0
        session.connection.set_wal_hook(self._note_wal)
        self._session, self._connection = session, session.connection
        self._hash, self._index, self._clock = hash_text, index, clock
        self._audit_key = audit_key
        self._terms, self._rows = Terms(), RowMaker(hash_text)
        self._now = 0
        self._queue: SimpleQueue[Unit | None] = SimpleQueue()  # None: look at the audit rows, or at the end
        self._audits: deque[tuple[str, str]] = deque()  # tenant, row as it is written
        self._woken = self._ending = False
        self._stuck = False  # whether audit rows could not be written
        self._failed = False
        self._thread = Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether the disk has not failed yet."""
        return not self._failed and not self._keeper.failed

    # --- from the event loop -------------------------------------------------------------------------------

    def submit(self, unit: Unit) -> None:
        """Let a unit wait for the next batch; raise Unavailable when there will be none."""
        self._check()
        self._queue.put(unit)

    def audit(self, tenant: str, row: AuditRow) -> None:
        """Let a row wait for the next batch; raise Unavailable when there will be none."""
        self._check()
        if self._stuck or len(self._audits) >= MOST_AUDITS:
            raise Unavailable("The access cannot be audited now.")
        self._audits.append((tenant, write_audit(tenant, row)))
        if not self._woken:
            self._woken = True
            self._queue.put(None)

    def _check(self) -> None:
        if not self.healthy:
            raise Unavailable(BROKEN)
        if self._ending:
            raise Unavailable("The store is closed.")

    def end(self) -> None:
        """Finish what was accepted, then let the thread end and close its connection; returns when it has."""
        self._ending = True
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    # --- in the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not (self._ending and self._queue.empty() and (self._stuck or not self._audits)):
            units = self._wait()
            self._woken = False
            if units or self._audits:
                self._batch(units)
                self._answer(units)
                self._tidy()

    def _wait(self) -> list[Unit]:
        """Return all units that wait, once there is one, or audit rows waited long enough."""
        units: list[Unit] = []
        try:
            if self._ending:
                first = self._queue.get_nowait()
            else:
                first = self._queue.get(timeout=_RETRY_S if self._audits else None)
                if first is None and not self._ending:
                    first = self._queue.get(timeout=_AUDIT_WAIT_S)
            while True:
                if first is not None:
                    units.append(first)
                if len(units) >= MOST_UNITS:
                    return units
                first = self._queue.get_nowait()
        except Empty:
            return units

    def _batch(self, units: list[Unit]) -> None:
        """Run units and waiting audit rows in one transaction."""
        if not self.healthy:
            for unit in units:
                unit.error = Unavailable(BROKEN)
            return
        units = [unit for unit in units if not unit.future.cancelled()]
        audits = [self._audits.popleft() for _ in range(len(self._audits))]
        try:
            try:
                self._transact(units, audits, careful=False)
            except Repeat:
                self._undo()
                self._transact(units, audits, careful=True)
            self._stuck = False
        except _REFUSED as error:
            self._fail(units, audits, error)
        except BaseException as error:  # a fault of ours: find whose unit it is, and let the others pass
            self._undo()
            self._audits.extendleft(reversed(audits))
            if len(units) > 1:
                for unit in units:
                    self._batch([unit])
            elif units:
                units[0].error = error
            else:
                self._stuck = True
                _log.error("audit rows cannot be written: %s", type(error).__name__)

    def _transact(self, units: list[Unit], audits: list[tuple[str, str]], *, careful: bool) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        batch = Batch(self._session, self._terms, self._rows, self._hash, self._now, self._audit_key, careful=careful)
        if audits:  # they were there before the units
            batch.begin_unit(self._clock)
            batch.lists["audit"] += [(batch.tenant(tenant), body) for tenant, body in audits]
            batch.end_unit()
        for unit in units:
            self._perform(batch, unit)
        self._now = batch.last_now
        batch.finish()
        self._connection.execute("COMMIT")

    def _perform(self, batch: Batch, unit: Unit) -> None:
        """Run one unit; what it raises undoes it alone."""
        now = batch.begin_unit(self._clock)
        unit.error = None
        transaction = SqliteTransaction(batch, unit.tenant, self._index, now)
        try:
            unit.result = unit.context.run(lambda: drive(unit.work(transaction)))
        except (apsw.Error, Repeat):
            raise  # of the whole batch
        except BaseException as error:  # whatever it is belongs to the caller
            unit.error = error
            batch.undo_unit()
        else:
            batch.end_unit()

    def _fail(self, units: list[Unit], audits: list[tuple[str, str]], error: BaseException) -> None:
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
        self._audits.extendleft(reversed(audits))
        for unit in units:
            unit.error = Unavailable(reason)

    def _undo(self) -> None:
        self._terms = Terms()
        self._rows.forget()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as error:
                self._failed = True
                _log.error("rollback failed: %s", type(error).__name__)

    def _tidy(self) -> None:
        """Do what no unit waits for: list whom audit rows tell of, have the WAL copied into the file."""
        if not self.healthy:
            return
        try:
            while index_patients(self._connection):
                if not self._queue.empty():
                    break
        except _REFUSED as error:
            self._undo()
            _log.warning("audit rows are not listed by patient: %s", type(error).__name__)
        self._keeper.call(self._pages)

    def _note_wal(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _answer(self, units: list[Unit]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[Unit]] = {}
        for unit in units:
            loops.setdefault(unit.loop, []).append(unit)
        for loop, waiting in loops.items():
            try:
                loop.call_soon_threadsafe(_resolve, waiting)
            except RuntimeError:
                _log.warning("%d units were done after their event loop was closed", len(waiting))


def drive(work: Awaitable[Any]) -> Any:
    """Run an awaitable that never suspends; raise RuntimeError when it does."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    steps.close()
    raise RuntimeError("Work in a transaction may await nothing but the transaction's methods.")


def _resolve(units: list[Unit]) -> None:
    for unit in units:
        if unit.future.done():
            continue
        if unit.error is not None:
            unit.future.set_exception(unit.error)
        else:
            unit.future.set_result(unit.result)
