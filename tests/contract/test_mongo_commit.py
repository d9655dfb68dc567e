"""Commits in MongoDB, broken off at each step: what a later start, or another process, makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from fhir_server.errors import Unavailable, VersionConflict
from fhir_server.search.values import Text
from fhir_server.store.mongo import MongoStore
from fhir_server.store.mongo.janitor import HELD_MS, Janitor
from fhir_server.store.protocol import AuditRow, HistoryQuery, Transaction
from tests import mongo
from tests.contract.conftest import Opening
from tests.contract.small import NOW, TENANT, Maker, asked, history, ids, put

ROW = AuditRow(NOW, "demo", "", "C", "create", "Patient/1", ("1",), 0, "TREAT", "r-1")


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def engine() -> str:
    return "mongo"


async def work(tx: Transaction, maker: Maker) -> None:
    await tx.put(maker.write("Patient/1", 2, values={"name": Text("After")}))
    await tx.put(maker.write("Patient/2", values={"name": Text("After")}))
    await tx.put_record("inbox", "k", "done", b"after")
    await tx.audit(ROW)
    await tx.bump_epoch()


async def state(store: MongoStore) -> str:
    """Return whether the world is as before the work or after it; fail where it is neither."""
    async with store.view(TENANT) as view:
        patient, second = await view.read("Patient", "1"), await view.read("Patient", "2")
        record, epoch, rows = await view.record("inbox", "k"), await view.epoch(), await view.audits()
        _, total = await view.history(HistoryQuery())
    assert patient is not None and record is not None
    found = await ids(store, asked("Patient", "name=after&_sort=_id"))
    seen = (patient.version, second is not None, record.state, epoch, len(rows), total, found)
    assert await store.verify_audit() is None
    if seen == (1, False, "new", 0, 0, 1, []):
        return "before"
    assert seen == (2, True, "done", 1, 1, 3, ["1", "2"]), seen
    return "after"


async def prepare(store: MongoStore, maker: Maker) -> None:
    async def begin(tx: Transaction) -> None:
        await tx.put(maker.write("Patient/1", values={"name": Text("Before")}))
        await tx.put_record("inbox", "k", "new", b"before")

    await store.transact(TENANT, begin)


def crash(step: int) -> Callable[..., None]:
    """Return what ends the process at the n-th statement."""
    numbers = count(1)

    def run(*_: object) -> None:
        if next(numbers) > step:
            raise Crash

    return run


class Dying:
    """A collection of a process that ends at its n-th write."""

    def __init__(self, collection: Any, tick: Callable[[], None]) -> None:
        self._collection, self._tick = collection, tick

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._collection, name)
        if not name.startswith(("insert", "update", "delete", "find_one_and")):
            return found

        async def dying(*args: Any, **more: Any) -> Any:
            self._tick()
            return await found(*args, **more)

        return dying


@pytest.mark.parametrize("step", range(14))
async def test_a_process_that_ends_at_any_write_leaves_all_or_nothing(
    opening: Opening, maker: Maker, raw: Any, step: int
) -> None:
    first = await opening()
    await prepare(first, maker)
    whole = first._database
    assert whole is not None
    tick = crash(step)
    dying: dict[str, Any] = {
        name: Dying(getattr(whole, name), tick) for name in ("version", "record", "txn", "head", "part")
    }
    first._database = whole._replace(**dying)
    first._lanes.clear()
    outcome = "acknowledged"
    try:
        await asyncio.wait_for(first.transact(TENANT, lambda tx: work(tx, maker)), 120)
    except (Crash, Unavailable):
        outcome = "crashed"
    raw.head.update_one({"_id": TENANT}, {"$set": {"until": 0}})  # as after the time of its lease
    second = await opening()
    seen = await state(second)
    assert outcome != "acknowledged" or seen == "after"
    assert seen == "after" or outcome == "crashed"
    if seen == "before":
        await second.transact(TENANT, lambda tx: work(tx, maker))
        assert await state(second) == "after"
    third = await opening()
    assert await state(third) == "after"
    assert [raw[name].count_documents({"tx": {"$exists": True}}) for name in ("version", "record")] == [0, 0]
    first._lanes.clear()


async def test_a_sleeper_that_wakes_after_its_lease_changes_nothing_of_what_others_did(
    opening: Opening, maker: Maker, raw: Any
) -> None:
    slow, quick = await opening(), await opening()
    await put(slow, maker.write("Patient/1"))
    asleep, awake = asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    async def sleep(tx: Transaction) -> int:
        current = await tx.read("Patient", "1")
        assert current is not None
        runs.append(current.version)
        await tx.put(maker.write(f"Task/{len(runs)}"))
        await tx.search(asked("Task"))  # which sends what waits
        asleep.set()
        await awake.wait()
        await tx.put(maker.write("Patient/1", current.version + 1))
        return current.version + 1

    task = asyncio.create_task(slow.transact(TENANT, sleep))
    await asleep.wait()
    raw.head.update_one({"_id": TENANT}, {"$set": {"until": 0, "owner": "gone"}})
    await put(quick, maker.write("Patient/1", 2))
    assert await ids(quick, asked("Task")) == [], "what is pending is not seen"
    awake.set()
    assert await task == 3
    assert runs == [1, 2], "it ran again, on what the other made"
    assert await ids(quick, asked("Task")) == ["2"], "its first run left nothing"
    assert (await history(quick, HistoryQuery("Patient", "1")))[1] == 3


async def test_pending_documents_that_come_too_late_are_never_seen_and_are_removed(
    opening: Opening, maker: Maker, raw: Any
) -> None:
    store = await opening()
    await put(store, maker.write("Patient/1"))
    late = raw.version.find_one({"id": "1"})
    late |= {"_id": "late", "id": "2", "r": f"{TENANT}/Patient/2", "tx": "gone", "n": 1, "seq": 1}
    del late["f"]
    raw.version.insert_one(late)
    assert await ids(store, asked("Patient")) == ["1"]
    await put(store, maker.write("Patient/2"))
    assert await ids(store, asked("Patient")) == ["2", "1"]
    await opening()
    assert raw.version.find_one({"_id": "late"}) is None


async def test_pending_documents_of_who_may_still_commit_are_left_alone(opening: Opening, maker: Maker) -> None:
    store = await opening()
    await put(store, maker.write("Patient/1"))

    async def during(tx: Transaction) -> None:
        await tx.put(maker.write("Patient/2"))
        await tx.search(asked("Patient"))
        await (await opening()).close()  # a start of another process tidies up

    await store.transact(TENANT, during)
    assert await ids(store, asked("Patient")) == ["2", "1"]


async def test_a_commit_whose_answer_is_lost_is_known_by_what_stands_under_its_number(
    opening: Opening, maker: Maker
) -> None:
    store = await opening()
    await prepare(store, maker)
    whole = store._database
    assert whole is not None
    lost = [True]

    class Deaf(Dying):
        def __getattr__(self, name: str) -> Any:
            found = getattr(self._collection, name)
            if name != "insert_one":
                return found

            async def deaf(*args: Any, **more: Any) -> Any:
                made = await found(*args, **more)
                if lost.pop():
                    lost.append(False)
                    raise AutoReconnect("the answer was lost")
                return made

            return deaf

    deaf: Any = Deaf(whole.txn, lambda: None)
    store._database = whole._replace(txn=deaf)
    store._lanes.clear()
    await store.transact(TENANT, lambda tx: work(tx, maker))
    assert lost == [False]
    assert await state(store) == "after"


async def test_what_was_taken_for_new_and_is_there_is_a_conflict(opening: Opening, maker: Maker) -> None:
    store = await opening()
    await put(store, maker.write("Patient/1"))
    results = await asyncio.gather(
        put(store, maker.write("Patient/1")), put(store, maker.write("Patient/2")), return_exceptions=True
    )
    assert isinstance(results[0], VersionConflict) and isinstance(results[1], list)
    assert await ids(store, asked("Patient")) == ["2", "1"]


async def test_a_body_beyond_a_document_is_kept_in_parts_and_removed_with_it(
    opening: Opening, maker: Maker, raw: Any
) -> None:
    store = await opening()
    (made,) = await put(store, maker.write("Binary/1", mark="x" * 20_000_000))
    await put(store, maker.write("Binary/1", 2, mark="y" * 9_000_000))
    async with store.view(TENANT) as view:
        assert await view.vread("Binary", "1", 1) == made
        current = await view.read("Binary", "1")
        assert current is not None and len(current.body) > 9_000_000
        assert await view.count(("Binary",), ()) == 1
    assert raw.part.count_documents({}) == 5
    await store.transact(TENANT, lambda tx: tx.erase("Binary", "1"))
    assert raw.part.count_documents({}) == raw.version.count_documents({}) == 0


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        pytest.param(lambda raw: raw.txn.update_one({"n": 2}, {"$set": {"rows.0": "[]"}}), 2, id="a row is changed"),
        pytest.param(lambda raw: raw.txn.delete_one({"n": 2}), 2, id="a commit is removed"),
        pytest.param(lambda raw: raw.txn.delete_one({"n": 3}), 3, id="the last commit is removed"),
        pytest.param(
            lambda raw: (raw.txn.delete_one({"n": 3}), raw.head.update_one({}, {"$set": {"n": 2}})),
            2,
            id="the end is cut and the head set back",
        ),
    ],
)
async def test_the_audit_chain_shows(opening: Opening, raw: Any, change: Callable[[Any], object], bad: int) -> None:
    store = await opening()
    for n in range(3):
        await store.transact(TENANT, lambda tx, n=n: tx.audit(ROW._replace(at=n)))  # type: ignore[misc]
    assert await store.verify_audit() is None
    change(raw)
    assert await store.verify_audit() == bad


async def test_the_janitor_lets_go_of_what_no_view_needs(opening: Opening, maker: Maker, raw: Any) -> None:
    store = await opening()
    await prepare(store, maker)
    await store.transact(TENANT, lambda tx: work(tx, maker))
    assert store._database is not None
    now = [0]
    janitor = Janitor(store._database, lambda: now[0])
    for at_ms in (0, HELD_MS // 2):
        now[0] = at_ms * 1_000
        await janitor.tidy()
        assert raw.record.count_documents({}) == 2, "a view may still be open on the state before"
    now[0] = 2 * HELD_MS * 1_000
    await janitor.tidy()
    assert raw.record.count_documents({}) == 1
    assert "tok" not in raw.version.find_one({"id": "1", "v": 1}) and "tok" in raw.version.find_one({"id": "1", "v": 2})
    assert await state(store) == "after"
    async with store.view(TENANT) as view:
        assert await view.vread("Patient", "1", 1) is not None


async def test_a_server_that_is_not_there_is_said_so(maker: Maker) -> None:
    store = MongoStore("mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=50", index=maker.index)
    with pytest.raises(Unavailable):
        await store.open()
    for url in ("mongodb://127.0.0.1/", "mongodb://", "mongodb://a:b:c/x"):
        with pytest.raises(Unavailable):
            await MongoStore(url, index=maker.index).open()
    mongo.forget_sockets()
