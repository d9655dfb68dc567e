"""The stores that the contract is held against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import Store
from fhir_server.store.sqlite import SqliteStore
from tests.contract.small import Maker

DURABLE = ("sqlite",)


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    """The name of a store."""
    return cast(str, request.param)


@pytest.fixture
def build(engine: str, maker: Maker, tmp_path: Path) -> Callable[[], Store]:
    """Makes a store over the same place each time, not open yet."""

    def make() -> Store:
        if engine == "memory":
            return MemoryStore(index=maker.index)
        return SqliteStore(str(tmp_path / "hub.db"), index=maker.index)

    return make


@pytest.fixture
async def store(build: Callable[[], Store]) -> AsyncIterator[Store]:
    """An open, empty store."""
    made = build()
    await made.open()
    yield made
    await made.close()
