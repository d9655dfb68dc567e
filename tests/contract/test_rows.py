"""What stands beside the resources: records, epochs, the audit chain, secrets; and tenants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fhir_server.errors import Unavailable
from fhir_server.model import Record
from fhir_server.search.values import Text
from fhir_server.store.protocol import AuditRow, HistoryQuery, Store, Transaction
from tests.contract.conftest import DURABLE
from tests.contract.small import NOW, TENANT, Maker, asked, history, ids, put


def row(n: int, *patients: str) -> AuditRow:
    return AuditRow(
        NOW + n, "demo", "Practitioner/1", "R", "read", f"Patient/{n}", patients, 0, "TREAT", f"r-{n}", "a=é"
    )


async def record(
    store: Store, key: str, state: str, body: bytes = b"", *, kind: str = "inbox", lane: str = ""
) -> Record:
    async def work(tx: Transaction) -> Record:
        return await tx.put_record(kind, key, state, body, lane=lane)

    return await store.transact(TENANT, work)


async def test_a_record_is_read_back_whole(store: Store) -> None:
    made = await record(store, "k1", "new", b"\x00\xffbody", lane="p1")
    assert (made.kind, made.key, made.state, made.lane, made.body) == ("inbox", "k1", "new", "p1", b"\x00\xffbody")
    async with store.view(TENANT) as view:
        assert await view.record("inbox", "k1") == made
        assert await view.record("inbox", "k2") is None and await view.record("outbox", "k1") is None


async def test_a_replaced_record_keeps_its_seq(store: Store) -> None:
    first = await record(store, "a", "new", b"1", lane="x")
    await record(store, "b", "new")
    second = await record(store, "a", "done", b"2", lane="y")
    assert second.seq == first.seq and second.at > first.at
    async with store.view(TENANT) as view:
        assert [(r.key, r.state, r.lane, r.body) for r in await view.records("inbox")] == [
            ("a", "done", "y", b"2"),
            ("b", "new", "", b""),
        ]


async def test_records_are_listed_oldest_first_by_state_lane_and_place(store: Store) -> None:
    for n in range(6):
        await record(store, f"k{n}", "new" if n % 2 else "done", lane="even" if n < 3 else "odd")
    await record(store, "other", "new", kind="outbox")
    async with store.view(TENANT) as view:
        every = await view.records("inbox")
        assert [r.key for r in every] == [f"k{n}" for n in range(6)]
        assert [r.key for r in await view.records("inbox", state="new")] == ["k1", "k3", "k5"]
        assert [r.key for r in await view.records("inbox", lane="even")] == ["k0", "k1", "k2"]
        assert [r.key for r in await view.records("inbox", state="new", lane="odd")] == ["k3", "k5"]
        assert [r.key for r in await view.records("inbox", after=every[3].seq)] == ["k4", "k5"]
        assert [r.key for r in await view.records("inbox", after=every[1].seq, limit=2)] == ["k2", "k3"]
        assert [r.key for r in await view.records("inbox", before=every[4].seq, limit=2)] == ["k3", "k2"]
        assert [r.key for r in await view.records("inbox", before=every[-1].seq + 1, state="new")] == ["k5", "k3", "k1"]
        assert [r.key for r in await view.records("inbox", after=every[0].seq, before=every[3].seq)] == ["k2", "k1"]


async def test_a_dropped_record_is_gone_and_dropping_nothing_is_nothing(store: Store) -> None:
    await record(store, "a", "new")

    async def work(tx: Transaction) -> None:
        await tx.drop_record("inbox", "a")
        await tx.drop_record("inbox", "never")
        assert await tx.record("inbox", "a") is None

    await store.transact(TENANT, work)
    async with store.view(TENANT) as view:
        assert await view.records("inbox") == []


async def test_a_transaction_sees_its_own_records(store: Store) -> None:
    await record(store, "a", "new")

    async def work(tx: Transaction) -> list[tuple[str, str]]:
        await tx.put_record("inbox", "a", "done", b"")
        await tx.put_record("inbox", "b", "new", b"")
        return [(r.key, r.state) for r in await tx.records("inbox")]

    assert await store.transact(TENANT, work) == [("a", "done"), ("b", "new")]


async def test_the_epoch_grows_where_it_is_bumped(store: Store, maker: Maker) -> None:
    async def bump(tx: Transaction) -> int:
        await tx.bump_epoch()
        return await tx.epoch()

    async with store.view(TENANT) as view:
        before = await view.epoch()
    inside = await store.transact(TENANT, bump)
    await put(store, maker.write("Patient/1"))
    async with store.view(TENANT) as view:
        assert await view.epoch() == inside > before


async def test_audit_rows_come_back_in_order_and_by_patient(store: Store) -> None:
    async def work(tx: Transaction) -> None:
        await tx.audit(row(1, "a"))
        await tx.audit(row(2, "a", "b"))

    await store.transact(TENANT, work)
    store.audit_soon(TENANT, row(3))
    store.audit_soon(TENANT, row(4, "b"))
    await store.transact(TENANT, work)
    async with store.view(TENANT) as view:
        rows = await view.audits()
        assert [r for _, r in rows] == [
            row(1, "a"),
            row(2, "a", "b"),
            row(3),
            row(4, "b"),
            row(1, "a"),
            row(2, "a", "b"),
        ]
        seqs = [seq for seq, _ in rows]
        assert seqs == list(range(seqs[0], seqs[0] + 6)), "the chain has a gap"
        assert [r.target for _, r in await view.audits(patient="b")] == ["Patient/2", "Patient/4", "Patient/2"]
        assert await view.audits(after=seqs[3]) == rows[4:]
        assert await view.audits(after=seqs[0], limit=2) == rows[1:3]
        assert await view.audits(patient="nobody") == []
    assert await store.verify_audit() is None


async def test_an_empty_audit_chain_is_whole(store: Store) -> None:
    assert await store.verify_audit() is None


async def test_a_view_does_not_show_audit_rows_that_came_after(store: Store) -> None:
    store.audit_soon(TENANT, row(1))
    await record(store, "a", "new")
    async with store.view(TENANT) as view:
        before = await view.audits()
        store.audit_soon(TENANT, row(2))
        await record(store, "b", "new")
        assert await view.audits() == before and len(before) == 1


async def test_tenants_are_those_that_something_was_written_for(store: Store, maker: Maker) -> None:
    assert await store.tenants() == []
    await put(store, maker.write("Patient/1"), tenant="south")
    await put(store, maker.write("Patient/1"), tenant="north")
    async with store.view("nowhere") as view:
        assert await view.epoch() == 0
    assert sorted(await store.tenants()) == ["north", "south"]


async def test_a_closed_store_takes_no_audit_row_and_no_transaction(build: Callable[[], Store]) -> None:
    store = build()
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        store.audit_soon(TENANT, row(1))
    with pytest.raises(Unavailable):
        await record(store, "a", "new")


async def test_a_secret_is_made_once_and_each_name_has_its_own(store: Store) -> None:
    token, cursor = await store.secret("tokens"), await store.secret("cursors")
    assert len(token) == len(cursor) == 32 and token != cursor
    assert await store.secret("tokens") == token


async def test_tenants_know_nothing_of_each_other(store: Store, maker: Maker) -> None:
    for tenant in ("north", "south"):

        async def work(tx: Transaction, tenant: str = tenant) -> None:
            name = {"name": Text(tenant)}
            await tx.put(maker.write("Patient/1", values=name, owners=("1",)))
            await tx.put(maker.write(f"Patient/{tenant}", values=name))
            await tx.put_record("inbox", "k", tenant, b"")
            await tx.audit(row(1, "1"))
            await tx.bump_epoch()

        await store.transact(tenant, work)
    for tenant, other in (("north", "south"), ("south", "north")):
        assert await ids(store, asked("Patient", "_sort=_id"), tenant=tenant) == ["1", tenant]
        assert await ids(store, asked("Patient", f"name={other}"), tenant=tenant) == []
        assert (await history(store, HistoryQuery(), tenant=tenant))[1] == 2
        async with store.view(tenant) as view:
            assert view.tenant == tenant
            assert await view.read("Patient", other) is None
            assert [r.state for r in await view.records("inbox")] == [tenant]
            assert len(await view.audits()) == 1 and await view.epoch() == 1
    async with store.view("nowhere") as view:
        assert await view.read("Patient", "1") is None and await view.epoch() == 0
        assert (await view.search(asked("Patient"))).total == 0 and await view.audits() == []


async def test_everything_is_there_after_the_store_is_opened_again(
    build: Callable[[], Store], engine: str, maker: Maker
) -> None:
    if engine not in DURABLE:
        pytest.skip(f"the {engine} store forgets by design")
    first = build()
    await first.open()
    await put(first, maker.write("Patient/1", values={"name": Text("Ève")}, owners=("1",)))
    await put(first, maker.write("Patient/1", 2, values={"name": Text("Zoé")}, owners=("1",)))
    await record(first, "k", "new", b"body")
    first.audit_soon(TENANT, row(1, "1"))
    secret = await first.secret("tokens")
    await first.close()
    second = build()
    await second.open()
    try:
        assert await second.secret("tokens") == secret
        assert await ids(second, asked("Patient", "name=zoe")) == ["1"]
        assert await ids(second, asked("Patient", "name=eve")) == []
        assert (await history(second, HistoryQuery()))[1] == 2
        async with second.view(TENANT) as view:
            assert [r.body for r in await view.records("inbox")] == [b"body"]
            assert [r for _, r in await view.audits()] == [row(1, "1")]
        await put(second, maker.write("Patient/1", 3, values={"name": Text("Léa")}))
        assert await ids(second, asked("Patient", "name=zoe")) == []
    finally:
        await second.close()
