"""A disk that fails: Unavailable, never a false acknowledgement, and after an I/O error not ready any more."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from fhir_server.errors import Unavailable
from fhir_server.search.values import Indexed, Token
from fhir_server.store.protocol import AuditRow, Transaction, Write
from fhir_server.store.sqlite import SqliteStore, writer

INDEXED = Indexed({"code": (Token("", "c"),)}, ("p",))
ROW = AuditRow(1, "s", "", "R", "read", "Patient/1", ("1",), 0, "TREAT", "r")


class FaultyVfs(apsw.VFS):
    """The system's own VFS, which fails at the n-th write or sync from now on, once or for good."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.error: type[apsw.Error] = apsw.IOError
        self.lasting = False
        self.failed = 0
        super().__init__(name="faulty", base="")

    def xOpen(self, name: Any, flags: Any) -> FaultyFile:
        return FaultyFile(self, name, flags)

    def step(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left == 0 or (self.lasting and self.left < 0):
            self.failed += 1
            raise self.error("injected")


class FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVfs, name: Any, flags: Any) -> None:
        self._vfs = vfs
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._vfs.step()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._vfs.step()
        super().xSync(flags)


@pytest.fixture
def vfs() -> Iterator[FaultyVfs]:
    made = FaultyVfs()
    yield made
    made.unregister()


def work_of(unit: int):  # type: ignore[no-untyped-def]
    async def work(tx: Transaction) -> int:
        for half in "ab":
            body = b'{"x":"' + b"y" * 3_000 + b'"}'
            await tx.put(Write("Observation", f"{unit}-{half}", 1, tx.now, "POST", body, INDEXED))
        return unit

    return work


async def write_many(store: SqliteStore, units: range) -> tuple[set[int], set[int]]:
    """Return the units that were acknowledged, and those that were refused as Unavailable."""
    results = await asyncio.gather(*(store.transact("t", work_of(n)) for n in units), return_exceptions=True)
    assert all(isinstance(result, (int, Unavailable)) for result in results), results
    acked = {n for n, result in zip(units, results, strict=True) if result == n}
    return acked, set(units) - acked


async def units_in(path: Path) -> set[int]:
    """Return the units that are there, none of them by half."""
    store = SqliteStore(str(path), index=lambda _: INDEXED)
    await store.open()
    try:
        async with store.view("t") as view:
            found = {n for n in range(60) for half in "ab" if await view.read("Observation", f"{n}-{half}")}
            for n in found:
                for half in "ab":
                    assert await view.read("Observation", f"{n}-{half}") is not None, "by half"
            assert await view.count(("Observation",), ()) == 2 * len(found)
        assert await store.verify_audit() is None
        return found
    finally:
        await store.close()


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 13, 21, 34, 55])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
async def test_a_failing_disk_never_acknowledges_what_is_not_there(
    tmp_path: Path, vfs: FaultyVfs, error: type[apsw.Error], lasting: bool, step: int
) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(str(path), index=lambda _: INDEXED, vfs="faulty")
    await store.open()
    before, refused = await write_many(store, range(5))
    assert not refused
    vfs.left, vfs.error, vfs.lasting = step, error, lasting
    acked, refused = await write_many(store, range(5, 40))
    later, _ = await write_many(store, range(40, 45))
    assert vfs.failed and refused
    vfs.left = None
    if error is apsw.IOError:
        assert not store.healthy and not later
        with pytest.raises(Unavailable):
            store.audit_soon("t", ROW)
    await store.close()
    assert before | acked | later <= await units_in(path)


@pytest.mark.parametrize("step", range(1, 12))
@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
async def test_one_unit_after_the_other_is_acknowledged_only_where_it_is_there(
    tmp_path: Path, vfs: FaultyVfs, monkeypatch: pytest.MonkeyPatch, error: type[apsw.Error], step: int
) -> None:
    monkeypatch.setattr(writer, "_QUICK_S", math.inf)  # each is committed on the event loop
    path = tmp_path / "hub.db"
    store = SqliteStore(str(path), index=lambda _: INDEXED, vfs="faulty")
    await store.open()
    vfs.left, vfs.error = step, error
    acked: set[int] = set()
    for number in range(6):
        acked |= (await write_many(store, range(number, number + 1)))[0]
    assert vfs.failed and len(acked) < 6
    assert store.healthy == (error is apsw.FullError)
    vfs.left = None
    await store.close()
    assert acked <= await units_in(path)


