"""What a crash leaves: commits taken and not put in place, pending documents of transactions that are no more.

Finishing a commit is safe at any time, by anybody (`commit.settle`). A pending document names the number that its
commit would take: once that number is in place without it, it can never be committed and is removed.

What a commit superseded is let go of some minutes later. The janitor goes from commit to commit for that, and keeps
in the head of the tenant how far it is: `letting` before it begins, `let` when it is done. So it reads what changed,
never all there is, and a view that lasted too long can see that its state is not whole any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bson import ObjectId
from pymongo.errors import PyMongoError

from fhir_server.errors import Unavailable
from fhir_server.store.mongo.commit import commit_id, remove, settle
from fhir_server.store.mongo.connection import Collection, Database
from fhir_server.store.mongo.documents import INDEXES, OPEN
from fhir_server.store.mongo.lease import waited

_log = logging.getLogger(__name__)

PERIOD_S: Final = 30.0
_RETRY_S: Final = 2.0
HELD_MS: Final = 900_000  # how long what was superseded stays for views that are open
_STEP: Final = 1_000  # documents at once
_COMMITS: Final = 200  # commits at once


async def finish(database: Database, tenant: str, n: int) -> int:
    """Put commits in place that were taken and not finished; return the number of the last one."""
    while (commit := await database.txn.find_one({"_id": commit_id(tenant, n + 1)})) is not None:
        await settle(database, commit)
        n += 1
    return n


async def discard(database: Database, tenant: str, n: int) -> int:
    """Remove pending documents that can never be committed, `n` being the last commit in place; return how many.

    What belongs to the commit of its number after all was passed by when that was put in place, and is now.
    """
    removed = 0
    where = {"tx": {"$exists": True}, "t": tenant, "n": {"$lte": n}}
    for collection in database.pending:
        while found := await collection.find(where, {"tx": 1, "n": 1}).limit(_STEP).to_list():
            for number, tx in {(int(one["n"]), one["tx"]) for one in found}:
                removed += await _discard(database, collection, commit_id(tenant, number), tx)
    return removed


async def _discard(database: Database, collection: Collection, commit: str, tx: Any) -> int:
    there = await database.txn.find_one({"_id": commit})
    if there is None:
        raise Unavailable("A commit is not to be seen now.")
    if there["tx"] != tx:
        return (await collection.delete_many({"tx": tx})).deleted_count
    _log.warning("put documents in place that a commit had passed by")
    await settle(database, there)
    return 0


def _steps(ids: Sequence[ObjectId]) -> Iterator[list[ObjectId]]:
    for start in range(0, len(ids), _STEP):
        yield list(ids[start : start + _STEP])


class Janitor:
    """Looks after all tenants, at the begin and from time to time.

    Args:
        database: The collections.
        clock: Returns microseconds since 1970.
    """

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database, self._clock = database, clock
        self._seen: dict[str, list[tuple[int, int]]] = {}  # of a tenant: (milliseconds, commits), oldest first
        self.is_well = True  # whether it found the server the last time

    async def run(self, ended: asyncio.Event) -> None:
        """Tidy up from time to time, until the event is set."""
        while not await waited(ended, PERIOD_S if self.is_well else _RETRY_S):
            try:
                await self.tidy(ended)
                self.is_well = True
            except (PyMongoError, Unavailable) as error:
                self.is_well = False
                _log.warning("the janitor could not work: %s", type(error).__name__)

    async def tidy(self, ended: asyncio.Event | None = None) -> None:
        """Finish, discard, and let go of what no view needs any more, until the event is set."""
        async for head in self._database.head.find({}):
            tenant = head["_id"]
            n = await finish(self._database, tenant, head["n"])
            removed = await discard(self._database, tenant, min(n, head["n"]))
            if removed:
                _log.info("removed %d pending documents of transactions that are no more", removed)
            await self._let_go(head, self._horizon(tenant, head["n"]), ended)

    def _horizon(self, tenant: str, n: int) -> int:
        """Return the state before which no view is open: the one of some minutes ago."""
        now = self._clock() // 1_000
        seen = self._seen.setdefault(tenant, [])
        seen.append((now, n))
        while len(seen) > 1 and seen[1][0] <= now - HELD_MS:
            seen.pop(0)
        return seen[0][1] if seen[0][0] <= now - HELD_MS else 0

    async def _let_go(self, head: Mapping[str, Any], horizon: int, ended: asyncio.Event | None) -> None:
        tenant, done = head["_id"], int(head.get("let", 0))
        while done < horizon and not (ended is not None and ended.is_set()):
            until = min(done + _COMMITS, horizon)
            await self._note(tenant, "letting", until)
            where = {"t": tenant, "n": {"$gt": done, "$lte": until}}
            for commit in await self._database.txn.find(where, {"rows": 0, "hashes": 0, "pats": 0}).to_list():
                await self._let_go_of(commit)
            await self._note(tenant, "let", until)
            done = until

    async def _note(self, tenant: str, name: str, n: int) -> None:
        """Keep how far it is, unless another is further."""
        behind = [{name: {"$exists": False}}, {name: {"$lt": n}}]
        await self._database.head.update_one({"_id": tenant, "$or": behind}, {"$set": {name: n}})

    async def _let_go_of(self, commit: Mapping[str, Any]) -> None:
        """Remove what a commit superseded: records, documents that were replaced, what searches ask of versions."""
        versions, records = self._database.version, self._database.record
        followed = [id for group in commit["followed"] for id in group["ids"]]
        for ids in _steps(followed):
            if await versions.find_one({"_id": {"$in": ids}, "to": OPEN}, {"_id": 1}) is not None:
                await settle(self._database, commit)  # one was passed by, see `commit._place`
            await versions.update_many({"_id": {"$in": ids}}, {"$unset": dict.fromkeys(INDEXES, "")})
        for ids in _steps(commit["records"]):
            await records.delete_many({"_id": {"$in": ids}})
        for ids in _steps(commit["removed"]):
            await remove(self._database, ids)
