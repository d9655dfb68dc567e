"""Replays of many messages, started on a page: they run beside the server, and their progress is a durable row.

One runs at a time in a process. A row that says `running` and has not changed for a minute was interrupted: what it
replayed until then stays as it is, and starting it again does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final
from uuid import uuid4

from adapters.hl7 import replay
from adapters.hl7.log.replay_command import summary_json
from adapters.hl7.record import when
from adapters.hl7.replay import Channels, Mode, Selection, Summary
from adapters.hl7.worker import where
from fhir_server import gate
from fhir_server.errors import Conflict, FhirError, NotFound
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Record

KIND: Final = "hl7-replay-run"
RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"
EVERY: Final = 25  # messages between two notes of the progress
BEAT_S: Final = 10.0  # seconds between two notes that it goes on, also while the messages are counted
STALE_US: Final = 60_000_000

log = logging.getLogger("predmp.hl7")


class Runs:
    """The replays of many that this process runs.

    Args:
        core: The door.
        channels: Gives the channels of a tenant.
        make_id: Gives each its id.
    """

    def __init__(
        self,
        core: Core,
        channels: Callable[[str], Awaitable[Channels]],
        *,
        make_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._core, self._channels, self._make_id = core, channels, make_id
        self._task: asyncio.Task[None] | None = None
        self._is_busy = False

    async def start(self, tenant: str, selection: Selection, mode: Mode, *, by: str) -> str:
        """Begin one; return its id.

        Raises:
            Conflict: Another one runs.
        """
        if self._is_busy:
            raise Conflict("A replay of many messages is running already; wait for its end.")
        self._is_busy = True  # from now on, so that nobody begins another one while this one's row is written
        id = self._make_id()
        body: dict[str, Any] = {
            "selection": asdict(selection),
            "mode": mode.value,
            "by": by,
            "begun": when(self._core.now()),
        }
        body |= {"done": 0, "total": 0, "summary": summary_json(Summary())}
        try:
            await self._note(tenant, id, RUNNING, body)
        except BaseException:
            self._is_busy = False
            raise
        self._task = asyncio.create_task(self._run(tenant, id, selection, mode, body))
        self._task.add_done_callback(self._ended)
        return id

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._is_busy = False
        if not task.cancelled() and (error := task.exception()) is not None:  # its row says `interrupted` in a minute
            log.error("a replay of many messages ended: %s", type(error).__name__)

    async def stop(self) -> None:
        """End what runs; what it replayed stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, tenant: str, id: str, selection: Selection, mode: Mode, body: dict[str, Any]) -> None:
        made, state = Summary(), DONE
        beat = asyncio.create_task(self._beat(tenant, id, body))
        try:
            known = await self._channels(tenant)
            async for _ in replay.selected(self._core, selection, tenant=tenant):
                body["total"] += 1
            async for report in replay.many(self._core, selection, channels=known, tenant=tenant, mode=mode):
                made.add(report)
                if made.messages % EVERY == 0:
                    body |= {"done": made.messages, "summary": summary_json(made)}
                    await self._note(tenant, id, RUNNING, body)
        except Exception as error:  # a supervisor: a map that breaks ends this replay, whose row says so
            said = error.code if isinstance(error, FhirError) else f"{type(error).__name__} at {where(error)}"
            log.error("a replay of many messages failed: %s", said)
            state = FAILED
        finally:
            beat.cancel()
        body |= {"done": made.messages, "summary": summary_json(made), "ended": when(self._core.now())}
        await self._note(tenant, id, state, body)

    async def _beat(self, tenant: str, id: str, body: dict[str, Any]) -> None:
        """Say now and then that it goes on: in a long log there may be minutes between two messages that are meant."""
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._note(tenant, id, RUNNING, body)
            except FhirError:
                continue  # the store is away: the replay itself says so if it matters

    async def _note(self, tenant: str, id: str, state: str, body: dict[str, Any]) -> None:
        async def work(writing: Writing) -> None:
            await writing.put_record(KIND, id, state, gate.write(body))

        await self._core.transact(tenant, work)

    async def read(self, tenant: str, id: str) -> dict[str, Any]:
        """Return how far one is, with its `state`; raise NotFound."""

        async def work(asking: Asking) -> Record | None:
            return await asking.record(KIND, id)

        row: Record | None = await self._core.ask(tenant, work)
        if row is None:
            raise NotFound("There is no such replay.")
        stale = row.state == RUNNING and self._core.now() - row.at > STALE_US
        return {**gate.load(row.body), "state": INTERRUPTED if stale else row.state}
