"""What the server can: looked at when the store is opened, told by `predmp doctor`."""

from __future__ import annotations

from typing import Final, NamedTuple

from bson import ObjectId
from pymongo.errors import DuplicateKeyError, OperationFailure

from fhir_server.errors import Unavailable
from fhir_server.store.mongo.connection import Collection, Database, connect, translated

LEAST_DOCUMENT: Final = 16_000_000  # bytes that a document must be able to hold


class Trait(NamedTuple):
    """Something that was tried."""

    name: str
    works: bool
    needed: bool = True
    told: str = ""


async def probe(database: Database) -> list[Trait]:
    """Try what the store rests on; raise Unavailable that names what does not work.

    It writes to the collection `probe`, which it drops.
    """
    with translated():
        traits = await look(database)
    missing = [trait.name for trait in traits if trait.needed and not trait.works]
    if missing:
        raise Unavailable(f"The MongoDB server cannot be used, it lacks: {', '.join(missing)}.")
    return traits


async def look(database: Database) -> list[Trait]:
    """Return what the server can and cannot."""
    admin = database.client.admin
    built = await admin.command("buildInfo")
    size = int(built.get("maxBsonObjectSize", 0))
    tried: Collection = database.client[database.name][f"probe_{ObjectId()}"]
    try:
        traits = [
            Trait("documents of 16 MB", size >= LEAST_DOCUMENT),
            Trait("a number taken once, by the unique _id", await _is_unique(tried)),
            Trait("updates under a condition", await _is_conditional(tried)),
            Trait("filters over arrays ($all, $elemMatch, $nor, anchored $regex)", await _filters(tried)),
            Trait("whole numbers of 64 bits", await _is_exact(tried)),
        ]
    finally:
        await tried.drop()
    return [
        Trait(f"version {built.get('version', 'unknown')}", True, False),
        *traits,
        await _replicated(database),
        Trait("transactions of its own", True, False, "not used: one document commits (docs/why/adr-0007-mongodb.md)"),
    ]


async def _is_unique(tried: Collection) -> bool:
    await tried.insert_one({"_id": "once", "n": 1, "tok": ["a", "b"], "own": ["p"], "big": 2**63 - 1})
    try:
        await tried.insert_one({"_id": "once"})
    except DuplicateKeyError:
        return True
    return False


async def _is_conditional(tried: Collection) -> bool:
    lost = await tried.find_one_and_update({"_id": "once", "n": 2}, {"$set": {"n": 3}})
    won = await tried.update_one({"_id": "once", "n": 1}, {"$set": {"n": 2}, "$addToSet": {"own": "q"}})
    return lost is None and won.matched_count == 1


async def _filters(tried: Collection) -> bool:
    found = await tried.count_documents(
        {
            "tok": {"$all": ["a", "b"], "$regex": "^a"},
            "own": {"$not": {"$elemMatch": {"$nin": ["p", "q"]}}},
            "$nor": [{"tok": "c"}, {"big": {"$lt": 5}}],
        }
    )
    return found == 1


async def _is_exact(tried: Collection) -> bool:
    return await tried.find_one({"big": 2**63 - 1}) is not None and await tried.find_one({"big": 2**63 - 2}) is None


async def _replicated(database: Database) -> Trait:
    """Whether it is a replica set or a sharded cluster; a lone server loses what its disk loses."""
    name = "a replica set or a sharded cluster"
    try:
        hello = await database.client.admin.command("hello")
    except OperationFailure:
        return Trait(name, False, False, "not told; a lone server keeps one copy")
    is_many = "setName" in hello or hello.get("msg") == "isdbgrid"
    return Trait(name, is_many, False, "" if is_many else "a lone server keeps one copy")


async def examined(url: str) -> list[Trait]:
    """Return what the server at a URL can; raise Unavailable where it does not answer."""
    database = connect(url)
    try:
        with translated():
            return await look(database)
    finally:
        await database.client.close()
