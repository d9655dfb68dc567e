"""Jobs: what others start, look at and cancel; and the runner that works on them in every server process."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fhir_server.errors import FhirError, Throttled, Unavailable
from fhir_server.jobs.context import FILE, JobContext
from fhir_server.jobs.job import (
    CANCELLED,
    DONE,
    FAILED,
    INPUT,
    JOB,
    OUTPUT,
    QUEUED,
    RECEIVING,
    STATES,
    Failure,
    Job,
    Output,
    new_job,
)
from fhir_server.jobs.ledger import LEASE_S, Ledger, Stopped
from fhir_server.jobs.pieces import PIECE, pack, read_pieces, unpack
from fhir_server.jobs.process import own_name
from fhir_server.model import Actor
from fhir_server.store.protocol import Store

log = logging.getLogger("predmp")

AT_ONCE: Final = 2  # jobs that one process runs at the same time
POLL_S: Final = 1.0  # how often the ledger is looked at where no start in this process woke us
_SWEEP_S: Final = 30.0  # between two looks for what has expired
_RETRY_S: Final = 2.0  # after the first failed run; doubles
_ABANDONED_S: Final = 3600  # seconds after which an upload that did not end is given up


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job.

    Its `run` may be called again after a crash, with the checkpoint that it last kept; what it raises as a
    FhirError (but Unavailable) ends the job with that answer, anything else is tried again.
    """

    name: str
    run: Callable[[JobContext], Awaitable[None]]
    tries: int = 3  # runs without a checkpoint between them before the job has failed
    is_bulk: bool = False  # whether its result is a Bulk Data manifest of its files