async def test_a_disk_that_is_full_no_more_is_written_again(tmp_path: Path, vfs: FaultyVfs) -> None:
    store = SqliteStore(str(tmp_path / "hub.db"), index=lambda _: INDEXED, vfs="faulty")
    await store.open()
    vfs.left, vfs.error, vfs.lasting = 1, apsw.FullError, True
    acked, _ = await write_many(store, range(3))
    assert not acked and not store.healthy
    vfs.left = None
    acked, refused = await write_many(store, range(3, 6))
    assert acked == {3, 4, 5} and not refused
    await store.close()


async def till_healthy(store: SqliteStore) -> None:
    """Wait until the store says that it can be written to again, without a write."""
    for _ in range(200):
        if store.healthy:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it does not notice that it can be written to again")


async def test_reads_are_audited_again_without_a_write_once_the_disk_has_room(tmp_path: Path, vfs: FaultyVfs) -> None:
    store = SqliteStore(str(tmp_path / "hub.db"), index=lambda _: INDEXED, vfs="faulty")
    await store.open()
    vfs.left, vfs.error, vfs.lasting = 1, apsw.FullError, True
    acked, _ = await write_many(store, range(1))
    assert not acked and not store.healthy
    with pytest.raises(Unavailable):
        store.audit_soon("t", ROW)
    vfs.left = None
    await till_healthy(store)
    store.audit_soon("t", ROW)
    await store.close()
    assert not await units_in(tmp_path / "hub.db")


async def test_audit_rows_that_the_disk_refused_are_kept_and_no_more_are_taken(tmp_path: Path, vfs: FaultyVfs) -> None:
    store = SqliteStore(str(tmp_path / "hub.db"), index=lambda _: INDEXED, vfs="faulty")
    await store.open()
    await write_many(store, range(1))
    vfs.left, vfs.error, vfs.lasting = 1, apsw.FullError, True
    store.audit_soon("t", ROW)
    acked, _ = await write_many(store, range(1, 2))
    assert not acked
    with pytest.raises(Unavailable):
        store.audit_soon("t", ROW)
    vfs.left = None
    await write_many(store, range(2, 3))
    store.audit_soon("t", ROW)
    await write_many(store, range(3, 4))
    async with store.view("t") as view:
        assert [row for _, row in await view.audits()] == [ROW, ROW]
    await store.close()


async def test_audit_rows_that_can_never_be_written_are_counted_in_the_log(
    tmp_path: Path, vfs: FaultyVfs, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqliteStore(str(tmp_path / "hub.db"), index=lambda _: INDEXED, vfs="faulty")
    await store.open()
    vfs.left, vfs.error, vfs.lasting = 1, apsw.IOError, True
    store.audit_soon("t", ROW)
    store.audit_soon("t", ROW)
    await store.close()
    vfs.left = None
    assert [record.getMessage() for record in caplog.records if "lost" in record.getMessage()] == [
        "2 audit rows are lost: the store cannot be written to"
    ]


async def test_a_checkpoint_that_the_disk_fails_leaves_the_wal_and_the_hub_not_ready(
    tmp_path: Path, vfs: FaultyVfs
) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(str(path), index=lambda _: INDEXED, vfs="faulty")
    await store.open()
    acked, _ = await write_many(store, range(10))
    vfs.left, vfs.lasting = 1, False
    await store.checkpoint()
    assert not store.healthy and vfs.failed == 1
    refused = (await write_many(store, range(10, 12)))[1]
    await store.close()
    assert refused == {10, 11} and Path(f"{path}-wal").stat().st_size > 0
    assert await units_in(path) == acked == set(range(10))


async def test_a_locked_file_is_waited_for_and_then_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_server.store.sqlite.connection.BUSY_MS", 50)
    path = tmp_path / "hub.db"
    store = SqliteStore(str(path), index=lambda _: INDEXED)
    await store.open()
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    acked, refused = await write_many(store, range(3))
    assert not acked and refused == {0, 1, 2} and not store.healthy
    other.execute("COMMIT")
    await till_healthy(store)
    store.audit_soon("t", ROW)
    acked, _ = await write_many(store, range(3, 6))
    assert acked == {3, 4, 5} and store.healthy
    other.close()
    await store.close()
    assert await units_in(path) == {3, 4, 5}
