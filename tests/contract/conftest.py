"""The stores that the contract is held against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pymongo import MongoClient

from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import MongoStore
from fhir_server.store.protocol import Store
from fhir_server.store.sqlite import SqliteStore
from tests import mongo
from tests.contract.small import Maker

DURABLE = ("sqlite", "mongo")
Opening = Callable[[], Awaitable[MongoStore]]


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture(params=["memory", "sqlite", "mongo"])
def engine(request: pytest.FixtureRequest) -> str:
    """The name of a store."""
    return cast(str, request.param)


@pytest.fixture
def url(engine: str, tmp_path: Path) -> Iterator[str]:
    """Where the test's store is: a file, or a database of its own."""
    if engine != "mongo":
        yield str(tmp_path / "hub.db")
        return
    made = mongo.new_url()
    yield made
    mongo.drop(made)


@pytest.fixture
def build(engine: str, maker: Maker, url: str) -> Callable[[], Store]:
    """Makes a store over the same place each time, not open yet."""

    def make() -> Store:
        if engine == "memory":
            return MemoryStore(index=maker.index)
        if engine == "mongo":
            return MongoStore(url, index=maker.index)
        return SqliteStore(url, index=maker.index)

    return make


@pytest.fixture
async def store(build: Callable[[], Store]) -> AsyncIterator[Store]:
    """An open, empty store."""
    made = build()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def raw(url: str) -> Iterator[Any]:
    """The database itself, of MongoDB."""
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    yield client.get_default_database()
    client.close()


@pytest.fixture
async def opening(url: str, maker: Maker) -> AsyncIterator[Opening]:
    """Opens stores on one database of MongoDB, as several processes do, and closes them at the end."""
    made: list[MongoStore] = []

    async def opening() -> MongoStore:
        made.append(MongoStore(url, index=maker.index))
        await made[-1].open()
        return made[-1]

    yield opening
    for store in made:
        await store.close()
