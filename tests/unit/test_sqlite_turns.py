"""Processes that write to one file without end take turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Transaction
from fhir_server.store.sqlite import SqliteStore

T = "t"
TURNS, WRITERS = 20, 4
MOST = 25  # commits of one process that another waits for, in the mean; hundreds where they take no turns


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[list[SqliteStore]]:
    """What two processes have of one file."""
    made = [SqliteStore(str(tmp_path / "hub.db"), index=lambda _: Indexed({}, ())) for _ in range(2)]
    for store in made:
        await store.open()
    yield made
    for store in made:
        await store.close()


async def write(tx: Transaction) -> None:
    await tx.bump_epoch()


async def test_none_of_two_that_write_without_end_waits_for_many_commits_of_the_other(
    stores: list[SqliteStore],
) -> None:
    one, other = stores
    done = 0
    await one.transact(T, write)

    async def go_on() -> None:
        nonlocal done
        while True:
            await one.transact(T, write)
            done += 1

    writing = [asyncio.create_task(go_on()) for _ in range(WRITERS)]
    while done < WRITERS:
        await asyncio.sleep(0)
    done = 0
    for _ in range(TURNS):
        await other.transact(T, write)
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)
    assert done / WRITERS < TURNS * MOST, done
