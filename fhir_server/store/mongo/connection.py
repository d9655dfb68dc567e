"""The database: how it is named and reached, its indexes, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeAlias

from pymongo import AsyncMongoClient, IndexModel, ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    ConfigurationError,
    DocumentTooLarge,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from fhir_server.errors import TooCostly, Unavailable

Collection: TypeAlias = "AsyncCollection[dict[str, Any]]"

WAIT_MS: Final = 10_000  # for a server that answers
_DEFAULTS: Final = {
    "heartbeatFrequencyMS": 2_000,  # how often the driver looks whether a server is there
    "connectTimeoutMS": 5_000,  # how long it waits then for one that says nothing; its connections are given up
}
TOO_COSTLY: Final = "The search takes too long: narrow it, or leave out the total."
_NOT_ALLOWED: Final = frozenset({13, 18})  # Unauthorized, AuthenticationFailed
_NO_MEMORY: Final = frozenset({96, 292})  # OperationFailed, QueryExceededMemoryLimitNoDiskUseAllowed

_INDEXES: Final[dict[str, tuple[tuple[tuple[str, int], ...], ...]]] = {
    "version": (
        (("r", 1), ("to", 1)),
        (("t", 1), ("seq", 1)),
        (("t", 1), ("k", 1), ("seq", 1)),
        (("t", 1), ("k", 1), ("tok", 1), ("seq", -1)),
        (("t", 1), ("k", 1), ("ref", 1), ("seq", -1)),
        (("t", 1), ("k", 1), ("own", 1), ("seq", -1)),
        (("t", 1), ("k", 1), ("str", 1)),
        (("t", 1), ("k", 1), ("dt.p", 1), ("dt.lo", 1)),
        (("t", 1), ("k", 1), ("num.p", 1), ("num.lo", 1)),
        (("t", 1), ("k", 1), ("s._lastUpdated.a", 1), ("seq", -1)),
        (("t", 1), ("k", 1), ("s.date.z", -1), ("seq", -1)),
    ),
    "record": (
        (("t", 1), ("kind", 1), ("key", 1), ("to", 1)),
        (("t", 1), ("kind", 1), ("seq", 1)),
        (("t", 1), ("kind", 1), ("state", 1), ("seq", 1)),
        (("t", 1), ("kind", 1), ("lane", 1), ("seq", 1)),
        (("t", 1), ("to", 1)),
    ),
    "txn": ((("t", 1), ("n", 1)), (("t", 1), ("last", 1)), (("t", 1), ("pats", 1), ("last", 1))),
    "part": ((("of", 1),),),
}
_PENDING: Final = ("version", "record", "part")
_SURE: Final = ("txn", "secret")  # what is read of them may not be undone by an election


class Database(NamedTuple):
    """The collections of a store, and their client."""

    client: AsyncMongoClient[dict[str, Any]]
    name: str
    wait_s: float  # for a server that answers
    version: Collection
    record: Collection
    txn: Collection
    head: Collection
    part: Collection
    secret: Collection

    @property
    def pending(self) -> tuple[Collection, ...]:
        """The collections that have pending documents."""
        return self.version, self.record, self.part


def connect(url: str) -> Database:
    """Return the collections; nothing is sent yet.

    A write is acknowledged when most of the replica set has it in the journal. Commits and secrets are read as most of
    it have them: an election may undo what is not there yet. All else is read as the primary has it: a head names
    only commits that nothing undoes, and a state sees nothing of later ones. A new primary learns only after its
    election what most have (https://www.mongodb.com/docs/manual/reference/read-concern-majority/, the example), and
    until then a condition read that way would not see what was acknowledged just before.

    Raises:
        Unavailable: The URL is none, or names no database.
    """
    try:
        parsed = parse_uri(url, warn=False)
    except (InvalidURI, ConfigurationError, ValueError):
        raise Unavailable("The store's URL is not of the form mongodb://HOST[:PORT]/DATABASE[?OPTIONS].") from None
    name = parsed.get("database")
    if not name:
        raise Unavailable("The store's URL names no database: mongodb://HOST/DATABASE.")
    wait_ms = int(1_000 * parsed["options"].get("serverSelectionTimeoutMS", WAIT_MS / 1_000))
    defaults: dict[str, Any] = {option: ms for option, ms in _DEFAULTS.items() if option not in parsed["options"]}
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        url, serverSelectionTimeoutMS=wait_ms, appname="predmp", tz_aware=True, **defaults
    )
    database = client.get_database(
        name,
        write_concern=WriteConcern(w="majority", j=True),
        read_preference=ReadPreference.PRIMARY,
    )
    names = ("version", "record", "txn", "head", "part", "secret")
    read = {one: ReadConcern("majority" if one in _SURE else "local") for one in names}
    return Database(
        client, name, wait_ms / 1_000, *(database.get_collection(one, read_concern=read[one]) for one in names)
    )


async def make_indexes(database: Database) -> None:
    """Make the indexes that are not there yet."""
    for name, indexes in _INDEXES.items():
        models = [IndexModel(list(index)) for index in indexes]
        if name in _PENDING:
            models.append(IndexModel([("tx", 1)], sparse=True))
        collection: Collection = getattr(database, name)
        await collection.create_indexes(models)


@contextmanager
def translated() -> Iterator[None]:
    """Raise the driver's errors as those that clients see: TooCostly beyond a bound, else Unavailable."""
    try:
        yield
    except (ExecutionTimeout, DocumentTooLarge) as error:  # too large: a question with very many ids in it
        raise TooCostly(TOO_COSTLY) from error
    except OperationFailure as error:
        if error.code in _NO_MEMORY:
            raise TooCostly(TOO_COSTLY) from error
        if error.code in _NOT_ALLOWED:
            raise Unavailable("The MongoDB server does not let in the user of the store's URL.") from error
        raise Unavailable("The store refused what it was asked.") from error
    except ConfigurationError as error:
        raise Unavailable("The driver and the MongoDB server do not fit: 4.4 or newer is needed.") from error
    except PyMongoError as error:
        raise Unavailable("The store cannot be reached now.") from error
