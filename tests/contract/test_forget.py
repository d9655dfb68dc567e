"""Earlier versions removed, on every store."""

from __future__ import annotations

import pytest

from fhir_server.search.values import Text
from fhir_server.store.protocol import HistoryQuery, Store, Transaction
from tests.contract.small import TENANT, Maker, asked, history, ids, put


async def forget(store: Store, reference: str) -> int:
    type, _, id = reference.partition("/")
    return await store.transact(TENANT, lambda tx: tx.forget(type, id))


@pytest.fixture
async def world(store: Store, maker: Maker) -> Store:
    """A Patient of three versions, and one of a single version."""
    for number in (1, 2, 3):
        await put(store, maker.write("Patient/1", number, values={"name": Text(f"Old{number}")}))
    await put(store, maker.write("Patient/2", 1, values={"name": Text("Other")}))
    return store


async def test_only_the_newest_version_is_left(world: Store) -> None:
    assert await forget(world, "Patient/1") == 2
    async with world.view(TENANT) as view:
        found = [await view.vread("Patient", "1", number) for number in (1, 2, 3)]
    assert [version and version.version for version in found] == [None, None, 3]
    assert await history(world, HistoryQuery("Patient", "1")) == ([("Patient/1", 3)], 1)
    assert await history(world, HistoryQuery("Patient")) == ([("Patient/2", 1), ("Patient/1", 3)], 2)
    assert await ids(world, asked("Patient", "name=old3")) == ["1"]


async def test_what_comes_after_goes_on_counting(world: Store, maker: Maker) -> None:
    await forget(world, "Patient/1")
    await put(world, maker.write("Patient/1", 4, values={"name": Text("New")}))
    assert await history(world, HistoryQuery("Patient", "1")) == ([("Patient/1", 4), ("Patient/1", 3)], 2)
    assert await ids(world, asked("Patient", "name=old3")) == []
    assert await forget(world, "Patient/1") == 1


async def test_a_deletion_stays_as_the_newest(world: Store, maker: Maker) -> None:
    await put(world, maker.deletion("Patient/1", 4))
    assert await forget(world, "Patient/1") == 3
    assert await history(world, HistoryQuery("Patient", "1")) == ([("Patient/1", 4)], 1)
    async with world.view(TENANT) as view:
        newest = await view.read("Patient", "1")
    assert newest is not None
    assert newest.is_deleted


async def test_there_may_be_nothing_to_forget(world: Store) -> None:
    assert await forget(world, "Patient/2") == 0
    assert await forget(world, "Patient/none") == 0
    assert await forget(world, "Device/none") == 0


async def test_what_is_undone_is_not_forgotten(world: Store) -> None:
    async def work(tx: Transaction) -> None:
        await tx.forget("Patient", "1")
        raise LookupError

    with pytest.raises(LookupError):
        await world.transact(TENANT, work)
    assert (await history(world, HistoryQuery("Patient", "1")))[1] == 3
