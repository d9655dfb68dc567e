"""Which process delivers a subscription's events: one at a time, by a lease that is a row beside the events.

A process that is gone leaves its lease behind: on the same machine that is seen at once (`jobs.process`), on
another when the lease ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from fhir_server.jobs.process import is_gone
from fhir_server.model import Record
from fhir_server.store.protocol import Store, Transaction, View
from fhir_server.subscriptions.matching import EVENT, SUBSCRIPTION, WATCHING, Event

LEASE: Final = "outbox-lease"  # record: one for each lane that a process delivers now, key the lane
LEASE_S: Final = 30.0  # seconds that a lane is a process's without a word of it
MOST_LANES: Final = 1_000  # subscriptions of a tenant that are looked at


class Lease(msgspec.Struct):
    """Who delivers a lane, and until when."""

    owner: str
    until: int  # microseconds since 1970


class Lanes:
    """The lanes of all tenants, for one process.

    Args:
        store: Where events and leases are kept.
        clock: Returns microseconds since 1970.
        me: The name of this process (`jobs.process.own_name`).
    """

    def __init__(self, store: Store, clock: Callable[[], int], me: str) -> None:
        self._store, self._clock, self._me = store, clock, me
        self._until: dict[tuple[str, str], int] = {}

    async def due(self, tenant: str) -> list[str]:
        """Return the lanes whose next event is to be delivered now, by whom that may be."""
        now = self._clock()
        async with self._store.view(tenant) as view:
            lanes = [record.key for record in await view.records(SUBSCRIPTION, limit=MOST_LANES)]
            return [lane for lane in lanes if await _is_due(view, lane, now)]

    async def claim(self, tenant: str, lane: str) -> bool:
        """Take a lane, or keep it; return False where another process has it."""
        until = self._until.get((tenant, lane), 0)
        if until - self._clock() > LEASE_S * 1_000_000 * 2 / 3:
            return True

        async def work(tx: Transaction) -> int:
            now, found = self._clock(), await tx.record(LEASE, lane)
            if found is not None:
                lease = msgspec.json.decode(found.body, type=Lease)
                if lease.owner != self._me and lease.until > now and not is_gone(lease.owner):
                    return 0
            made = Lease(self._me, now + int(LEASE_S * 1_000_000))
            await tx.put_record(LEASE, lane, "held", msgspec.json.encode(made))
            return made.until

        self._until[tenant, lane] = await self._store.transact(tenant, work)
        return self._until[tenant, lane] > 0

    async def settle(
        self, tenant: str, lane: str, ended: Sequence[Record] = (), later: tuple[Record, Event] | None = None
    ) -> bool:
        """Take what was delivered out of the outbox; let the lane go where nothing is due in it.

        Args:
            tenant: Whose lane it is.
            lane: This process's.
            ended: Events that are no more to be delivered.
            later: One that is to be delivered later.

        Returns:
            Whether there is more to do in the lane now.
        """

        async def work(tx: Transaction) -> bool:
            for record in ended:
                await tx.drop_record(EVENT, record.key)
            if later is not None:
                await tx.put_record(EVENT, later[0].key, "pending", msgspec.json.encode(later[1]), lane=lane)
            more = await _is_due(tx, lane, self._clock())
            found = await tx.record(LEASE, lane)
            if not more and found is not None and msgspec.json.decode(found.body, type=Lease).owner == self._me:
                await tx.drop_record(LEASE, lane)
            return more

        more = await self._store.transact(tenant, work)
        if not more:
            self._until.pop((tenant, lane), None)
        return more


async def _is_due(view: View, lane: str, now: int) -> bool:
    """Whether the first event of a lane is to be delivered now, or to be dropped."""
    first = await view.records(EVENT, state="pending", lane=lane, limit=1)
    if not first:
        return False
    known = await view.record(SUBSCRIPTION, lane)
    if known is None or known.state not in WATCHING:
        return True
    return msgspec.json.decode(first[0].body, type=Event).next_at <= now
