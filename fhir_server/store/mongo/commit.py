"""A commit: one document, put in by one atomic insert; all that follows from it can be done again by anybody.

Before it, its versions and records are pending: nobody sees them. The insert takes the next number of its
tenant, which only one transaction can take: who loses runs again on what the winner made. After it the pending
documents are put in place, and the head is moved, which lets readers see them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final

from bson import ObjectId
from pymongo.errors import AutoReconnect, DocumentTooLarge, DuplicateKeyError, WriteConcernError

from fhir_server.errors import TooLarge, Unavailable
from fhir_server.store.mongo.connection import Collection, Database
from fhir_server.store.mongo.documents import OPEN, Document
from fhir_server.store.mongo.head import Head

_TRIES: Final = 5  # to learn whether a commit was taken
_LOOKS: Final = 20  # at documents that an update of many passed by

BROKEN: Final = (AutoReconnect, WriteConcernError)
"""After these it is not known whether most servers have what was sent: it is sent again."""


def commit_id(tenant: str, n: int) -> str:
    """Return the `_id` of a commit: tenant and number, so that a number is taken once."""
    return f"{tenant}/{n}"


class Lost(Exception):
    """Another transaction took the number; it is in place now."""


async def take(database: Database, commit: Document) -> None:
    """Put in a commit; raise Lost where its number is taken.

    Where the connection breaks it is not known whether the server has it: the same document is sent again, and what
    stands under the number tells. As long as nothing is seen there although the number is taken, it may be this very
    commit, which most of the replica set does not have yet.

    Raises:
        Lost: Another transaction took the number.
        TooLarge: No document holds it.
        Unavailable: It is not known whether it was taken; its documents must stay.
    """
    for tried in range(_TRIES):
        try:
            if await _put_in(database, commit):
                return
        except BROKEN:
            if tried + 1 == _TRIES:
                raise
        await asyncio.sleep(0.1 * 2**tried)
    raise Unavailable("The store does not tell whether it took a commit.")


async def _put_in(database: Database, commit: Document) -> bool:
    """Return whether the commit is there; False where it is not to be seen who has its number."""
    try:
        await database.txn.insert_one(dict(commit))
        return True
    except DocumentTooLarge as error:
        raise TooLarge("What is done at once is too much for one commit of the store: do it in parts.") from error
    except DuplicateKeyError:
        there = await database.txn.find_one({"_id": commit["_id"]})
    if there is None or there["tx"] == commit["tx"]:
        return there is not None
    await settle(database, there)
    raise Lost


async def settle(database: Database, commit: Mapping[str, Any]) -> None:
    """Put a commit's documents in place and move the head; may be done twice, or by two at once.

    Args:
        database: The collections.
        commit: As it was put in.
    """
    end, removed = commit["seq"], commit["removed"]
    steps: list[Awaitable[Any]] = [_place(database, name, commit) for name in commit["wrote"]]
    for group in commit["followed"]:
        steps.append(_mark(database.version, group["ids"], {"to": end, "nat": group["at"]}))
    steps.append(_mark(database.version, removed, {"gone": end}))
    steps.append(_mark(database.version, removed, {"to": end}, {"to": OPEN}))  # what was superseded before stays so
    steps.append(_mark(database.record, commit["records"], {"to": end}))
    await asyncio.gather(*steps)
    fields = {name: commit["head"][name] for name in Head._fields}
    await database.head.update_one(
        {"_id": commit["t"], "n": commit["n"] - 1}, {"$set": {**fields, "sign": commit["sign"]}}
    )
    if commit["erased"]:
        await remove(database, commit["erased"])


async def _place(database: Database, name: str, commit: Mapping[str, Any]) -> None:
    """Put the pending documents of one collection in place, all of them.

    On a sharded cluster an update of many may pass a document by while it moves from shard to shard
    (https://jira.mongodb.org/browse/TOOLS-3431), so where the number is another it is looked whether one is left.
    """
    collection: Collection = getattr(database, name)
    pending = {"tx": commit["tx"]}
    sent = commit.get("sent", {}).get(name)
    for _ in range(_LOOKS):
        done = await collection.update_many(pending, {"$set": {"f": commit["seq"]}, "$unset": {"tx": ""}})
        if done.modified_count == sent or await collection.find_one(pending, {"_id": 1}) is None:
            return
        await asyncio.sleep(0.05)
    raise Unavailable("A commit cannot be put in place now.")


async def _mark(
    collection: Collection, ids: Sequence[ObjectId], fields: Document, where: Mapping[str, Any] | None = None
) -> None:
    """Set fields of documents by id; what is passed by because it moves is done again, see `_place`."""
    if not ids:
        return
    named = {"_id": {"$in": list(ids)}, **(where or {})}
    name = next(iter(fields))  # it is OPEN where it is not set yet
    for _ in range(_LOOKS):
        done = await collection.update_many(named, {"$set": fields})
        if done.matched_count == len(ids) or await collection.find_one({**named, name: OPEN}, {"_id": 1}) is None:
            return
        await asyncio.sleep(0.05)
    raise Unavailable("A commit cannot be put in place now.")


async def remove(database: Database, ids: Sequence[ObjectId]) -> None:
    """Remove documents of versions, and what of their bodies is elsewhere."""
    await database.part.delete_many({"of": {"$in": list(ids)}})
    await database.version.delete_many({"_id": {"$in": list(ids)}})
