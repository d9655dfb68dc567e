"""Indexing as a part of the core that hands in what a room does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from fhir_server.errors import Unavailable
from fhir_server.indexing.definitions import INDEX
from fhir_server.interactions.core import Hub
from fhir_server.interface import Listener, Room, Task
from fhir_server.model import Change
from fhir_server.settings import Settings
from fhir_server.store.protocol import Transaction

KIND: Final = "reindex"  # of jobs
POLL_S: Final = 0.5  # between two looks for what other processes defined; well below `reindex.GRACE`
_AGAIN: Final = 30_000_000  # microseconds before a job is started once more where the last one did not end well
_CLAIM: Final = "claim"  # record: which revision a job was started for last


def open(hub: Hub, settings: Settings) -> Room:
    """Return what keeps the registry of this process as the store is, and starts the jobs that this takes."""
    watching = Watching(hub)
    return Room(
        "indexing",
        tasks=(Task("search-parameters", watching.run),),
        listeners=(Listener(frozenset({"SearchParameter"}), watching.told),),
    )


class Watching:
    """Looks for definitions of other processes, and for those that nobody indexes yet."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def told(self, tenant: str, changes: Sequence[Change]) -> None:
        """Take in what this process wrote."""
        await self._hub.definitions.load()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            # A process that does not reach the store cannot write to it either; it looks on, to notice in time.
            with suppress(Unavailable):
                await self._hub.definitions.refresh()
                if self._hub.definitions.pending:
                    await self._start()
            await asyncio.sleep(POLL_S)

    async def _start(self) -> None:
        """Start a job for what is not indexed yet, unless one is there."""
        tenant = self._hub.tenants()[0]
        actor = self._hub.internal(tenant, "search-parameters")
        if any(job.kind == KIND and job.is_open for job in await self._hub.jobs.known_to(actor)):
            return
        pending = self._hub.definitions.pending
        newest = str(max(definition.since for definition in pending)).encode()

        async def claim(tx: Transaction) -> bool:
            record = await tx.record(INDEX, _CLAIM)
            if record is not None and record.body == newest and tx.now - record.at < _AGAIN:
                return False
            await tx.put_record(INDEX, _CLAIM, "", newest)
            return True

        if await self._hub.store.transact(tenant, claim):
            types = sorted({type for definition in pending for type in definition.base})
            await self._hub.jobs.start(KIND, {"types": types}, actor, request=f"{self._hub.base_url}/$reindex")
