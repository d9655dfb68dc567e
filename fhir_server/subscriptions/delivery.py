"""Events delivered from the outbox: each subscription in its order, again until it is taken.

An event leaves the outbox when its receiver answers 2xx. A crash between that answer and the row's end
may tell an event twice: its number (`X-Event-Number`) says so.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

import httpx
import msgspec

from fhir_server import gate
from fhir_server.errors import FhirError
from fhir_server.interactions.core import Hub
from fhir_server.model import Entry, Record
from fhir_server.store.protocol import Transaction
from fhir_server.store.visibility import is_visible
from fhir_server.subscriptions.matching import ACTIVATOR, EVENT, SUBSCRIPTION, WATCHING, Event, Watcher
from fhir_server.subscriptions.outbound import Outbound, Refused

log = logging.getLogger("predmp")

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 900.0
POLL_S = 1.0  # how often the outbox is looked at where no commit of this process woke us
PAGE = 200


class Delivery:
    """Delivers events of all tenants; one lane for each subscription.

    Args:
        hub: The core.
        outbound: The way out.
        clock: Returns microseconds since 1970.
        jitter: Returns a number in [0, 1).
    """

    def __init__(
        self, hub: Hub, outbound: Outbound, clock: Callable[[], int], jitter: Callable[[], float] = random.random
    ) -> None:
        self._hub, self._outbound, self._clock, self._jitter = hub, outbound, clock, jitter
        self._wake = asyncio.Event()
        self._lanes: dict[tuple[str, str], asyncio.Task[None]] = {}
        self.delivered = 0
        self.failed = 0
        self.withheld = 0

    def wake(self) -> None:
        """Say that there may be events."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver as long as the hub runs."""
        try:
            while True:
                self._wake.clear()
                for tenant in await self._hub.store.tenants():
                    await self._start_lanes(tenant)
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._wake.wait()
                except TimeoutError:
                    await self._activate()
        finally:
            for task in self._lanes.values():
                task.cancel()
            await asyncio.gather(*self._lanes.values(), return_exceptions=True)

    async def _activate(self) -> None:
        """Make active what was requested: its events are counted and delivered already."""
        for tenant in await self._hub.store.tenants():
            async with self._hub.store.view(tenant) as view:
                found = [
                    (r.key, await view.read("Subscription", r.key))
                    for r in await view.records(SUBSCRIPTION, state="requested")
                ]
            for id, version in found:
                if version is None or version.is_deleted:
                    continue
                active = {**gate.load(version.body), "status": "active"}
                entry = Entry("PUT", f"Subscription/{id}", active, if_match=version.etag)
                try:
                    await self._hub.submit([entry], actor=self._hub.internal(tenant, ACTIVATOR), interaction="update")
                except FhirError as error:
                    log.warning("subscription %s is not active: %s", id, error.code)

    async def _start_lanes(self, tenant: str) -> None:
        async with self._hub.store.view(tenant) as view:
            lanes = {record.lane for record in await view.records(EVENT, state="pending", limit=PAGE)}
        for lane in lanes:
            running = self._lanes.get((tenant, lane))
            if running is None or running.done():
                self._lanes[tenant, lane] = asyncio.create_task(self._drain(tenant, lane))

    async def _drain(self, tenant: str, lane: str) -> None:
        """Deliver a subscription's events in order until there are none."""
        while True:
            async with self._hub.store.view(tenant) as view:
                records = await view.records(EVENT, state="pending", lane=lane, limit=PAGE)
                known = await view.record(SUBSCRIPTION, lane)
            if not records or known is None:
                return
            watcher = msgspec.json.decode(known.body, type=Watcher)
            if known.state not in WATCHING:
                await self._end(tenant, records)
                return
            for record in records:
                if not await self._deliver(tenant, watcher, record):
                    break

    async def _deliver(self, tenant: str, watcher: Watcher, record: Record) -> bool:
        """Deliver one event; where that fails, wait and return False."""
        event = msgspec.json.decode(record.body, type=Event)
        body = await self._body(watcher, event)
        if body is None:
            self.withheld += 1
            await self._end(tenant, [record])
            return True
        if await self._send(watcher, event, body):
            self.delivered += 1
            await self._end(tenant, [record])
            return True
        self.failed += 1
        wait_s = min(FIRST_WAIT_S * 2 ** min(event.attempts, 20), LONGEST_WAIT_S)
        event.attempts += 1
        await self._keep(tenant, record, event)
        await asyncio.sleep(wait_s * (0.75 + self._jitter() / 2))
        return False

    async def _body(self, watcher: Watcher, event: Event) -> bytes | None:
        """Return the version as it was; None where its author may not see it now."""
        async with self._hub.store.view(watcher.tenant) as view:
            version = await view.vread(event.type, event.id, event.version)
            if version is None or not is_visible(version, await self._hub.sight.of(view, watcher.actor)):
                return None
        return version.body

    async def _send(self, watcher: Watcher, event: Event, body: bytes) -> bool:
        headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in watcher.headers)}
        headers["X-Event-Number"] = str(event.number)
        method, url = "POST", watcher.endpoint
        if watcher.payload:
            method, url = "PUT", f"{watcher.endpoint.rstrip('/')}/{event.type}/{event.id}"
            headers["Content-Type"] = "application/fhir+json; charset=utf-8"
        try:
            status = await self._outbound.send(method, url, headers, body if watcher.payload else b"")
        except (OSError, httpx.HTTPError, TimeoutError, Refused) as error:
            log.warning(
                "subscription %s: event %d not delivered: %s", event.subscription, event.number, type(error).__name__
            )
            return False
        if not 200 <= status < 300:
            log.warning("subscription %s: event %d not taken: status %d", event.subscription, event.number, status)
        return 200 <= status < 300

    async def _end(self, tenant: str, records: list[Record]) -> None:
        async def work(tx: Transaction) -> None:
            for record in records:
                await tx.drop_record(EVENT, record.key)

        await self._hub.store.transact(tenant, work)

    async def _keep(self, tenant: str, record: Record, event: Event) -> None:
        async def work(tx: Transaction) -> None:
            await tx.put_record(EVENT, record.key, "pending", msgspec.json.encode(event), lane=record.lane)

        await self._hub.store.transact(tenant, work)
