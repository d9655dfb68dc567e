"""What a replica set or a sharded cluster does that one server never does, played to the MongoDB store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pymongo import ReadPreference
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import AutoReconnect, WriteConcernError

from fhir_server.errors import TooLarge, Unavailable
from fhir_server.search.values import Text
from fhir_server.store.mongo import MongoStore, commit, lane, reading
from fhir_server.store.mongo.connection import connect
from fhir_server.store.mongo.janitor import HELD_MS, Janitor
from fhir_server.store.mongo.presence import Presence
from fhir_server.store.protocol import AuditRow, HistoryQuery, Transaction
from tests.contract.conftest import Opening
from tests.contract.small import NOW, TENANT, Maker, asked, ids, put

ROW = AuditRow(NOW, "demo", "", "C", "create", "Patient/1", ("1",), 0, "TREAT", "r-1")

Answer = Callable[..., Awaitable[Any]]


class Acting:
    """A collection of which one method answers in another way."""

    def __init__(self, collection: Any, method: str, act: Callable[[Answer], Answer]) -> None:
        self._collection, self._method, self._act = collection, method, act

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._collection, name)
        return self._act(found) if name == self._method else found


def let_act(store: MongoStore, name: str, method: str, act: Callable[[Answer], Answer]) -> None:
    """Let a method of one of the store's collections answer in another way, from the next commit on."""
    whole = store._database
    assert whole is not None
    acting: Any = Acting(getattr(whole, name), method, act)
    store._database = whole._replace(**{name: acting})
    store._lanes.clear()


@pytest.fixture
def engine() -> str:
    return "mongo"


@pytest.fixture
async def store(opening: Opening, maker: Maker) -> MongoStore:
    """A store with one Patient."""
    made = await opening()
    await put(made, maker.write("Patient/1", values={"name": Text("Before")}))
    return made


async def versions(store: MongoStore) -> list[int]:
    """Return the versions of the Patient that its history has, the current one first."""
    async with store.view(TENANT) as view:
        current = await view.read("Patient", "1")
        found, _ = await view.history(HistoryQuery("Patient", "1"))
    assert current is not None and found[0] == current
    return [version.version for version in found]


async def test_writes_wait_for_most_of_the_set_and_commits_are_read_as_most_have_them(url: str) -> None:
    made = connect(f"{url}?w=1&journal=false&readPreference=secondaryPreferred&readConcernLevel=available")
    try:
        collections = [one for one in made if isinstance(one, AsyncCollection)]
        concerns = {one.name: one.read_concern.level for one in collections}
        assert all(one.write_concern.document == {"w": "majority", "j": True} for one in collections)
        assert all(one.read_preference == ReadPreference.PRIMARY for one in collections)
    finally:
        await made.client.close()
    sure, plain = dict.fromkeys(("txn", "secret"), "majority"), ("version", "record", "part", "head")
    assert concerns == {**sure, **dict.fromkeys(plain, "local")}


async def test_a_commit_that_most_of_the_set_does_not_have_yet_is_not_taken_for_anothers(
    store: MongoStore, maker: Maker
) -> None:
    said = iter([AutoReconnect("the answer was lost")])

    def deaf(insert: Answer) -> Answer:
        async def run(*args: Any, **more: Any) -> Any:
            made = await insert(*args, **more)
            for error in said:
                raise error
            return made

        return run

    unseen = iter([None, None])

    def late(find: Answer) -> Answer:
        async def run(*args: Any, **more: Any) -> Any:
            there = await find(*args, **more)
            return next(unseen, there)

        return run

    let_act(store, "txn", "insert_one", deaf)
    let_act(store, "txn", "find_one", late)
    await put(store, maker.write("Patient/1", 2, values={"name": Text("After")}))
    assert await versions(store) == [2, 1]
    assert await ids(store, asked("Patient", "name=after")) == ["1"]
    assert next(unseen, "all asked") == "all asked"


async def test_where_it_stays_unknown_whether_a_commit_was_taken_its_documents_stay(
    store: MongoStore, maker: Maker, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "_TRIES", 2)

    def deaf(insert: Answer) -> Answer:
        async def run(*args: Any, **more: Any) -> Any:
            await insert(*args, **more)
            raise WriteConcernError("the primary steps down", 91)

        return run

    def blind(find: Answer) -> Answer:
        async def run(*_: Any, **__: Any) -> None:
            return None

        return run

    let_act(store, "txn", "insert_one", deaf)
    let_act(store, "txn", "find_one", blind)
    with pytest.raises(Unavailable):
        await put(store, maker.write("Patient/1", 2))
    assert await versions(await opening()) == [2, 1], "it was taken, and the next start puts it in place"
    store._lanes.clear()


