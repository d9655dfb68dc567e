"""Transactions: all or nothing, one after the other, and views that hold still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fhir_server.errors import Conflict, VersionConflict
from fhir_server.store.protocol import AuditRow, HistoryQuery, Store, Transaction
from fhir_server.store.sqlite import SqliteStore
from tests.contract.small import NOW, TENANT, Maker, asked, found, history, ids, put

ROW = AuditRow(NOW, "demo", "", "C", "create", "Patient/1", ("1",), 0, "TREAT", "r-1")


class Sentinel(Exception):
    """Raised by work, expected back."""


async def test_the_result_of_work_is_returned(store: Store) -> None:
    async def work(tx: Transaction) -> dict[str, int]:
        return {"answer": 42}

    assert await store.transact(TENANT, work) == {"answer": 42}


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Sentinel("x"), id="any exception"),
        pytest.param(Conflict("The state does not allow it."), id="one that a client sees"),
        pytest.param(asyncio.CancelledError(), id="cancellation"),
    ],
)
async def test_what_work_raises_undoes_everything_and_is_raised(
    store: Store, maker: Maker, error: BaseException
) -> None:
    await put(store, maker.write("Patient/1", mark="before"))

    async def work(tx: Transaction) -> None:
        await tx.put(maker.write("Patient/1", 2))
        await tx.put(maker.write("Patient/2"))
        await tx.put_record("inbox", "k", "new", b"x")
        await tx.audit(ROW)
        await tx.bump_epoch()
        raise error

    with pytest.raises(type(error)):
        await store.transact(TENANT, work)
    async with store.view(TENANT) as view:
        current = await view.read("Patient", "1")
        assert current is not None and current.version == 1
        assert await view.read("Patient", "2") is None
        assert await view.record("inbox", "k") is None and await view.records("inbox") == []
        assert await view.audits() == [] and await view.epoch() == 0
    assert await ids(store, asked("Patient")) == ["1"]
    assert (await history(store, HistoryQuery()))[1] == 1


async def test_after_a_rollback_the_same_can_be_written(store: Store, maker: Maker) -> None:
    async def work(tx: Transaction) -> None:
        await tx.put(maker.write("Patient/1", values={}))
        raise Sentinel

    with pytest.raises(Sentinel):
        await store.transact(TENANT, work)
    await put(store, maker.write("Patient/1"))
    assert await ids(store, asked("Patient")) == ["1"]


async def test_a_conflict_in_the_middle_undoes_what_came_before(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1"))
    with pytest.raises(VersionConflict):
        await put(store, maker.write("Patient/2"), maker.write("Patient/1", 5), maker.write("Patient/3"))
    assert await ids(store, asked("Patient")) == ["1"]


async def test_of_many_that_replace_one_version_one_wins(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1"))
    results = await asyncio.gather(
        *(put(store, maker.write("Patient/1", 2)) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, list) for result in results) == 1
    assert sum(isinstance(result, VersionConflict) for result in results) == 19


async def test_of_many_that_create_when_there_is_none_one_creates(store: Store, maker: Maker) -> None:
    async def once(n: int) -> bool:
        async def work(tx: Transaction) -> bool:
            if await tx.count(("Patient",), asked("Patient", "_id=only").where):
                return False
            await tx.put(maker.write("Patient/only"))
            return True

        return await store.transact(TENANT, work)

    assert sorted(await asyncio.gather(*(once(n) for n in range(20)))) == [False] * 19 + [True]


async def test_many_writers_lose_nothing(store: Store, maker: Maker) -> None:
    await asyncio.gather(*(put(store, maker.write(f"Patient/{n}"), maker.write(f"Task/{n}")) for n in range(50)))
    assert sorted(await ids(store, asked("Patient", "_count=100")), key=int) == [str(n) for n in range(50)]
    assert (await history(store, HistoryQuery(count=200)))[1] == 100


async def test_a_failing_neighbour_harms_nobody(store: Store, maker: Maker) -> None:
    async def fail(tx: Transaction) -> None:
        await tx.put(maker.write("Patient/bad"))
        raise Sentinel

    results = await asyncio.gather(
        *(put(store, maker.write(f"Patient/{n}")) if n % 2 else store.transact(TENANT, fail) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Sentinel) for result in results) == 10
    assert len(await ids(store, asked("Patient"))) == 10


async def test_now_is_one_in_a_transaction_and_grows_from_one_to_the_next(store: Store) -> None:
    async def work(tx: Transaction) -> tuple[int, int]:
        first = tx.now
        await tx.audit(ROW)
        return first, tx.now

    times = [await store.transact(TENANT, work) for _ in range(5)]
    assert all(first == last for first, last in times)
    assert [first for first, _ in times] == sorted({first for first, _ in times})


async def test_a_view_holds_still_while_others_write(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1", mark="old"), maker.write("Patient/2"))
    async with store.view(TENANT) as view:
        first = await view.search(asked("Patient"))
        await put(store, maker.write("Patient/3"), maker.write("Patient/1", 2), maker.deletion("Patient/2", 2))
        again = await view.search(asked("Patient"))
        current = await view.read("Patient", "1")
        _, total = await view.history(HistoryQuery())
        assert await view.read("Patient", "3") is None
    assert again == first
    assert current is not None and current.version == 1 and total == 2
    assert await ids(store, asked("Patient", "_sort=_id")) == ["1", "3"]


async def test_what_is_acknowledged_is_in_every_view_opened_after(store: Store, maker: Maker) -> None:
    for n in range(20):
        await put(store, maker.write(f"Patient/{n}"))
        assert (await found(store, asked("Patient"))).total == n + 1


async def test_what_is_looked_up_in_one_go_is_what_is_read_one_by_one(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1", mark="first"), maker.write("Patient/2"), maker.write("Observation/1"))
    await put(store, maker.write("Patient/1", 2, mark="second"), maker.deletion("Patient/2", 2))
    keys = [("Patient", "1"), ("Observation", "1"), ("Patient", "2"), ("Patient", "3"), ("Flag", "1")]

    async def alone(tx: Transaction) -> list[object]:
        return [await tx.read(*key) for key in keys]

    async def together(tx: Transaction) -> list[object]:
        await tx.look_up(keys)
        return await alone(tx)

    one_by_one = await store.transact(TENANT, alone)
    await store.transact("other", together)
    assert await store.transact(TENANT, together) == one_by_one
    assert [one is None for one in one_by_one] == [False, False, False, True, True]


async def test_rows_that_are_looked_up_in_one_go_are_what_is_read_one_by_one(store: Store) -> None:
    keys = ["plain", "not there", 'with "quotes", a \\ and é', "a\0b", "a"]

    async def fill(tx: Transaction) -> None:
        for key in (keys[0], keys[2], keys[3]):
            await tx.put_record("kind", key, "made", key.encode())

    async def together(tx: Transaction) -> list[bytes | None]:
        found = await tx.records_of("kind", keys)
        assert [await tx.record("kind", key) for key in keys] == [found.get(key) for key in keys]
        return [found[key].body if key in found else None for key in keys]

    async def write_all(tx: Transaction) -> list[int]:
        await tx.records_of("kind", keys)
        made = [await tx.put_record("kind", key, "changed", b"new") for key in keys]
        assert list((await tx.records_of("kind", keys)).values()) == made
        return [one.seq for one in made]

    await store.transact(TENANT, fill)
    there = [keys[0].encode(), None, keys[2].encode(), keys[3].encode(), None]
    assert await store.transact(TENANT, together) == there
    assert await store.transact("other", together) == [None] * 5
    assert len(set(await store.transact(TENANT, write_all))) == 5
    async with store.view(TENANT) as view:
        assert [one.key for one in await view.records("kind")] == [keys[0], keys[2], keys[3], keys[1], keys[4]]
        assert await view.record("other kind", keys[0]) is None


async def test_what_a_transaction_wrote_is_not_hidden_by_looking_it_up(store: Store, maker: Maker) -> None:
    await put(store, maker.write("Patient/1", mark="before"))

    async def work(tx: Transaction) -> None:
        made = [await tx.put(maker.write("Patient/1", 2, mark="own")), await tx.put(maker.write("Patient/2"))]
        keys = [("Patient", "1"), ("Patient", "2"), ("Patient", "3")]
        await tx.look_up(keys)
        assert [await tx.read(*key) for key in keys] == [*made, None]
        made.append(await tx.put(maker.write("Patient/3")))
        assert await tx.read("Patient", "3") == made[2]

    await store.transact(TENANT, work)
    assert sorted(await ids(store, asked("Patient"))) == ["1", "2", "3"]


async def test_what_was_looked_up_as_absent_can_be_written_after_a_rollback(store: Store, maker: Maker) -> None:
    async def fail(tx: Transaction) -> None:
        await tx.look_up([("Patient", "1")])
        await tx.put(maker.write("Patient/1"))
        raise Sentinel("x")

    with pytest.raises(Sentinel):
        await store.transact(TENANT, fail)
    (made,) = await put(store, maker.write("Patient/1"))
    assert made.version == 1
    with pytest.raises(VersionConflict):
        await put(store, maker.write("Patient/1"))


@pytest.mark.parametrize("fails", [pytest.param(False, id="what is done"), pytest.param(True, id="what fails")])
async def test_what_is_done_while_the_disk_is_waited_for_changes_no_commit(
    store: Store, maker: Maker, fails: bool
) -> None:
    said: list[bool] = []

    def run(is_waiting: Callable[[], bool]) -> None:
        said.append(is_waiting())
        if fails:
            raise Sentinel("x")

    async def work(tx: Transaction) -> int:
        tx.meanwhile(run)
        return (await tx.put(maker.write("Patient/1"))).version

    assert await store.transact(TENANT, work) == 1
    assert await ids(store, asked("Patient")) == ["1"]
    assert len(said) == (1 if isinstance(store, SqliteStore) else 0)  # its first commits are all waited for in a thread
    (made,) = await put(store, maker.write("Patient/2"))
    assert made.version == 1 and len(said) <= 1
