"""The writer of one tenant in one process: units wait in a queue, all that wait share one commit.

Batches of several processes follow each other by the lease; the commit's number keeps them apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from pymongo.errors import PyMongoError

from fhir_server.errors import TooLarge, Unavailable
from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.store.mongo.audit import write_row
from fhir_server.store.mongo.batch import Batch, Repeat
from fhir_server.store.mongo.commit import BROKEN, Lost, settle, take
from fhir_server.store.mongo.connection import Database
from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.lease import Lease
from fhir_server.store.mongo.presence import UNREACHABLE
from fhir_server.store.mongo.transaction import MongoTransaction
from fhir_server.store.mongo.unit import Unit
from fhir_server.store.protocol import AuditRow

_log = logging.getLogger(__name__)

MOST_UNITS: Final = 256  # of a batch
MOST_BYTES: Final = 8_000_000  # of bodies and audit rows after which no further unit joins a batch
MOST_S: Final = 0.25  # after which none does
MOST_AUDITS: Final = 50_000  # rows that wait for a commit
MOST_ROWS: Final = 5_000  # waiting rows that one commit takes ...
MOST_ROW_BYTES: Final = 4_000_000  # ... and their bytes: a document holds 16 MB
MOST_TRIES: Final = 4  # to put a commit in place
MOST_RUNS: Final = 50  # of a batch that others overtake
MOST_ROW: Final = 3_000_000  # characters of one row, each of which may be four bytes
_AUDIT_WAIT_S: Final = 0.05  # how long audit rows wait for a unit to share their commit
_RETRY_S: Final = 1.0

Row: TypeAlias = tuple[str, AuditRow]
"""An audit row, as it is written and as it came."""


class Lane:
    """Writes for one tenant; lives in the event loop that makes it.

    Args:
        database: The collections.
        tenant: Name.
        lease: Of this tenant and process.
        index: Gives the values of a resource.
        clock: Returns microseconds since 1970.
        audit_key: Signs the end of the audit chain.
        seconds: What one statement may take.
    """

    def __init__(
        self,
        database: Database,
        tenant: str,
        lease: Lease,
        index: Callable[[Resource], Indexed],
        clock: Callable[[], int],
        audit_key: bytes,
        seconds: float,
    ) -> None:
        self._database, self._tenant, self._lease = database, tenant, lease
        self._index, self._clock, self._key, self._seconds = index, clock, audit_key, seconds
        self._units: deque[Unit] = deque()
        self._audits: deque[Row] = deque()
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = self._stuck = False
        self._now = 0  # of the last unit, also where it wrote nothing

    @property
    def healthy(self) -> bool:
        """Whether the last batch found the server."""
        return not self._stuck

    # --- what comes in -------------------------------------------------------------------------------------

    def submit(self, unit: Unit) -> None:
        """Let a unit wait for the next batch; raise Unavailable when there will be none."""
        self._check()
        self._units.append(unit)
        self._wake()

    def audit(self, row: AuditRow) -> None:
        """Let a row wait for the next batch.

        Raises:
            Unavailable: There will be none.
            TooLarge: None holds it.
        """
        self._check()
        if self._stuck or len(self._audits) >= MOST_AUDITS:
            raise Unavailable("The access cannot be audited now.")
        body = write_row(self._tenant, row)
        if len(body) > MOST_ROW:
            raise TooLarge("What is asked is too long to be audited.")
        self._audits.append((body, row))
        if self._task is None and self._timer is None:
            self._timer = self._loop.call_later(_AUDIT_WAIT_S, self._wake)

    def _check(self) -> None:
        if self._ending:
            raise Unavailable("The store is closed.")

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._task = self._loop.create_task(self._run())

    async def end(self) -> None:
        """Finish what was accepted."""
        self._ending = True
        self._wake()
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._audits:
            _log.error("%d audit rows are lost: the server is not there at the end", len(self._audits))

    # --- batches -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._empty()
            while self._stuck and not self._audits:
                await self._look()
                if not self._units:
                    break
                await self._empty()  # of what came while it looked
        finally:
            self._task = None
            if (self._audits or self._stuck) and not self._ending:
                self._timer = self._loop.call_later(_RETRY_S if self._stuck else _AUDIT_WAIT_S, self._wake)

    async def _empty(self) -> None:
        """Serve what waits."""
        while self._units or self._audits:
            units = [self._units.popleft() for _ in range(min(len(self._units), MOST_UNITS))]
            await self._serve(units, self._rows())
            if not self._units and (self._stuck or not self._ending):
                break  # rows that came meanwhile wait for company

    def _rows(self) -> list[Row]:
        """Take as many waiting rows as one commit takes."""
        taken: list[Row] = []
        size = 0
        while self._audits and len(taken) < MOST_ROWS and size < MOST_ROW_BYTES:
            taken.append(self._audits.popleft())
            size += len(taken[-1][0].encode())
        return taken

    async def _look(self) -> None:
        """Find out whether the server is there again, so that the hub says ready without a write."""
        try:
            await self._database.client.admin.command("ping")
            self._stuck = False
        except PyMongoError as error:
            _log.debug("the server is still not there: %s", type(error).__name__)

    async def _serve(self, units: list[Unit], rows: list[Row]) -> None:
        """Run units and rows until each is answered."""
        try:
            units = [unit for unit in units if not unit.future.cancelled()]
            while units or rows:
                done = await self._batch(units, rows)
                units, rows = units[done:], []
            self._stuck = False
        except (PyMongoError, Unavailable) as error:
            _log.error("commit failed: %s, %d units", type(error).__name__, len(units))
            self._stuck = True
            self._audits.extendleft(reversed(rows))
            for unit in units:
                unit.error = Unavailable(UNREACHABLE)
                unit.answer()
        except Exception as error:  # a fault of ours: find whose unit it is, and let the others pass
            await self._part(units, rows, error)
        except BaseException:  # the loop ends: nobody may wait for ever
            for unit in units:
                unit.error = Unavailable("The store is closed.")
                unit.answer()
            raise

    async def _part(self, units: list[Unit], rows: list[Row], error: Exception) -> None:
        if units and (rows or len(units) > 1):
            await self._serve([], rows)
            for unit in units:
                await self._serve([unit], [])
        elif units:
            units[0].error = error
            units[0].answer()
        else:
            self._stuck = True
            self._audits.extendleft(reversed(rows))
            _log.error("audit rows cannot be written: %s", type(error).__name__)

    async def _batch(self, units: list[Unit], rows: list[Row]) -> int:
        """Commit rows and as many of the units as one batch takes; return how many."""
        careful = False
        for _ in range(MOST_RUNS):
            head = await self._lease.take()
            try:
                async with self._renewed():
                    batch = Batch(self._database, self._tenant, head, self._index, self._seconds, careful=careful)
                    done = await self._fill(batch, units, rows)
                    await self._commit(batch, rows)
                for unit in units[:done]:
                    unit.answer()  # before the lease is handed on, which they need not wait for
                return done
            except Repeat:
                careful = True
            except Lost:
                _log.debug("another process committed first")
            finally:
                await self._release()
        raise Unavailable("Others write too much: try again.")

    async def _release(self) -> None:
        """Hand on the lease; where that fails it ends by itself, and what was committed is so all the same."""
        try:
            await self._lease.release()
        except PyMongoError as error:
            _log.warning("the lease could not be handed on: %s", type(error).__name__)

    @asynccontextmanager
    async def _renewed(self) -> AsyncIterator[None]:
        ended = asyncio.Event()
        renewing = self._loop.create_task(self._lease.renew(ended))
        try:
            yield
        finally:
            ended.set()
            with contextlib.suppress(PyMongoError):
                await renewing

    async def _fill(self, batch: Batch, units: list[Unit], rows: list[Row]) -> int:
        if rows:  # they were there before the units
            batch.begin_unit(self._time)
            for body, row in rows:
                batch.add_row(body, row)
        end = self._loop.time() + MOST_S
        done = 0
        for unit in units:
            if done and (batch.size > MOST_BYTES or self._loop.time() > end):
                break
            now = self._now = batch.begin_unit(self._time)
            await unit.run(MongoTransaction(batch, now))
            if batch.broken is not None:
                raise batch.broken
            if unit.error is not None:
                batch.undo_unit()
            done += 1
        return done

    def _time(self) -> int:
        return max(self._clock(), self._now + 1)

    async def _commit(self, batch: Batch, rows: list[Row]) -> None:
        """Commit a batch; of what is committed no row is left in `rows`, whatever happens then."""
        if batch.is_empty:
            await batch.forget()
            return
        try:
            commit = await batch.finish(self._key)
            await take(self._database, commit)
        except (Lost, Repeat, TooLarge):
            await batch.forget()
            raise
        rows.clear()
        await self._settle(commit)

    async def _settle(self, commit: Document) -> None:
        """Put a commit in place; it is made, so a broken connection is no reason to give up at once."""
        for tried in range(1, MOST_TRIES + 1):
            try:
                await settle(self._database, commit)
                return
            except BROKEN:
                if tried == MOST_TRIES:
                    raise
                await asyncio.sleep(0.1 * 2**tried)
