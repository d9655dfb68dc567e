"""A store in memory: the contract written plainly, for tests and as the measure of other stores.

It keeps everything and scans it. A state is never changed once it is committed: a transaction copies what
it changes, so a view holds its state for nothing and a rollback is the loss of a copy.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from fhir_server.errors import Unavailable, VersionConflict
from fhir_server.model import Record, Resource, Version
from fhir_server.search.values import NOTHING, Indexed
from fhir_server.store.protocol import AuditRow, Meanwhile, Transaction, View, Write
from fhir_server.store.scan import Chained, Kept, MemoryView, State, first_broken, keep, link

T = TypeVar("T")


def microseconds() -> int:
    """Return microseconds since 1970-01-01T00:00Z."""
    return time.time_ns() // 1000


class MemoryStore:
    """`protocol.Store` in memory; what it holds is gone with it.

    Args:
        path: Not used; every store is made alike.
        index: Resource -> index values; not used, since every version is kept with its own.
        clock: Returns microseconds since 1970.
        random: Returns that many random bytes.
    """

    drafting = None

    def __init__(
        self,
        path: str = "",
        index: Callable[[Resource], Indexed] = lambda _: NOTHING,
        *,
        clock: Callable[[], int] = microseconds,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._clock, self._random = clock, random
        self._states: dict[str, State] = {}
        self._chained: list[Chained] = []
        self._secrets: dict[str, bytes] = {}
        self._seq = self._now = 0
        self._lock = asyncio.Lock()
        self._is_open = False

    async def open(self) -> None:
        """Let the store be used."""
        self._is_open = True

    async def close(self) -> None:
        """Let the store not be used any more; what it holds stays until it is forgotten."""
        self._is_open = False

    @asynccontextmanager
    async def view(self, tenant: str) -> AsyncIterator[View]:
        """Give a consistent state, held until the context is left."""
        self._check_open()
        yield self._view(tenant)

    def _view(self, tenant: str) -> MemoryView:
        return MemoryView(tenant, self._states.get(tenant) or State({}, {}, 0), self._chained)

    async def transact(self, tenant: str, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work`, one at a time; commit when it returns, forget what it wrote when it raises."""
        self._check_open()
        async with self._lock:
            transaction = MemoryTransaction(self._view(tenant), max(self._clock(), self._now + 1), self._seq)
            try:
                result = await work(transaction)
            finally:
                transaction.is_over = True
            self._now, self._seq = transaction.now, transaction.seq
            self._states[tenant] = transaction.state
            for row in transaction.rows:
                self.audit_soon(tenant, row)
            return result

    def audit_soon(self, tenant: str, row: AuditRow) -> None:
        """Append to the audit chain at once."""
        self._check_open()
        self._chained.append(link(self._chained, tenant, row))

    async def tenants(self) -> list[str]:
        """Return the names of the tenants that something was written for."""
        return sorted(self._states.keys() | {chained.tenant for chained in self._chained})

    async def verify_audit(self) -> int | None:
        """Return the seq of the first audit row whose hash does not hold; None when the chain is whole."""
        return first_broken(self._chained)

    async def secret(self, name: str) -> bytes:
        """Return 32 random bytes kept under that name as long as the store lives."""
        if name not in self._secrets:
            self._secrets[name] = self._random(32)
        return self._secrets[name]

    async def secrets(self) -> dict[str, bytes]:
        """Return what `secret` gave, by name."""
        return dict(self._secrets)

    async def keep_secret(self, name: str, value: bytes) -> bytes:
        """Keep a secret of another place under a name, unless there is one; return the one that is kept."""
        return self._secrets.setdefault(name, value)

    def _check_open(self) -> None:
        if not self._is_open:
            raise Unavailable("The store is not open.")


@dataclass(slots=True)
class _Changed:
    """Which parts of the state are already this transaction's own copies."""

    resources: bool = False
    records: bool = False
    rows: list[AuditRow] = field(default_factory=list)