@pytest.mark.parametrize("name", ["version", "record"])
async def test_what_an_update_of_many_passes_by_is_updated_all_the_same(
    store: MongoStore, maker: Maker, raw: Any, name: str
) -> None:
    passed: list[Any] = []

    def moving(update: Answer) -> Answer:
        async def run(where: dict[str, Any], change: dict[str, Any]) -> Any:
            one = raw[name].find_one(where)
            if one is None or one["_id"] in passed:
                return await update(where, change)
            passed.append(one["_id"])  # it is on its way to another shard
            return await update({"$and": [where, {"_id": {"$ne": one["_id"]}}]}, change)

        return run

    async def work(tx: Transaction) -> None:
        await tx.put(maker.write("Patient/1", 2, values={"name": Text("After")}))
        await tx.put(maker.write("Patient/2", values={"name": Text("After")}))
        await tx.put_record("inbox", "k", "new", b"1")
        await tx.put_record("inbox", "l", "new", b"2")

    let_act(store, name, "update_many", moving)
    await store.transact(TENANT, work)
    assert len(passed) >= 1
    assert await versions(store) == [2, 1]
    assert await ids(store, asked("Patient", "name=after&_sort=_id")) == ["1", "2"]
    async with store.view(TENANT) as view:
        assert [record.key for record in await view.records("inbox")] == ["k", "l"]
    assert raw[name].count_documents({"tx": {"$exists": True}}) == 0


async def test_what_a_removal_of_many_passes_by_is_not_committed(store: MongoStore, maker: Maker, raw: Any) -> None:
    passed: list[Any] = []

    def moving(delete: Answer) -> Answer:
        async def run(where: dict[str, Any]) -> Any:
            one = raw.version.find_one(where)
            if one is None or passed:
                return await delete(where)
            passed.append(one["_id"])
            return await delete({"$and": [where, {"_id": {"$ne": one["_id"]}}]})

        return run

    async def undone(tx: Transaction) -> None:
        await tx.put(maker.write("Patient/2"))
        await tx.put(maker.write("Patient/3"))
        await tx.search(asked("Patient"))
        raise KeyError("undone")

    let_act(store, "version", "delete_many", moving)
    results = await asyncio.gather(
        store.transact(TENANT, undone), put(store, maker.write("Patient/4")), return_exceptions=True
    )
    assert isinstance(results[0], KeyError) and isinstance(results[1], list)
    assert passed and await ids(store, asked("Patient", "_sort=_id")) == ["1", "4"]


async def test_a_document_of_a_commit_that_is_still_pending_is_put_in_place_and_never_removed(
    store: MongoStore, raw: Any
) -> None:
    taken, made = raw.txn.find_one({"n": 1}), raw.version.find_one({"id": "1"})
    raw.version.update_one({"_id": made["_id"]}, {"$set": {"tx": taken["tx"]}, "$unset": {"f": ""}})
    assert await ids(store, asked("Patient")) == []
    assert store._database is not None
    await Janitor(store._database, lambda: 0).tidy()
    assert await ids(store, asked("Patient")) == ["1"]


@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param("head", "find_one", id="the lease cannot be handed on"),
        pytest.param("head", "update_one", id="the head cannot be moved"),
    ],
)
async def test_rows_that_are_committed_are_not_written_again_where_a_later_step_fails(
    store: MongoStore, raw: Any, monkeypatch: pytest.MonkeyPatch, name: str, method: str
) -> None:
    monkeypatch.setattr(lane, "MOST_TRIES", 1)
    errors = iter([AutoReconnect("the primary is gone")])

    def failing(ask: Answer) -> Answer:
        async def run(*args: Any, **more: Any) -> Any:
            for error in errors:
                raise error
            return await ask(*args, **more)

        return run

    let_act(store, name, method, failing)
    store.audit_soon(TENANT, ROW)
    while raw.txn.count_documents({"rows": {"$ne": []}}) == 0:
        await asyncio.sleep(0.01)
    await store.transact(TENANT, lambda tx: tx.audit(ROW._replace(request_id="r-2")))
    async with store.view(TENANT) as view:
        assert [row.request_id for _, row in await view.audits()] == ["r-1", "r-2"]
    assert await store.verify_audit() is None


