"""Versions of one resource: read, vread, deletions, and that they follow each other."""

from __future__ import annotations

import pytest

from fhir_server import gate
from fhir_server.errors import VersionConflict
from fhir_server.store.protocol import Store, Transaction
from tests.contract.small import TENANT, Maker, asked, ids, put


async def test_what_was_put_is_read_back_whole(store: Store, maker: Maker) -> None:
    write = maker.write("Patient/1", owners=("1",), at=1_234_567, mark="é 1.10")
    (made,) = await put(store, write)
    async with store.view(TENANT) as view:
        read = await view.read("Patient", "1")
    assert read == made
    assert (read.type, read.id, read.version, read.at, read.method) == ("Patient", "1", 1, 1_234_567, "POST")
    assert read.body == write.body and read.owners == ("1",) and read.seq > 0


async def test_an_id_that_was_never_used_is_none(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1"))
    async with store.view(TENANT) as view:
        assert await view.read("Patient", "2") is None
        assert await view.read("Observation", "1") is None
        assert await view.vread("Patient", "2", 1) is None


async def test_ids_are_case_sensitive(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/a"), maker.write("Patient/A"))
    async with store.view(TENANT) as view:
        lower, upper = await view.read("Patient", "a"), await view.read("Patient", "A")
    assert lower is not None and upper is not None and lower.body != upper.body


async def test_each_version_stays_readable(store: Store, maker: Maker) -> None:
    marks = ["one", "two", "three"]
    for n, mark in enumerate(marks, 1):
        await put(store, maker.write("Patient/1", n, mark=mark))
    async with store.view(TENANT) as view:
        current = await view.read("Patient", "1")
        versions = [await view.vread("Patient", "1", n) for n in (1, 2, 3)]
        assert await view.vread("Patient", "1", 4) is None and await view.vread("Patient", "1", 0) is None
    assert [gate.load(v.body)["mark"] for v in versions if v] == marks
    assert current == versions[2]


async def test_a_deletion_is_a_version_and_the_id_can_be_used_again(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1", owners=("1",)))
    await put(store, maker.deletion("Patient/1", 2))
    async with store.view(TENANT) as view:
        gone, before = await view.read("Patient", "1"), await view.vread("Patient", "1", 1)
    assert gone is not None and gone.is_deleted and (gone.version, gone.body) == (2, b"")
    assert before is not None and not before.is_deleted
    assert await ids(store, asked("Patient")) == []
    await put(store, maker.write("Patient/1", 3))
    assert await ids(store, asked("Patient")) == ["1"]


async def test_a_deletion_belongs_to_whom_the_resource_belonged(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Observation/1", owners=("p",)))
    (gone,) = await put(store, maker.deletion("Observation/1", 2))
    assert gone.owners == ("p",)
    async with store.view(TENANT) as view:
        assert await view.read("Observation", "1") == gone


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(1, id="the version that is there"),
        pytest.param(3, id="a version that leaves one out"),
        pytest.param(0, id="no version"),
    ],
)
async def test_a_version_that_does_not_follow_the_current_is_refused(store: Store, maker: Maker, version: int) -> None:
    await put(store, maker.write("Patient/1"))
    with pytest.raises(VersionConflict):
        await put(store, maker.write("Patient/1", version))
    async with store.view(TENANT) as view:
        current = await view.read("Patient", "1")
    assert current is not None and current.version == 1


async def test_a_new_id_begins_with_version_one(store: Store, maker: Maker) -> None:
    with pytest.raises(VersionConflict):
        await put(store, maker.write("Patient/1", 2))
    async with store.view(TENANT) as view:
        assert await view.read("Patient", "1") is None


async def test_the_order_of_writes_is_that_of_seq(store: Store, maker: Maker) -> None:
    first = await put(store, maker.write("Patient/1"), maker.write("Patient/2"))
    second = await put(store, maker.write("Patient/1", 2))
    seqs = [version.seq for version in (*first, *second)]
    assert seqs == sorted(set(seqs))


async def test_a_transaction_sees_what_it_wrote(store: Store, maker: Maker) -> None:
    async def work(tx: Transaction) -> list[str]:
        await tx.put(maker.write("Patient/1"))
        await tx.put(maker.write("Patient/1", 2))
        await tx.put(maker.write("Patient/2"))
        await tx.put(maker.deletion("Patient/2", 2))
        current = await tx.read("Patient", "1")
        assert current is not None and current.version == 2
        assert await tx.vread("Patient", "1", 1) is not None
        return [v.id for v in (await tx.search(asked("Patient"))).versions]

    assert await store.transact(TENANT, work) == ["1"]
    assert await ids(store, asked("Patient")) == ["1"]