class Jobs:
    """Durable jobs over a store's records.

    Args:
        store: Open already when the first job is started.
        clock: Returns microseconds since 1970.
        new_id: Makes ids that cannot be guessed.
        keep_s: Seconds that an ended job and its files are kept.
        file_size: Bytes of one file before the next is begun.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], int],
        new_id: Callable[[], str],
        *,
        keep_s: int = 86_400,
        file_size: int = FILE,
    ) -> None:
        self._store, self._clock, self._new_id = store, clock, new_id
        self._keep, self._file_size = keep_s * 1_000_000, file_size
        self._ledger = Ledger(store, clock, own_name())
        self._kinds: dict[str, Kind] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self.ended = {DONE: 0, FAILED: 0, CANCELLED: 0}  # by this process

    def register(self, kind: Kind) -> None:
        """Make a kind known; each name once."""
        if kind.name in self._kinds:
            raise ValueError(f"the kind {kind.name} is there already")
        self._kinds[kind.name] = kind

    def kind(self, name: str) -> Kind | None:
        """Return a kind."""
        return self._kinds.get(name)

    # --- what callers do ---------------------------------------------------------------------------------------

    async def start(
        self,
        kind: str,
        input: dict[str, Any],
        actor: Actor,
        *,
        payload: AsyncIterator[bytes] | None = None,
        request: str = "",
    ) -> str:
        """Keep a job to be run soon, by any server process, and return its id.

        Args:
            kind: A registered name.
            input: JSON of a few kilobytes.
            actor: Whose it is; it acts with their scopes, and what it reads is judged as theirs at each page.
            payload: Bytes to work on, of any length; kept piece by piece before the job is queued.
            request: The url that asked for it, as a manifest shows it.

        Raises:
            Throttled: The caller has too many jobs that have not ended.
        """
        if kind not in self._kinds:
            raise KeyError(kind)
        job = new_job(self._new_id(), kind, input, actor, self._clock(), request)
        if payload is None:
            await self._ledger.add(job)
        else:
            job.state = RECEIVING
            await self._ledger.add(job)
            await self._receive(job, payload)
        self._wake.set()
        return job.id

    async def _receive(self, job: Job, payload: AsyncIterator[bytes]) -> None:
        waiting = bytearray()
        try:
            async for part in payload:
                waiting += part
                while len(waiting) >= PIECE:
                    await self._ledger.receive(job, job.pieces, pack(bytes(waiting[:PIECE])))
                    job.pieces += 1
                    del waiting[:PIECE]
            if waiting:
                await self._ledger.receive(job, job.pieces, pack(bytes(waiting)))
                job.pieces += 1
        except BaseException:
            await asyncio.shield(self._ledger.forget(job))
            raise
        job.state = QUEUED
        await self._ledger.replace(job)

    async def find(self, id: str, actor: Actor) -> Job | None:
        """Return a job that the actor may know of; None where there is none, or it was cancelled or has expired."""
        job = await self._ledger.find(actor.tenant, id)
        if job is None or job.state == CANCELLED or not job.is_of(actor):
            return None
        return None if job.expires and job.expires <= self._clock() else job

    async def known_to(self, actor: Actor) -> list[Job]:
        """Return the jobs that the actor may know of, oldest first, ended ones too."""
        return [job for job in await self._ledger.in_states(actor.tenant, STATES) if job.is_of(actor)]

    async def cancel(self, id: str, actor: Actor) -> bool:
        """Cancel a job, or remove one that has ended, with its files; False where there is none."""
        if await self.find(id, actor) is None:
            return False
        return await self.stop(actor.tenant, id)

    async def stop(self, tenant: str, id: str) -> bool:
        """Cancel a job whosesoever it is."""
        stopped = await self._ledger.cancel(tenant, id, self._clock() + self._keep)
        if (task := self._running.get(id)) is not None:
            task.cancel()
        if stopped:
            self.ended[CANCELLED] += 1
        return stopped

    async def holding(self, tenant: str, marks: Sequence[bytes]) -> list[Job]:
        """Return the jobs whose files, or what was sent to work on, hold one of some texts."""
        view = partial(self._store.view, tenant)
        found = []
        for job in await self._ledger.in_states(tenant, STATES):
            lanes = [(INPUT, job.id), *((OUTPUT, f"{job.id}/{output.number}") for output in job.outputs)]
            if any(mark in job.input for mark in marks) or any(
                [await _holds(read_pieces(view, kind, lane), marks) for kind, lane in lanes]
            ):
                found.append(job)
        return found

    async def rows(self, job: Job) -> list[tuple[str, str]]:
        """Return (kind, key) of every row of a job."""
        made = [(JOB, job.id)]
        for kind, lane in [(INPUT, job.id), *((OUTPUT, f"{job.id}/{output.number}") for output in job.outputs)]:
            made += await self._ledger.keys(job.tenant, kind, lane)
        return made

    def read_output(self, job: Job, output: Output) -> AsyncIterator[bytes]:
        """Yield a file in pieces, each a gzip member (`pieces.unpack`)."""
        return read_pieces(partial(self._store.view, job.tenant), OUTPUT, f"{job.id}/{output.number}")

    # --- the runner --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work on jobs as long as the hub runs."""
        swept = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                for tenant in await self._store.tenants():
                    await self._take(tenant)
                    if loop.time() - swept > _SWEEP_S:
                        await self._sweep(tenant)
                if loop.time() - swept > _SWEEP_S:
                    swept = loop.time()
                await self._wait()
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _take(self, tenant: str) -> None:
        while len(self._running) < AT_ONCE:
            job = await self._ledger.claim(tenant, frozenset(self._kinds))
            if job is None:
                return
            task = asyncio.create_task(self._work(job), name=f"job {job.kind}")
            self._running[job.id] = task
            task.add_done_callback(partial(self._over, job.id))

    def _over(self, id: str, task: asyncio.Task[None]) -> None:
        self._running.pop(id, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job %s was left: %s", id, type(error).__name__)

    async def _work(self, job: Job) -> None:
        """Run a job once, while another task says that it lives."""
        kind = self._kinds[job.kind]
        context = JobContext(job, self._ledger, self._store, file_size=self._file_size)
        working = asyncio.current_task()
        assert working is not None
        beating = asyncio.create_task(self._beat(context, working))
        try:
            if job.attempts > kind.tries:
                raise _spent()
            await kind.run(context)
            await context.end(self._ended(DONE))
            self.ended[DONE] += 1
        except Stopped:
            log.info("job %s stopped", job.id)
        except asyncio.CancelledError:
            await asyncio.shield(self._release(context, kind))
            raise
        except Exception as error:  # a supervisor: the failure is the job's, and is kept with it
            await self._fail(context, kind, error)
        finally:
            beating.cancel()

    async def _beat(self, context: JobContext, working: asyncio.Task[None]) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 4)
            try:
                await context.beat()
            except Stopped:
                working.cancel()
                return
            except Unavailable:
                log.warning("job %s cannot say that it lives", context.id)

    async def _release(self, context: JobContext, kind: Kind) -> None:
        """Let another process go on at once, where this one ends."""

        def released(job: Job) -> None:
            job.state, job.lease_by, job.lease_until = QUEUED, "", 0
            if kind.tries > 1:
                job.attempts = max(0, job.attempts - 1)

        try:
            await self._ledger.change(context.job, released)
        except (Stopped, Unavailable):
            log.info("job %s is not released: it is another's, or its lease ends it", context.id)

    async def _fail(self, context: JobContext, kind: Kind, error: Exception) -> None:
        final = isinstance(error, FhirError) and not isinstance(error, Unavailable | Throttled)
        if not isinstance(error, FhirError):
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            log.error("job %s of kind %s failed: %s at %s", context.id, kind.name, type(error).__name__, place)
        try:
            if final or context.job.attempts >= kind.tries:
                await self._ledger.change(context.job, self._failed(error))
                self.ended[FAILED] += 1
            else:
                await self._ledger.change(context.job, self._retried)
        except (Stopped, Unavailable):
            log.info("job %s is another's, or its lease ends it", context.id)

    def _ended(self, state: str) -> Callable[[Job], None]:
        def change(job: Job) -> None:
            now = self._clock()
            job.state, job.ended, job.expires = state, now, now + self._keep
            job.lease_by, job.lease_until, job.checkpoint = "", 0, b""

        return change

    def _failed(self, error: Exception) -> Callable[[Job], None]:
        known = error if isinstance(error, FhirError) else _broken()
        ended = self._ended(FAILED)

        def change(job: Job) -> None:
            ended(job)
            job.failure = Failure(known.status, known.code, known.text)

        return change

    def _retried(self, job: Job) -> None:
        job.state, job.lease_by, job.lease_until = QUEUED, "", 0
        job.not_before = self._clock() + int(_RETRY_S * 2 ** min(job.attempts - 1, 10) * 1_000_000)

    async def _sweep(self, tenant: str) -> None:
        """Remove what has expired, and uploads that nobody ended."""
        now = self._clock()
        for job in await self._ledger.in_states(tenant, (DONE, FAILED, CANCELLED, RECEIVING)):
            given_up = job.state == RECEIVING and job.created + _ABANDONED_S * 1_000_000 < now
            if given_up or (job.expires and job.expires <= now):
                await self._ledger.forget(job)


async def _holds(pieces: AsyncIterator[bytes], marks: Sequence[bytes]) -> bool:
    """Whether one of some texts stands in pieces, also across the border of two."""
    longest, tail = max(map(len, marks), default=0), b""
    async for piece in pieces:
        body = tail + unpack(piece)
        if any(mark in body for mark in marks):
            return True
        tail = body[-longest:]
    return False


def _spent() -> FhirError:
    return FhirError("The server stopped while the job ran, and it is not begun again; what it did so far stands.")


def _broken() -> FhirError:
    return FhirError("The job failed inside the server; its log says where.")
