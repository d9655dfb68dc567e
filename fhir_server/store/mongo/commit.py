"""A commit: one document, put in by one atomic insert; all that follows from it can be done again by anybody.

Before it, its versions and records are pending: nobody sees them. The insert takes the next number of its
tenant, which only one transaction can take: who loses runs again on what the winner made. After it the pending
documents are put in place, and the head is moved, which lets readers see them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo.errors import AutoReconnect, DuplicateKeyError, WriteConcernError

from fhir_server.store.mongo.connection import Collection, Database
from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.head import Head

_TRIES = 5  # to learn whether a commit was taken


def commit_id(tenant: str, n: int) -> str:
    """Return the `_id` of a commit: tenant and number, so that a number is taken once."""
    return f"{tenant}/{n}"


class Lost(Exception):
    """Another transaction took the number; it is in place now."""


async def take(database: Database, commit: Document) -> None:
    """Put in a commit; raise Lost where its number is taken.

    Where the connection breaks it is not known whether the server has it: the same document is sent again, and what
    stands under the number tells.
    """
    for tried in range(_TRIES):
        try:
            await database.txn.insert_one(dict(commit))
            return
        except DuplicateKeyError:
            there = await database.txn.find_one({"_id": commit["_id"]})
            if there is not None and there["tx"] == commit["tx"]:
                return
            if there is not None:
                await settle(database, there)
            raise Lost from None
        except (AutoReconnect, WriteConcernError):
            if tried + 1 == _TRIES:
                raise
            await asyncio.sleep(0.1 * 2**tried)


async def settle(database: Database, commit: Mapping[str, Any]) -> None:
    """Put a commit's documents in place and move the head; may be done twice, or by two at once.

    Args:
        database: The collections.
        commit: As it was put in.
    """
    end = commit["seq"]
    placed = {"$set": {"f": end}, "$unset": {"tx": ""}}
    steps: list[Awaitable[Any]] = []
    for name in commit["wrote"]:
        steps.append(getattr(database, name).update_many({"tx": commit["tx"]}, placed))
    for group in commit["followed"]:
        steps.append(_mark(database.version, group["ids"], {"to": end, "nat": group["at"]}))
    steps.append(_mark(database.version, commit["removed"], {"to": end, "gone": end}))
    steps.append(_mark(database.record, commit["records"], {"to": end}))
    await asyncio.gather(*steps)
    fields = {name: commit["head"][name] for name in Head._fields}
    await database.head.update_one(
        {"_id": commit["t"], "n": commit["n"] - 1}, {"$set": {**fields, "sign": commit["sign"]}}
    )
    if commit["erased"]:
        await remove(database, commit["erased"])


async def _mark(collection: Collection, ids: Sequence[ObjectId], fields: Document) -> None:
    if ids:
        await collection.update_many({"_id": {"$in": list(ids)}}, {"$set": fields})


async def remove(database: Database, ids: Sequence[ObjectId]) -> None:
    """Remove documents of versions, and what of their bodies is elsewhere."""
    await database.part.delete_many({"of": {"$in": list(ids)}})
    await database.version.delete_many({"_id": {"$in": list(ids)}})
