"""What a crash leaves: commits taken and not put in place, pending documents of transactions that are no more.

Finishing a commit is safe at any time, by anybody (`commit.settle`). A pending document names the number that its
commit would take: once that number is in place without it, it can never be committed and is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from pymongo.errors import PyMongoError

from fhir_server.store.mongo.commit import commit_id, remove, settle
from fhir_server.store.mongo.connection import Database
from fhir_server.store.mongo.documents import INDEXES
from fhir_server.store.mongo.lease import waited

_log = logging.getLogger(__name__)

PERIOD_S: Final = 30.0
_RETRY_S: Final = 2.0
HELD_MS: Final = 900_000  # how long what was superseded stays for views that are open
_STEP: Final = 1_000


async def finish(database: Database, tenant: str, n: int) -> int:
    """Put commits in place that were taken and not finished; return the number of the last one."""
    while (commit := await database.txn.find_one({"_id": commit_id(tenant, n + 1)})) is not None:
        await settle(database, commit)
        n += 1
    return n


async def discard(database: Database, tenant: str, n: int) -> int:
    """Remove pending documents that can never be committed, `n` being the last commit in place; return how many."""
    where = {"tx": {"$exists": True}, "t": tenant, "n": {"$lte": n}}
    return sum([(await collection.delete_many(where)).deleted_count for collection in database.pending])


class Janitor:
    """Looks after all tenants, at the begin and from time to time.

    Args:
        database: The collections.
        clock: Returns microseconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database, self._clock = database, clock
        self._seen: dict[str, list[tuple[int, int]]] = {}  # of a tenant: (milliseconds, seq), oldest first
        self.is_well = True  # whether it found the server the last time

    async def run(self, ended: asyncio.Event) -> None:
        """Tidy up from time to time, until the event is set."""
        while not await waited(ended, PERIOD_S if self.is_well else _RETRY_S):
            try:
                await self.tidy()
                self.is_well = True
            except PyMongoError as error:
                self.is_well = False
                _log.warning("the janitor could not work: %s", type(error).__name__)

    async def tidy(self, *, first: bool = False) -> None:
        """Finish, discard, and let go of what no view needs any more; `first`: none is open in this process."""
        async for head in self._database.head.find({}):
            tenant = head["_id"]
            n = await finish(self._database, tenant, head["n"])
            removed = await discard(self._database, tenant, min(n, head["n"]))
            if removed:
                _log.info("removed %d pending documents of transactions that are no more", removed)
            await self._let_go(tenant, self._horizon(tenant, head["seq"]))

    def _horizon(self, tenant: str, seq: int) -> int:
        """Return the state before which no view is open: the one of some minutes ago."""
        now = self._clock() // 1_000
        seen = self._seen.setdefault(tenant, [])
        seen.append((now, seq))
        while len(seen) > 1 and seen[1][0] <= now - HELD_MS:
            seen.pop(0)
        return seen[0][1] if seen[0][0] <= now - HELD_MS else 0

    async def _let_go(self, tenant: str, horizon: int) -> None:
        if not horizon:
            return
        past = {"t": tenant, "to": {"$lte": horizon}}
        await self._database.record.delete_many(past)
        gone = self._database.version.find({"t": tenant, "gone": {"$lte": horizon}}, {"_id": 1}).limit(_STEP)
        await remove(self._database, [one["_id"] for one in await gone.to_list()])
        # What is superseded is found by no search of a state that can still be asked for.
        await self._database.version.update_many(
            {**past, "tok": {"$exists": True}}, {"$unset": dict.fromkeys(INDEXES, "")}
        )
