"""The writer: shared commits, order, back-pressure, cancelled callers, an orderly end."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.errors import Unavailable, VersionConflict
from fhir_server.search.values import Indexed, Token
from fhir_server.store.protocol import AuditRow, Transaction, Write
from fhir_server.store.sqlite import SqliteStore
from fhir_server.store.sqlite import store as store_module
from fhir_server.store.sqlite import writer as writer_module
from tests.blackbox.power import Log, RecordingVfs

INDEXED = Indexed({"code": (Token("", "c"),)}, ("p",))
CLOCK = 1_790_000_000_000_000


def row(request: str) -> AuditRow:
    return AuditRow(1, "s", "", "R", "read", "Patient/1", ("1",), 0, "TREAT", request)


def made(path: Path, *, vfs: str | None = None) -> SqliteStore:
    return SqliteStore(str(path), index=lambda _: INDEXED, clock=lambda: CLOCK, random=lambda n: b"k" * n, vfs=vfs)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = made(tmp_path / "hub.db")
    await store.open()
    yield store
    await store.close()


async def create(store: SqliteStore, id: str) -> int:
    async def work(tx: Transaction) -> int:
        await tx.put(Write("Patient", id, 1, tx.now, "POST", b"{}", INDEXED))
        return tx.now

    return await store.transact("t", work)


async def count(store: SqliteStore) -> int:
    async with store.view("t") as view:
        return await view.count(("Patient",), ())


async def test_many_that_wait_share_few_syncs(tmp_path: Path) -> None:
    log = Log()
    vfs = RecordingVfs("counting", log)
    store = made(tmp_path / "hub.db", vfs="counting")
    await store.open()
    await create(store, "first")
    log.events.clear()
    await asyncio.gather(*(create(store, str(n)) for n in range(200)))
    syncs = sum(event.what == "sync" for event in log.events)
    await store.close()
    vfs.unregister()
    assert 1 <= syncs < 20


@pytest.mark.parametrize(
    ("quick_s", "together", "by"),
    [
        pytest.param(math.inf, 1, "MainThread", id="one unit alone on a quick disk is committed where it ran"),
        pytest.param(math.inf, 2, "sqlite-writer", id="company is committed in the thread"),
        pytest.param(0.0, 1, "sqlite-writer", id="on a slow disk the thread waits"),
    ],
)
async def test_who_waits_for_the_disk(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, quick_s: float, together: int, by: str
) -> None:
    monkeypatch.setattr(writer_module, "_QUICK_S", quick_s)
    seen: list[str] = []
    commit = writer_module.Writer._commit

    def watched(writer: writer_module.Writer) -> None:
        seen.append(threading.current_thread().name)
        commit(writer)

    monkeypatch.setattr(writer_module.Writer, "_commit", watched)
    await asyncio.gather(*(create(store, str(number)) for number in range(together)))
    assert seen == [seen[0]]
    assert seen[0].startswith(by)
    assert await count(store) == together


async def test_work_that_waits_for_something_else_is_refused_and_undone(store: SqliteStore) -> None:
    async def work(tx: Transaction) -> None:
        await tx.put(Write("Patient", "1", 1, tx.now, "POST", b"{}", INDEXED))
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="nothing but the transaction"):
        await store.transact("t", work)
    assert await count(store) == 0


async def test_a_caller_that_is_cancelled_harms_no_other(store: SqliteStore) -> None:
    tasks = [asyncio.create_task(create(store, str(n))) for n in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, int) for result in results[1::2])
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])


async def test_when_too_many_wait_the_next_waits_too(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_room", asyncio.Semaphore(2))
    await asyncio.gather(*(create(store, str(n)) for n in range(30)))
    assert await count(store) == 30 and store_module.MOST_WAITING > 2


async def test_work_runs_in_the_context_of_its_caller(store: SqliteStore) -> None:
    request = contextvars.ContextVar("request", default="none")

    async def work(tx: Transaction) -> str:
        return request.get()

    async def ask(name: str) -> str:
        request.set(name)
        return await store.transact("t", work)

    assert await asyncio.gather(*(asyncio.create_task(ask(name)) for name in "abc")) == ["a", "b", "c"]


async def test_times_grow_though_the_clock_stands_still_and_over_a_restart(tmp_path: Path) -> None:
    times = []
    for start in (0, 3):
        store = made(tmp_path / "hub.db")
        await store.open()
        times += await asyncio.gather(*(create(store, str(start + n)) for n in range(3)))
        await store.close()
    assert times == [CLOCK + n for n in range(6)]


async def test_of_many_that_create_one_id_one_wins(store: SqliteStore) -> None:
    results = await asyncio.gather(
        *(create(store, "same") for _ in range(10)), *(create(store, f"o{n}") for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, int) for result in results) == 6
    assert sum(isinstance(result, VersionConflict) for result in results) == 9
    later = await asyncio.gather(create(store, "same"), create(store, "p"), create(store, "q"), return_exceptions=True)
    assert [type(result) for result in later] == [VersionConflict, int, int]
    assert await count(store) == 8


async def test_an_audit_row_is_written_though_nothing_else_comes(store: SqliteStore) -> None:
    store.audit_soon("t", row("alone"))
    while True:
        async with store.view("t") as view:
            if found := await view.audits():
                break
        await asyncio.sleep(0.01)
    assert [audited for _, audited in found] == [row("alone")]


async def test_audit_rows_keep_the_order_in_which_they_came(store: SqliteStore) -> None:
    async def work(tx: Transaction) -> None:
        await tx.audit(row("inside"))

    for n in range(100):
        store.audit_soon("t", row(str(n)))
    await store.transact("t", work)
    async with store.view("t") as view:
        found = [audited.request_id for _, audited in await view.audits(limit=1_000)]
    assert found == [*map(str, range(100)), "inside"]


async def test_a_row_that_cannot_be_written_is_refused_at_once(store: SqliteStore) -> None:
    with pytest.raises(UnicodeEncodeError):
        store.audit_soon("t", row("\ud800"))
    store.audit_soon("t", row("good"))
    assert await create(store, "1")


async def test_closing_finishes_what_was_accepted(tmp_path: Path) -> None:
    store = made(tmp_path / "hub.db")
    await store.open()
    tasks = [asyncio.create_task(create(store, str(n))) for n in range(100)]
    await asyncio.sleep(0)
    store.audit_soon("t", row("last"))
    await store.close()
    await store.close()
    assert all(isinstance(result, int) for result in await asyncio.gather(*tasks))
    assert [path.name for path in tmp_path.iterdir()] == ["hub.db"]
    again = made(tmp_path / "hub.db")
    await again.open()
    assert await count(again) == 100
    async with again.view("t") as view:
        assert [audited.request_id for _, audited in await view.audits()] == ["last"]
    await again.close()


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = made(tmp_path / "hub.db")
    assert not store.healthy
    await store.open()
    assert store.healthy
    await store.close()
    assert not store.healthy
    with pytest.raises(Unavailable):
        await create(store, "1")
    with pytest.raises(Unavailable):
        store.audit_soon("t", row("r"))
    with pytest.raises(Unavailable):
        await count(store)
    with pytest.raises(Unavailable):
        await store.checkpoint()


async def test_a_secret_is_made_once_and_kept(store: SqliteStore) -> None:
    first, second = await asyncio.gather(store.secret("a"), store.secret("a"))
    assert first == second == b"k" * 32
    assert await store.secret("a") == first