class MemoryTransaction(MemoryView):
    """`protocol.Transaction` over a copy of the state; useless once it is over."""

    takes_patterns = False

    def __init__(self, view: MemoryView, now: int, seq: int) -> None:
        super().__init__(view.tenant, view.state, view.chained)
        self.now, self.seq = now, seq
        self.is_over = False
        self._changed = _Changed()

    @property
    def rows(self) -> list[AuditRow]:
        """The audit rows of this transaction, in order."""
        return self._changed.rows

    def _next(self) -> int:
        if self.is_over:
            raise RuntimeError("the transaction is over")
        self.seq += 1
        return self.seq

    async def look_up(self, keys: Sequence[tuple[str, str]]) -> None:
        """Do nothing: all is at hand."""

    async def records_of(self, kind: str, keys: Sequence[str]) -> dict[str, Record]:
        """Return a room's rows by key, those that there are."""
        found = [await self.record(kind, key) for key in keys]
        return {one.key: one for one in found if one is not None}

    def meanwhile(self, run: Meanwhile) -> None:
        """Do nothing: no disk is waited for."""

    async def put(self, write: Write) -> Version:
        """Store a version and make it the current one; raise VersionConflict unless it follows the current."""
        kept = self.state.resources.get((write.type, write.id))
        current = kept.versions[-1].version if kept else 0
        if write.version != current + 1:
            raise VersionConflict("The resource has another version than the one that was to be replaced.")
        # A deletion stays in the record of those to whom the resource belonged.
        owners = kept.versions[-1].owners if kept and write.method == "DELETE" else write.indexed.owners
        made = Version(
            write.type, write.id, write.version, write.at, write.method, write.body, self._next(), tuple(owners)
        )
        earlier = kept.versions if kept else ()
        self._own_resources()[write.type, write.id] = keep(earlier, made, write.indexed.values)
        return made

    async def reindex(self, type: str, id: str, indexed: Indexed) -> None:
        """Replace the index values and owners of a current resource; nothing happens where there is none."""
        kept = self.state.resources.get((type, id))
        if kept is not None and not kept.versions[-1].is_deleted:
            *earlier, current = kept.versions
            current = current._replace(owners=tuple(indexed.owners))
            self._own_resources()[type, id] = keep(tuple(earlier), current, indexed.values)

    async def erase(self, type: str, id: str) -> int:
        """Remove every version of a resource and its index values; return how many versions there were."""
        if (type, id) not in self.state.resources:
            return 0
        return len(self._own_resources().pop((type, id)).versions)

    async def forget(self, type: str, id: str) -> int:
        """Remove every version of a resource but its newest; return how many."""
        kept = self.state.resources.get((type, id))
        if kept is None or len(kept.versions) == 1:
            return 0
        self._own_resources()[type, id] = kept._replace(versions=kept.versions[-1:])
        return len(kept.versions) - 1

    def _own_resources(self) -> dict[tuple[str, str], Kept]:
        if not self._changed.resources:
            self.state = self.state._replace(resources=dict(self.state.resources))
            self._changed.resources = True
        return self.state.resources

    async def put_record(self, kind: str, key: str, state: str, body: bytes, *, lane: str = "") -> Record:
        """Insert or replace a room's row; a replaced row keeps its seq."""
        before = self.state.records.get((kind, key))
        record = Record(kind, key, state, lane, before.seq if before else self._next(), self.now, body)
        self._own_records()[kind, key] = record
        return record

    async def drop_record(self, kind: str, key: str) -> None:
        """Remove a room's row, if it is there."""
        if (kind, key) in self.state.records:
            del self._own_records()[kind, key]

    def _own_records(self) -> dict[tuple[str, str], Record]:
        if not self._changed.records:
            self.state = self.state._replace(records=dict(self.state.records))
            self._changed.records = True
        return self.state.records

    async def audit(self, row: AuditRow) -> None:
        """Append to the audit chain."""
        self.rows.append(row)

    async def bump_epoch(self) -> None:
        """Say that what actors may see may have changed."""
        self.state = self.state._replace(epoch=self.state.epoch + 1)
