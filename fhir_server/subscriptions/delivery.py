"""Events delivered from the outbox: each subscription in its order, again until it is taken.

An event leaves the outbox when its receiver answers 2xx. A crash between that answer and the row's end
may tell an event twice: its number (`X-Event-Number`) says so.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial

import httpx
import msgspec

from fhir_server import gate
from fhir_server.errors import FhirError, VersionConflict
from fhir_server.interactions.core import Hub
from fhir_server.jobs.process import own_name
from fhir_server.model import Entry, Record
from fhir_server.store.visibility import is_visible
from fhir_server.subscriptions.lanes import Lanes
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
        self._due = Lanes(hub.store, clock, own_name())
        self._wake = asyncio.Event()
        self._lanes: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._missed: set[tuple[str, str]] = set()  # lanes that were found due while they ran
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
                except VersionConflict:
                    log.debug("subscription %s was made active by another process, or changed", id)
                except FhirError as error:
                    log.warning("subscription %s is not active: %s", id, error.code)

    async def _start_lanes(self, tenant: str) -> None:
        for lane in await self._due.due(tenant):
            place = (tenant, lane)
            running = self._lanes.get(place)
            if running is not None and not running.done():
                self._missed.add(place)
                continue
            self._lanes[place] = asyncio.create_task(self._drain(tenant, lane))
            self._lanes[place].add_done_callback(partial(self._look_again, place))

    def _look_again(self, place: tuple[str, str], _: asyncio.Task[None]) -> None:
        """Look at the outbox once more: a lane that had just seen its last event may have missed a new one."""
        if place in self._missed:
            self._missed.discard(place)
            self._wake.set()

    async def _drain(self, tenant: str, lane: str) -> None:
        """Deliver a subscription's events in order until there are none, unless another process does."""
        more = await self._due.claim(tenant, lane)
        while more:
            async with self._hub.store.view(tenant) as view:
                records = await view.records(EVENT, state="pending", lane=lane, limit=PAGE)
                known = await view.record(SUBSCRIPTION, lane)
            if known is None or known.state not in WATCHING:
                more = await self._due.settle(tenant, lane, records)
                continue
            watcher = msgspec.json.decode(known.body, type=Watcher)
            more = await self._due.settle(tenant, lane) if not records else True
            for record in records:
                # What was told takes an event out before the next is told, and the lane is kept in between.
                more = await self._due.claim(tenant, lane) and await self._deliver(tenant, lane, watcher, record)
                if not more:
                    break

    async def _deliver(self, tenant: str, lane: str, watcher: Watcher, record: Record) -> bool:
        """Deliver one event; return whether there is more to do in the lane now."""
        event = msgspec.json.decode(record.body, type=Event)
        body = await self._body(watcher, event)
        if body is None:
            self.withheld += 1
            return await self._due.settle(tenant, lane, [record])
        if await self._send(watcher, event, body):
            self.delivered += 1
            return await self._due.settle(tenant, lane, [record])
        self.failed += 1
        wait_s = min(FIRST_WAIT_S * 2 ** min(event.attempts, 20), LONGEST_WAIT_S)
        event.attempts += 1
        event.next_at = self._clock() + int(wait_s * (0.75 + self._jitter() / 2) * 1_000_000)
        return await self._due.settle(tenant, lane, later=(record, event))

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
