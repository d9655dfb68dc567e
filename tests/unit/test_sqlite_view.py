"""Views of one turn of the event loop share a state, and none is shown that is older than its turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from fhir_server.errors import Unavailable
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Transaction
from fhir_server.store.sqlite import SqliteStore, audit
from fhir_server.store.sqlite.connection import connect
from fhir_server.store.sqlite.reading import Snapshot
from fhir_server.store.sqlite.terms import Terms

T = "t"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(str(tmp_path / "hub.db"), index=lambda _: Indexed({}, ()))
    await store.open()
    await store.transact(T, renew)
    yield store
    await store.close()


@pytest.fixture
def other(store: SqliteStore, tmp_path: Path) -> apsw.Connection:
    """What another process has."""
    return connect(str(tmp_path / "hub.db"), writer=True)


async def renew(tx: Transaction) -> None:
    """Write something that a view shows: the epoch grows by one."""
    await tx.bump_epoch()


def renew_elsewhere(other: apsw.Connection) -> None:
    other.execute("UPDATE counter SET n = n + 1 WHERE name = 'epoch'")


async def epoch(store: SqliteStore) -> int:
    async with store.view(T) as view:
        return await view.epoch()


async def test_what_another_process_commits_is_seen_from_the_next_turn_on(
    store: SqliteStore, other: apsw.Connection
) -> None:
    await asyncio.sleep(0)
    before = await epoch(store)
    renew_elsewhere(other)
    assert await epoch(store) == before, "each view begins anew: twice the system calls"
    await asyncio.sleep(0)
    assert await epoch(store) == before + 1


async def test_what_this_process_commits_is_seen_by_whoever_is_told_of_it(store: SqliteStore) -> None:
    told = asyncio.get_running_loop().create_future()
    seen: list[tuple[int, int]] = []

    async def look_again_and_again() -> None:
        while not told.done():
            await epoch(store)  # something is always begun
            await asyncio.sleep(0)

    looking = asyncio.create_task(look_again_and_again())
    start = await epoch(store)
    for number in range(1, 50):
        await store.transact(T, renew)
        seen.append((await epoch(store) - start, number))
    told.set_result(None)
    await looking
    assert all(found == expected for found, expected in seen), seen


async def test_a_view_that_outlived_its_turn_is_not_shown_to_others(store: SqliteStore, other: apsw.Connection) -> None:
    async with store.view(T) as view:
        before = await view.epoch()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        renew_elsewhere(other)
        assert await view.epoch() == before, "a view shows one state"
    assert await epoch(store) == before + 1


async def test_a_view_that_fails_leaves_nothing_begun(store: SqliteStore, other: apsw.Connection) -> None:
    before = await epoch(store)
    with pytest.raises(ZeroDivisionError):
        async with store.view(T) as view:
            await view.epoch()
            raise ZeroDivisionError
    renew_elsewhere(other)
    assert await epoch(store) == before + 1


@pytest.mark.parametrize("error", [apsw.IOError("read"), ZeroDivisionError()], ids=["the engine's", "another"])
async def test_a_question_that_fails_leaves_nothing_begun(
    store: SqliteStore, other: apsw.Connection, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def verify(connection: apsw.Connection, _: bytes) -> None:
        connection.execute("SELECT count(*) FROM audit").fetchall()
        raise error

    await asyncio.sleep(0)
    before = await epoch(store)
    monkeypatch.setattr(audit, "verify", verify)
    with pytest.raises((Unavailable, ZeroDivisionError)):
        await store.verify_audit()
    renew_elsewhere(other)
    assert await epoch(store) == before + 1


async def test_nothing_holds_the_wal_once_the_turn_is_over(store: SqliteStore, other: apsw.Connection) -> None:
    other.set_busy_timeout(0)
    await epoch(store)
    renew_elsewhere(other)
    with pytest.raises(apsw.BusyError):
        other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    await asyncio.sleep(0)
    assert other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)[0] == 0


def test_values_alone_do_not_have_a_statement_planned_anew(tmp_path: Path, store: SqliteStore) -> None:
    connection = connect(str(tmp_path / "hub.db"))
    planned: list[int] = []

    def authorizer(action: int, *_: str | None) -> int:  # asked while a statement is planned
        planned.append(action)
        return apsw.SQLITE_OK

    connection.authorizer = authorizer
    snapshot = Snapshot(connection, Terms(), 1)
    for number in range(10):
        once = len(planned)
        assert snapshot.read("Patient", f"p{number}") is None
    assert once and len(planned) == once
