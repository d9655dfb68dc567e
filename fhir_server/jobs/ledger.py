"""The steps of a job's life, each one transaction: exactly one process runs a job, and a lost one stops writing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from fhir_server.errors import Throttled
from fhir_server.jobs import job as jobs
from fhir_server.jobs.job import CANCELLED, INPUT, JOB, OPEN, OUTPUT, QUEUED, RUNNING, Job
from fhir_server.jobs.process import is_gone
from fhir_server.store.protocol import Store, Transaction, View

LEASE_S: Final = 20  # seconds that a process has a job without saying that it lives
MOST_OPEN: Final = 20  # jobs of one caller that have not ended
_LISTED: Final = 1_000
_DROPPED: Final = 64  # pieces removed in one transaction

T = TypeVar("T")


class Stopped(Exception):
    """The job is no longer this process's: cancelled, or taken over after its lease ended."""


class Ledger:
    """Jobs in a store.

    Args:
        store: Where they are kept.
        clock: Returns microseconds since 1970.
        me: The name of this process (`process.own_name`).
    """

    def __init__(self, store: Store, clock: Callable[[], int], me: str) -> None:
        self._store, self._clock, self._me = store, clock, me

    async def add(self, job: Job) -> None:
        """Keep a new job; raise Throttled where its caller has too many that have not ended."""

        async def work(tx: Transaction) -> None:
            same = [other for other in await listed(tx, OPEN) if _caller(other) == _caller(job)]
            if len(same) >= MOST_OPEN:
                raise Throttled(f"The caller has {MOST_OPEN} jobs that have not ended; cancel one, or wait.")
            await _put(tx, job)

        await self._store.transact(job.tenant, work)

    async def find(self, tenant: str, id: str) -> Job | None:
        """Return a job, or None."""
        async with self._store.view(tenant) as view:
            record = await view.record(JOB, id)
        return None if record is None else jobs.read(record.body)

    async def in_states(self, tenant: str, states: Sequence[str]) -> list[Job]:
        """Return jobs in any of these states, oldest first."""
        async with self._store.view(tenant) as view:
            return await listed(view, states)

    async def claim(self, tenant: str, kinds: frozenset[str]) -> Job | None:
        """Take the oldest job that nobody runs; it is this process's then."""
        waiting = [job for job in await self.in_states(tenant, (QUEUED, RUNNING)) if self._is_free(job, kinds)]
        for seen in waiting:

            async def work(tx: Transaction, id: str = seen.id) -> Job | None:
                record = await tx.record(JOB, id)
                job = jobs.read(record.body) if record is not None else None
                if job is None or not self._is_free(job, kinds):
                    return None
                job.state, job.started, job.attempts = RUNNING, job.started or tx.now, job.attempts + 1
                job.lease_by, job.lease_until = self._me, self._clock() + LEASE_S * 1_000_000
                await _put(tx, job)
                return job

            if (taken := await self._store.transact(tenant, work)) is not None:
                return taken
        return None

    def _is_free(self, job: Job, kinds: frozenset[str]) -> bool:
        if job.kind not in kinds:
            return False
        now = self._clock()
        if job.state == QUEUED:
            return job.not_before <= now
        return job.state == RUNNING and (job.lease_until <= now or is_gone(job.lease_by))

    async def change(
        self,
        job: Job,
        change: Callable[[Job], None],
        *,
        pieces: Sequence[tuple[str, str, str, bytes]] = (),
        work: Callable[[Transaction], Awaitable[T]] | None = None,
    ) -> tuple[Job, T | None]:
        """Change a job that this process runs, in one transaction with rows and work of its own.

        Args:
            job: As it was read.
            change: Changes the copy that is kept; called once for each run of the transaction.
            pieces: Rows to put: kind, key, lane, body.
            work: What else is done in the transaction.

        Raises:
            Stopped: The job is not this process's any more; nothing is changed.
        """

        async def run(tx: Transaction) -> tuple[Job, T | None]:
            record = await tx.record(JOB, job.id)
            current = jobs.read(record.body) if record is not None else None
            if current is None or current.state != RUNNING or current.lease_by != self._me:
                raise Stopped
            made = None if work is None else await work(tx)
            current.lease_until = self._clock() + LEASE_S * 1_000_000
            change(current)
            for kind, key, lane, body in pieces:
                await tx.put_record(kind, key, "", body, lane=lane)
            await _put(tx, current)
            return current, made

        return await self._store.transact(job.tenant, run)

    async def receive(self, job: Job, number: int, body: bytes) -> None:
        """Keep a piece of what a job is to work on."""

        async def work(tx: Transaction) -> None:
            await tx.put_record(INPUT, f"{job.id}/{number:08d}", "", body, lane=job.id)

        await self._store.transact(job.tenant, work)

    async def replace(self, job: Job) -> None:
        """Keep a job that nobody runs as it is now."""

        async def work(tx: Transaction) -> None:
            await _put(tx, job)

        await self._store.transact(job.tenant, work)

    async def cancel(self, tenant: str, id: str, expires: int) -> bool:
        """End a job where it stands and remove what it made; False where there is none."""

        async def work(tx: Transaction) -> Job | None:
            record = await tx.record(JOB, id)
            if record is None or record.state == CANCELLED:
                return None
            job = jobs.read(record.body)
            job.state, job.ended, job.expires = CANCELLED, tx.now, expires
            await _put(tx, job)
            return job

        found = await self._store.transact(tenant, work)
        if found is not None:
            await self.clear(found)
        return found is not None

    async def keys(self, tenant: str, kind: str, lane: str) -> list[tuple[str, str]]:
        """Return (kind, key) of every row of a lane."""
        made: list[tuple[str, str]] = []
        after = 0
        while True:
            async with self._store.view(tenant) as view:
                records = await view.records(kind, lane=lane, after=after, limit=_DROPPED)
            made += [(kind, record.key) for record in records]
            if len(records) < _DROPPED:
                return made
            after = records[-1].seq

    async def clear(self, job: Job) -> None:
        """Remove every piece of a job, some at a time."""
        for kind, lane in [(INPUT, job.id), *((OUTPUT, f"{job.id}/{o.number}") for o in job.outputs)]:
            while True:
                async with self._store.view(job.tenant) as view:
                    keys = [record.key for record in await view.records(kind, lane=lane, limit=_DROPPED)]
                if not keys:
                    break

                async def work(tx: Transaction, kind: str = kind, keys: list[str] = keys) -> None:
                    for key in keys:
                        await tx.drop_record(kind, key)

                await self._store.transact(job.tenant, work)

    async def forget(self, job: Job) -> None:
        """Remove a job and all it made."""
        await self.clear(job)

        async def work(tx: Transaction) -> None:
            await tx.drop_record(JOB, job.id)

        await self._store.transact(job.tenant, work)


def _caller(job: Job) -> tuple[str, str, str, str]:
    return job.subject, job.reference, job.patient, job.client


async def _put(tx: Transaction, job: Job) -> None:
    await tx.put_record(JOB, job.id, job.state, jobs.write(job), lane=job.kind)


async def listed(view: View, states: Sequence[str]) -> list[Job]:
    """Return jobs in any of these states, oldest first; the first thousand of each."""
    found = [record for state in states for record in await view.records(JOB, state=state, limit=_LISTED)]
    return [jobs.read(record.body) for record in sorted(found, key=lambda record: record.seq)]
