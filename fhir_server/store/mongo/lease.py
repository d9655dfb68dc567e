"""Who may write next: a lease in the tenant's head, handed over in the order of asking.

It saves work and keeps a long transaction from losing to many short ones. It is not what keeps commits apart: a
holder that slept past its time loses at the insert of its commit (`commit.take`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from fhir_server.store.mongo.connection import Collection
from fhir_server.store.mongo.head import START, Head, read_head

HOLD_MS: Final = 3_000  # how long it is held without a word
RENEW_S: Final = 1.0
_LEAST_S, _MOST_S = 0.002, 0.03  # between two looks whether it was handed over


async def waited(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, so long at most; return whether it came.

    What waits so is never cancelled inside a call of the driver, which would leave a connection open.
    """
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


class Lease:
    """The lease of one tenant, as one process sees it.

    Args:
        heads: Collection of the heads.
        tenant: Name.
        owner: Name of this process, unlike any other's.
        clock: Returns microseconds since 1970; clocks that differ cost work, never rightness.
    """

    def __init__(self, heads: Collection, tenant: str, owner: str, clock: Callable[[], int]) -> None:
        self._heads, self._tenant, self._owner, self._clock = heads, tenant, owner, clock
        self._made = False

    def _now(self) -> int:
        return self._clock() // 1_000

    def fields(self) -> dict[str, Any]:
        """Return the fields that say that this process holds it from now on."""
        return {"owner": self._owner, "until": self._now() + HOLD_MS}

    async def take(self) -> Head:
        """Wait for the lease; return the head as it is then."""
        pause, asked = _LEAST_S, False
        while True:
            if (found := await self._try()) is not None:
                return read_head(found)
            if not asked:
                await self._heads.update_one({"_id": self._tenant}, {"$addToSet": {"wanted": self._owner}})
                asked = True
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _MOST_S)

    async def _try(self) -> dict[str, Any] | None:
        if not self._made:
            await self._make()
        free = {"owner": ""}, {"owner": self._owner}, {"until": {"$lt": self._now()}}
        found: dict[str, Any] | None = await self._heads.find_one_and_update(
            {"_id": self._tenant, "$or": list(free)},
            {"$set": self.fields(), "$pull": {"wanted": self._owner}},
            return_document=ReturnDocument.AFTER,
        )
        return found

    async def _make(self) -> None:
        """Make the head of a tenant that has none."""
        try:
            await self._heads.insert_one(
                {"_id": self._tenant, **START.fields(), "owner": "", "until": 0, "wanted": [], "sign": b""}
            )
        except DuplicateKeyError:
            self._made = True  # as it is after the insert
        self._made = True

    async def renew(self, ended: asyncio.Event) -> None:
        """Hold it longer, again and again, until the event is set: for a batch that takes its time."""
        while not await waited(ended, RENEW_S):
            await self._heads.update_one({"_id": self._tenant, "owner": self._owner}, {"$set": self.fields()})

    async def release(self) -> None:
        """Hand it to who asked first, or let it go."""
        found = await self._heads.find_one({"_id": self._tenant, "owner": self._owner}, {"wanted": 1})
        if found is None:
            return
        wanted = [one for one in found["wanted"] if one != self._owner]
        change: dict[str, Any] = {"$set": {"owner": wanted[0] if wanted else "", "until": self._now() + HOLD_MS}}
        if wanted:
            change["$pull"] = {"wanted": wanted[0]}
        await self._heads.update_one({"_id": self._tenant, "owner": self._owner}, change)
