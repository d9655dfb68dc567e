"""Processes on one MongoDB: killed in the middle of writing, or writing side by side."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from fhir_server.errors import Unavailable
from fhir_server.store.mongo import MongoStore
from fhir_server.store.protocol import HistoryQuery
from tests import mongo
from tests.blackbox.store_writers import INDEXED, work_of
from tests.blackbox.test_store_kill import killed_after, said_by
from tests.running import PATIENCE_S
from tools.mongo_wire import CannotStart, WireServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url() -> Iterator[str]:
    """A database of the test's own."""
    made = mongo.new_url()
    yield made
    mongo.drop(made)


def start(url: str, name: str, *, writers: int, units: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.blackbox.store_writers", url, name, str(writers), str(units)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def there(url: str) -> set[str]:
    """Return the units that are in the store; fail where one is there by half or a count does not fit."""
    store = MongoStore(url, index=lambda _: INDEXED)
    await store.open()
    try:
        async with store.view("t") as view:
            units = {record.key for record in await view.records("outbox", limit=1_000_000)}
            versions, total = await view.history(HistoryQuery("Observation", count=1_000_000))
            audited = [row.request_id for _, row in await view.audits(limit=1_000_000)]
            shared, _ = await view.history(HistoryQuery("Basic", "shared", count=1_000_000))
            whole = {f"{unit}-{half}" for unit in units for half in "ab"}
            assert {version.id for version in versions} == whole
            assert total == await view.count(("Observation",), ()) == len(whole)
            assert sorted(audited) == sorted(units)
            assert [version.version for version in shared] == list(range(len(units), 0, -1)), "an update was lost"
            seqs = [version.seq for version in await view.log(limit=1_000_000)]
            assert seqs == sorted(set(seqs)) and len(seqs) == 3 * len(units)
            assert [v.at for v in shared] == sorted({v.at for v in shared}, reverse=True), "the time did not grow"
        assert await store.verify_audit() is None
    finally:
        await store.close()
    return units


def pending(url: str) -> int:
    """Return how many documents wait for a commit."""
    client: MongoClient[dict[str, object]] = MongoClient(url)
    try:
        database = client.get_default_database()
        return sum(database[name].count_documents({"tx": {"$exists": True}}) for name in ("version", "record"))
    finally:
        client.close()


async def test_kill_in_the_middle_of_writers_loses_nothing_and_leaves_nothing_half(url: str) -> None:
    acked: set[str] = set()
    for number, lines in enumerate((1, 10, 60, 120)):
        acked |= killed_after(start(url, f"run{number}", writers=16), lines)
        assert acked <= await there(url)
    assert pending(url) == 0, "what will never be committed was not removed"


async def test_a_killed_process_holds_up_nobody(url: str) -> None:
    first, second = start(url, "first", writers=8), start(url, "second", writers=8, units=60)
    acked = killed_after(first, 20)
    assert second.stdout is not None
    acked |= {line.strip() for line in second.stdout}
    second.stdout.close()
    assert second.wait() == 0
    assert acked <= await there(url)


async def test_four_processes_lose_no_update(url: str) -> None:
    processes = [start(url, name, writers=4, units=25) for name in ("one", "two", "three", "four")]
    acked = said_by(processes)
    assert await there(url) == acked and len(acked) == 100


async def test_a_server_that_goes_and_comes_back_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    mongo.base_url()  # skips where there is no server of ours
    try:
        server = WireServer(tmp_path / "wire.h2").start()
    except CannotStart as error:
        pytest.skip(f"NO SERVER OF OUR OWN: {error}")
    options = "serverSelectionTimeoutMS=300&heartbeatFrequencyMS=500"
    store = MongoStore(f"{server.url('kept')}?{options}", index=lambda _: INDEXED)
    again = WireServer(tmp_path / "wire.h2", server.port)
    try:
        with MongoClient[dict[str, object]](server.url("kept")) as first:
            first.admin.command("ping")  # a server that has just begun may need longer than the store has patience
        await store.open()
        await store.transact("t", work_of("one"))
        server.stop()
        for _ in range(10 * PATIENCE_S):
            if not store.healthy:
                break
            await asyncio.sleep(0.1)
        assert not store.healthy, "it says that it is ready as long as nobody asks it for something"
        with pytest.raises(Unavailable):
            await store.transact("t", work_of("two"))
        with pytest.raises(Unavailable):
            async with store.view("t") as view:
                await view.read("Observation", "one-a")
        assert not store.healthy
        again.start()
        for _ in range(10 * PATIENCE_S):
            if store.healthy:
                break
            await asyncio.sleep(0.1)
        assert store.healthy, "it does not notice that the server is there again"
        await store.transact("t", work_of("three"))
        async with store.view("t") as view:
            assert {r.key for r in await view.records("outbox")} == {"one", "three"}
        assert await store.verify_audit() is None
    finally:
        await store.close()
        server.stop()
        again.stop()
        mongo.forget_sockets()
