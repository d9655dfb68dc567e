"""Erasing and re-indexing a resource, and the log of all versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.model import EVERYTHING, Visibility
from fhir_server.search.values import Indexed, Reference, Text, Token, Value
from fhir_server.store.protocol import AuditRow, HistoryQuery, Store, Transaction
from tests.contract.small import TENANT, Maker, asked, found, history, ids, put

ROW = AuditRow(1, "s", "", "R", "read", "Patient/1", ("1",), 0, "TREAT", "r")


def of(**values: Value) -> Indexed:
    return Indexed({code: (value,) for code, value in values.items()}, ())


async def erase(store: Store, reference: str) -> int:
    type, _, id = reference.partition("/")

    async def work(tx: Transaction) -> int:
        return await tx.erase(type, id)

    return await store.transact(TENANT, work)


async def reindex(store: Store, reference: str, indexed: Indexed) -> None:
    type, _, id = reference.partition("/")

    async def work(tx: Transaction) -> None:
        await tx.reindex(type, id, indexed)

    await store.transact(TENANT, work)


# --- erase ------------------------------------------------------------------------------------------------


@pytest.fixture
async def world(store: Store, maker: Maker) -> Store:
    """A patient with three versions, one that stays, and an Observation of each."""
    for n in (1, 2, 3):
        name: Value = Text(f"Gone{n}")
        await put(store, maker.write("Patient/1", n, at=n, owners=("1",), values={"name": name}, mark="secret"))
    await put(store, maker.write("Patient/2", at=4, owners=("2",), values={"name": Text("Stays")}))
    await put(
        store,
        maker.about("Observation/a", "1", {"code": Token("u", "x", "Body weight")}),
        maker.about("Observation/b", "2", {"code": Token("u", "x", "Body weight")}),
    )
    return store


async def test_an_erased_resource_is_as_if_it_had_never_been(world: Store) -> None:
    assert await erase(world, "Patient/1") == 3
    async with world.view(TENANT) as view:
        assert await view.read("Patient", "1") is None
        assert [await view.vread("Patient", "1", n) for n in (1, 2, 3)] == [None] * 3
        assert await view.count(("Patient",), ()) == 1
    assert await ids(world, asked("Patient")) == ["2"]
    assert await ids(world, asked("Patient", "name=gone")) == []
    assert await ids(world, asked("Patient", "_sort=name")) == ["2"]
    assert await history(world, HistoryQuery("Patient", "1")) == ([], 0)
    assert await history(world, HistoryQuery("Patient")) == ([("Patient/2", 1)], 1)
    assert (await history(world, HistoryQuery()))[1] == 3
    assert await ids(world, asked("Observation", "patient.name=gone")) == []


async def test_a_deleted_resource_is_erased_with_its_deletion(world: Store, maker: Maker) -> None:
    await put(world, maker.deletion("Patient/1", 4))
    assert await erase(world, "Patient/1") == 4
    async with world.view(TENANT) as view:
        assert await view.read("Patient", "1") is None
    assert await history(world, HistoryQuery("Patient")) == ([("Patient/2", 1)], 1)


async def test_what_is_not_there_is_not_erased(world: Store) -> None:
    assert await erase(world, "Patient/none") == 0
    assert await erase(world, "Device/none") == 0
    assert await ids(world, asked("Patient")) == ["2", "1"]


async def test_others_keep_the_texts_that_they_share(world: Store) -> None:
    assert await erase(world, "Observation/a") == 1
    assert await ids(world, asked("Observation", "code:text=body")) == ["b"]
    assert await ids(world, asked("Observation", "code=x")) == ["b"]
    await erase(world, "Observation/b")
    assert await ids(world, asked("Observation", "code:text=body")) == []


async def test_an_erased_id_may_be_taken_anew(world: Store, maker: Maker) -> None:
    async def work(tx: Transaction) -> list[str]:
        await tx.erase("Patient", "1")
        await tx.put(maker.write("Patient/1", 1, owners=("1",), values={"name": Text("New")}))
        return [v.id for v in (await tx.search(asked("Patient", "name=new,gone,stays"))).versions]

    assert await world.transact(TENANT, work) == ["1", "2"]
    await put(world, maker.write("Patient/1", 2, values={"name": Text("Newer")}))
    assert await history(world, HistoryQuery("Patient", "1")) == ([("Patient/1", 2), ("Patient/1", 1)], 2)
    assert await ids(world, asked("Patient", "name=new")) == ["1"]


async def test_what_a_transaction_made_it_can_erase(store: Store, maker: Maker) -> None:
    async def work(tx: Transaction) -> tuple[int, int]:
        await tx.put(maker.write("Patient/1", values={"name": Text("New")}))
        return await tx.erase("Patient", "1"), await tx.erase("Patient", "1")

    assert await store.transact(TENANT, work) == (1, 0)
    assert await ids(store, asked("Patient")) == []
    await put(store, maker.write("Patient/1", values={"name": Text("New")}))
    assert await ids(store, asked("Patient", "name=new")) == ["1"]


async def test_an_erasure_that_is_undone_took_nothing(world: Store) -> None:
    async def work(tx: Transaction) -> None:
        await tx.erase("Patient", "1")
        raise LookupError

    with pytest.raises(LookupError):
        await world.transact(TENANT, work)
    assert await ids(world, asked("Patient", "name=gone3")) == ["1"]
    assert (await history(world, HistoryQuery("Patient", "1")))[1] == 3


async def test_numbers_of_what_was_erased_are_not_given_again(store: Store, maker: Maker) -> None:
    (made,) = await put(store, maker.write("Patient/1"))
    await erase(store, "Patient/1")
    await store.close()
    await store.open()
    (after,) = await put(store, maker.write("Patient/2"))
    assert after.seq > made.seq


async def test_the_audit_chain_stays_whole(world: Store) -> None:
    async def work(tx: Transaction) -> None:
        await tx.audit(ROW)

    await world.transact(TENANT, work)
    await erase(world, "Patient/1")
    async with world.view(TENANT) as view:
        assert [row for _, row in await view.audits(patient="1")] == [ROW]
    assert await world.verify_audit() is None


async def test_nothing_of_an_erased_body_is_left_in_the_files(store: Store, maker: Maker, tmp_path: Path) -> None:
    long = {"name": Text("Zyxwvu")}
    for n in (1, 2):
        await put(store, maker.write("Patient/1", n, values=long, mark="qwertzuiop" + "x" * 20_000))
    await put(store, *(maker.write(f"Patient/o{n}", values={"name": Text(f"n{n}")}) for n in range(50)))
    await put(store, maker.write("Observation/1", values={"code": Token("u", "a", "asdfghjkl")}, mark="qwertzuiop"))

    def holds(needle: bytes) -> bool:
        return any(needle in file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm"))

    is_kept = any(tmp_path.iterdir())
    assert not is_kept or (holds(b"qwertzuiop") and holds(b"zyxwvu") and holds(b"asdfghjkl"))
    await erase(store, "Patient/1")
    await erase(store, "Observation/1")
    assert [needle for needle in (b"qwertzuiop", b"zyxwvu", b"Zyxwvu", b"asdfghjkl") if holds(needle)] == []


# --- reindex ----------------------------------------------------------------------------------------------


async def test_a_reindexed_resource_is_found_by_its_new_values_only(store: Store, maker: Maker) -> None:
    (made,) = await put(store, maker.write("Patient/1", values={"name": Text("Old"), "gender": Token("", "male")}))
    await put(store, maker.write("Patient/2", values={"name": Text("Other")}))
    await reindex(store, "Patient/1", of(name=Text("New"), identifier=Token("urn:s", "7")))
    assert await ids(store, asked("Patient", "name=old")) == []
    assert await ids(store, asked("Patient", "gender=male")) == []
    assert await ids(store, asked("Patient", "gender:missing=true")) == ["2", "1"]
    assert await ids(store, asked("Patient", "name=new")) == ["1"]
    assert await ids(store, asked("Patient", "identifier=urn:s|7")) == ["1"]
    assert await ids(store, asked("Patient", "_sort=name")) == ["1", "2"]
    async with store.view(TENANT) as view:
        assert await view.read("Patient", "1") == made
        assert await view.count(("Patient",), ()) == 2
    assert await history(store, HistoryQuery("Patient", "1")) == ([("Patient/1", 1)], 1)


async def test_a_reindexed_resource_belongs_to_its_new_owners(store: Store, maker: Maker) -> None:
    await put(store, maker.about("Observation/1", "p", {"code": Token("u", "a")}))
    indexed = Indexed({"subject": (Reference("Patient", "q"),), "code": (Token("u", "a"),)}, ("q",))
    await reindex(store, "Observation/1", indexed)
    assert await ids(store, asked("Observation", "code=a"), see=Visibility(frozenset({"p"}))) == []
    assert await ids(store, asked("Observation", "code=a"), see=Visibility(frozenset({"q"}))) == ["1"]
    async with store.view(TENANT) as view:
        read = await view.read("Observation", "1")
    assert read is not None and read.owners == ("q",)


async def test_what_is_not_current_is_not_reindexed(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1", values={"name": Text("Old")}))
    await put(store, maker.deletion("Patient/1", 2))
    await reindex(store, "Patient/1", of(name=Text("New")))
    await reindex(store, "Patient/none", of(name=Text("New")))
    assert await ids(store, asked("Patient", "name=new")) == []
    assert await ids(store, asked("Patient")) == []


async def test_values_that_no_body_gives_are_gone_with_the_version_that_had_them(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Observation/1", values={"code": Token("u", "a")}))
    # As by a search parameter that was added later: the index of the body knows nothing of it.
    await reindex(store, "Observation/1", of(code=Token("u", "a"), category=Token("u", "new")))
    await reindex(store, "Observation/1", of(code=Token("u", "a"), identifier=Token("u", "newer")))
    assert await ids(store, asked("Observation", "category=new")) == []
    assert await ids(store, asked("Observation", "identifier=newer")) == ["1"]
    await put(store, maker.write("Observation/1", 2, values={"code": Token("u", "b")}))
    assert await ids(store, asked("Observation", "identifier=newer")) == []
    assert await ids(store, asked("Observation", "code=a")) == []
    assert await ids(store, asked("Observation", "code=b")) == ["1"]


async def test_a_transaction_sees_what_it_reindexed(store: Store, maker: Maker) -> None:
    async def work(tx: Transaction) -> list[list[str]]:
        await tx.put(maker.write("Patient/1", values={"name": Text("Old")}))
        await tx.reindex("Patient", "1", of(name=Text("New")))
        return [[v.id for v in (await tx.search(asked("Patient", q))).versions] for q in ("name=old", "name=new")]

    assert await store.transact(TENANT, work) == [[], ["1"]]
    await put(store, maker.deletion("Patient/1", 2))
    assert await ids(store, asked("Patient", "name=new")) == []


# --- log and explain --------------------------------------------------------------------------------------


async def test_the_log_has_every_version_in_the_order_of_writes(store: Store, maker: Maker) -> None:
    made = await put(store, maker.write("Patient/1"), maker.write("Observation/1"))
    made += await put(store, maker.write("Patient/1", 2), maker.deletion("Observation/1", 2))
    await put(store, maker.write("Patient/1"), tenant="south")
    read: list[object] = []
    after = 0
    async with store.view(TENANT) as view:
        while page := await view.log(after=after, limit=3):
            assert len(page) <= 3
            read += page
            after = page[-1].seq
        assert await view.log(after=made[1].seq, limit=1) == [made[2]]
    assert read == made
    async with store.view("nowhere") as view:
        assert await view.log() == []


async def test_a_transaction_logs_what_it_wrote_and_not_what_was_erased(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1"), maker.write("Patient/2"))

    async def work(tx: Transaction) -> list[str]:
        await tx.put(maker.write("Patient/3"))
        await tx.erase("Patient", "1")
        return [version.id for version in await tx.log()]

    assert await store.transact(TENANT, work) == ["2", "3"]


async def test_an_explanation_tells_of_no_value(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1", values={"name": Text("Zyxwvu"), "identifier": Token("urn:s", "160777")}))
    query = asked("Patient", "name=Zyxwvu&identifier=urn:s|160777&_sort=birthdate")
    async with store.view(TENANT) as view:
        for see in (EVERYTHING, Visibility(frozenset({"1"}))):
            plan = await view.explain(query, see=see)
            assert plan["types"] == ["Patient"] and "engine" in plan
            assert "yxwvu" not in str(plan) and "160777" not in str(plan)
    assert (await found(store, query)).total == 1
