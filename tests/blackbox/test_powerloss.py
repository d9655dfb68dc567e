"""Power loss: nothing that was acknowledged is lost, nothing is half there, the file stays whole."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from fhir_server.model import Resource
from fhir_server.search.values import NOTHING, Indexed, Token
from fhir_server.store.protocol import AuditRow, Transaction, Write
from fhir_server.store.sqlite import SqliteStore, connection, keeper
from tests.blackbox.power import Cut, Log, RecordingVfs, cuts

POINTS = 200
UNITS = 300


def _index(resource: Resource) -> Indexed:
    return Indexed({"code": (Token("", "c"),)}, ("p",))


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    vfs = RecordingVfs("recording", made)
    yield made
    vfs.unregister()


async def write_units(store: SqliteStore, log: Log) -> None:
    """Run units from 16 writers; each writes two resources, a row and an audit row, some replace one."""
    numbers = iter(range(UNITS))

    async def unit(n: int) -> None:
        async def work(tx: Transaction) -> None:
            body = b'{"resourceType":"Observation"}' + bytes([32]) * (n % 7 * 400)
            for half in "ab":
                await tx.put(Write("Observation", f"{n}{half}", 1, tx.now, "POST", body, _index({})))
            counter = await tx.read("Basic", "counter")
            version = counter.version + 1 if counter else 1
            await tx.put(Write("Basic", "counter", version, tx.now, "PUT", b"{}", NOTHING))
            await tx.put_record("outbox", str(n), "new", body)
            await tx.audit(AuditRow(tx.now, "s", "", "C", "create", f"Observation/{n}a", ("p",), 0, "TREAT", str(n)))

        await store.transact("t", work)
        log.ack(str(n))

    async def writer() -> None:
        for n in numbers:
            await unit(n)

    await asyncio.gather(*(writer() for _ in range(16)))


async def record(path: Path, log: Log) -> None:
    store = SqliteStore(str(path / "hub.db"), index=_index, vfs="recording")
    await store.open()
    await write_units(store, log)
    await store.close()


async def lost(cut: Cut, path: Path) -> list[str]:
    """Open what a power loss left and return the acknowledged units that are not whole in it.

    Fails where the file is damaged, a unit is there by half, or the audit chain is broken.
    """
    path.mkdir()
    for name, content in cut.files.items():
        if not name.endswith("-shm"):
            (path / name).write_bytes(content)
    store = SqliteStore(str(path / "hub.db"), index=_index)
    await store.open()
    try:
        missing = []
        async with store.view("t") as view:
            for n in range(UNITS):
                parts = [await view.read("Observation", f"{n}{half}") for half in "ab"]
                there = {part is not None for part in (*parts, await view.record("outbox", str(n)))}
                assert len(there) == 1, "a unit is there by half"
                if str(n) in cut.acked and there == {False}:
                    missing.append(str(n))
        assert await store.verify_audit() is None
    finally:
        await store.close()
    check = apsw.Connection(str(path / "hub.db"))
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()
    return missing


@pytest.fixture
def busy_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoint all the time, so that power is lost in the middle of it too."""
    monkeypatch.setattr(keeper, "PAGES", 40)


async def test_power_loss_at_any_point_loses_nothing_acknowledged(tmp_path: Path, log: Log, busy_keeper: None) -> None:
    (tmp_path / "run").mkdir()
    await record(tmp_path / "run", log)
    assert sum(event.what == "sync" and event.name == "hub.db" for event in log.events) > 5, "no checkpoint was seen"
    rng = random.Random(1)
    # From the first acknowledgement on; before that there may be no file yet.
    first = next(n for n, event in enumerate(log.events) if event.what == "ack")
    points = set(rng.sample(range(first, len(log.events)), POINTS))
    for number, cut in enumerate(cuts(log, points, rng)):
        assert await lost(cut, tmp_path / str(number)) == []


async def test_the_harness_sees_what_a_weaker_sync_loses(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = connection.connect

    def weaker(path: str, *, vfs: str | None = None, writer: bool = False) -> apsw.Connection:
        made = connect(path, vfs=vfs, writer=writer)
        made.execute("PRAGMA synchronous = NORMAL")
        return made

    monkeypatch.setattr("fhir_server.store.sqlite.store.connect", weaker)
    (tmp_path / "run").mkdir()
    await record(tmp_path / "run", log)
    ack = max(n for n, event in enumerate(log.events) if event.what == "ack")
    middle = {ack * 3 // 4}
    (cut,) = cuts(log, middle, random.Random(0))
    assert await lost(cut, tmp_path / "cut")
