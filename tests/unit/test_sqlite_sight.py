"""Sets of patients who may be seen stand in tables of a connection: each search meets its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.model import Visibility
from fhir_server.store.sqlite import SqliteStore
from tests.contract.small import TENANT, Maker, asked, put

PATIENTS = 400


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    maker = Maker()
    store = SqliteStore(str(tmp_path / "hub.db"), index=maker.index)
    await store.open()
    await put(store, *(maker.write(f"Observation/{n}", owners=(f"p{n}",)) for n in range(PATIENTS)))
    yield store
    await store.close()


def people(start: int, end: int) -> frozenset[str]:
    return frozenset(f"p{n}" for n in range(start, end))


async def seen(store: SqliteStore, see: Visibility) -> set[int]:
    async with store.view(TENANT) as view:
        found = await view.search(asked("Observation", "_count=1000"), see=see)
    return {int(version.id) for version in found.versions}


async def test_who_is_seen_in_part_is_judged_in_every_search(store: SqliteStore) -> None:
    """Else the table of the one set is given to the other, and what is hidden is shown."""
    see = Visibility(people(0, 100), {id: lambda _: False for id in people(100, 200)})
    for _ in range(8):
        assert await seen(store, see) == set(range(100))


async def test_of_many_callers_each_sees_their_own(store: SqliteStore) -> None:
    for _ in range(3):
        for n in range(0, 300, 20):
            assert await seen(store, Visibility(people(n, n + 100))) == set(range(n, n + 100))


async def test_a_set_too_large_for_the_event_loop_leaves_the_others_as_they_are(store: SqliteStore) -> None:
    for n in range(6):
        few, many = Visibility(people(n, n + 100)), Visibility(people(n, 20_000))
        for see, number in ((few, 100), (many, PATIENTS - n), (few, 100)):
            assert len(await seen(store, see)) == number


async def test_a_cancelled_search_leaves_no_table_that_is_not_there(store: SqliteStore) -> None:
    for n in range(5):
        see = Visibility(people(n, 5_000))  # more than are put into a table on the event loop
        task = asyncio.create_task(seen(store, see))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await seen(store, see)) == PATIENTS - n