async def test_what_is_too_much_for_one_commit_is_refused_and_its_neighbours_pass(
    store: MongoStore, maker: Maker, raw: Any
) -> None:
    async def much(tx: Transaction) -> None:
        await tx.put(maker.write("Patient/2"))
        for _ in range(20):
            await tx.audit(ROW._replace(query="x" * 1_000_000))

    results = await asyncio.gather(
        store.transact(TENANT, much), put(store, maker.write("Patient/3")), return_exceptions=True
    )
    assert isinstance(results[0], TooLarge) and isinstance(results[1], list)
    assert await ids(store, asked("Patient", "_sort=_id")) == ["1", "3"] and store.healthy
    assert raw.version.count_documents({"tx": {"$exists": True}}) == 0


async def test_a_row_that_no_commit_holds_is_refused_and_those_after_it_are_written(store: MongoStore) -> None:
    with pytest.raises(TooLarge):
        store.audit_soon(TENANT, ROW._replace(query="x" * 17_000_000))
    store.audit_soon(TENANT, ROW)
    await store.transact(TENANT, lambda tx: tx.audit(ROW._replace(request_id="r-2")))
    async with store.view(TENANT) as view:
        assert [row.request_id for _, row in await view.audits()] == ["r-1", "r-2"]


async def test_audit_rows_that_are_lost_with_the_server_are_counted_in_the_log(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(*_: object) -> None:
        raise AutoReconnect("gone")

    monkeypatch.setattr(lane, "take", gone)
    store.audit_soon(TENANT, ROW)
    await store.close()
    assert "1 audit rows are lost" in caplog.text


async def test_who_comes_waits_for_a_lost_server_only_as_long_as_it_is_not_lost_for_long(url: str) -> None:
    now = [100.0]
    lost = connect("mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=300")
    there = connect(url)
    try:
        presence = Presence(lost, lambda: now[0])
        now[0] = 200.0
        presence.check()  # nothing was seen to be lost yet
        presence.look()
        now[0] = 200.2
        presence.look()
        presence.check()
        now[0] = 200.4
        with pytest.raises(Unavailable):
            presence.check()
        presence = Presence(there, lambda: now[0])
        presence.look()  # the driver does not know it yet
        now[0] = 300.0
        await there.client.admin.command("ping")
        presence.check()
        assert presence.is_there
    finally:
        await lost.client.close()
        await there.client.close()


async def test_what_comes_while_a_lost_server_is_looked_for_is_answered(
    store: MongoStore, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "_TRIES", 1)
    errors = iter([AutoReconnect("the primary is gone")])

    def failing(insert: Answer) -> Answer:
        async def run(*args: Any, **more: Any) -> Any:
            for error in errors:
                raise error
            return await insert(*args, **more)

        return run

    looking, there = asyncio.Event(), asyncio.Event()
    look = lane.Lane._look

    async def slow(self: lane.Lane) -> None:
        looking.set()
        await there.wait()
        await look(self)

    monkeypatch.setattr(lane.Lane, "_look", slow)
    let_act(store, "txn", "insert_one", failing)
    with pytest.raises(Unavailable):
        await put(store, maker.write("Patient/2"))
    await looking.wait()
    written = asyncio.create_task(put(store, maker.write("Patient/3")))
    await asyncio.sleep(0)
    there.set()
    await asyncio.wait_for(written, 120)
    assert await ids(store, asked("Patient", "_sort=_id")) == ["1", "3"]


async def test_a_view_of_which_something_was_let_go_says_so(
    store: MongoStore, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "HELD_S", -1.0)
    assert store._database is not None
    now = [0]
    janitor = Janitor(store._database, lambda: now[0])
    async with store.view(TENANT) as view:
        await put(store, maker.write("Patient/1", 2, values={"name": Text("After")}))
        await janitor.tidy()
        assert await view.count(("Patient",), asked("Patient", "name=before").where) == 1
        now[0] = 2 * HELD_MS * 1_000
        await janitor.tidy()
        with pytest.raises(Unavailable):
            await view.count(("Patient",), asked("Patient", "name=before").where)
    async with store.view(TENANT) as view:
        assert await view.count(("Patient",), asked("Patient", "name=after").where) == 1
    assert await versions(store) == [2, 1]
