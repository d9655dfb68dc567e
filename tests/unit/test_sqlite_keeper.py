"""The WAL is copied seldom and begins anew, however closely one commit follows another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from fhir_server.store.sqlite import SqliteStore, keeper
from tests.contract.small import TENANT, Maker, put

PAGES = 100  # that are copied at a time
PAGE_BYTES = 4_096 + 24  # of one in the WAL
COMMITS = 400  # of some ten pages each


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The modes of the copies that were made."""
    made: list[int] = []
    copy = keeper.Keeper.checkpoint

    def noted(self: keeper.Keeper, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> bool:
        made.append(mode)
        return copy(self, mode)

    monkeypatch.setattr(keeper.Keeper, "checkpoint", noted)
    return made


@pytest.fixture
async def store(tmp_path: Path, copies: list[int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStore]:
    monkeypatch.setattr(keeper, "PAGES", PAGES)
    store = SqliteStore(str(tmp_path / "hub.db"), index=Maker().index)
    await store.open()
    yield store
    await store.close()


class Counting(Maker):
    """A maker that knows how often it was used."""

    count = 0


def wal_pages(folder: Path) -> int:
    return (folder / "hub.db-wal").stat().st_size // PAGE_BYTES


async def write(store: SqliteStore, maker: Counting, commits: int = COMMITS) -> int:
    """Commit one after the other; return the pages that the WAL would have if it never began anew."""
    connection = store._writer._connection  # type: ignore[union-attr]
    before = connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
    for number in range(commits):
        await put(store, maker.write(f"Patient/{maker.count}-{number}"))
    maker.count += 1
    return connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0] - before


async def test_each_length_is_copied_twice(store: SqliteStore, copies: list[int], tmp_path: Path) -> None:
    pages = await write(store, Counting())
    assert pages > 10 * PAGES
    assert 2 <= len(copies) <= 2 * (pages // PAGES)
    assert wal_pages(tmp_path) < 4 * PAGES, "it did not begin anew"


async def test_a_reader_that_stays_does_not_have_it_copied_at_each_commit(
    store: SqliteStore, copies: list[int], tmp_path: Path
) -> None:
    maker = Counting()
    await write(store, maker, 1)
    async with store.view(TENANT) as view:
        assert await view.read("Patient", "0-0") is not None
        pages = await write(store, maker)
        assert wal_pages(tmp_path) >= pages, "a state that is read is kept"
        assert len(copies) <= 2 * (pages // PAGES) + 2
    grown = wal_pages(tmp_path)
    await write(store, maker)
    assert wal_pages(tmp_path) < grown + 3 * PAGES, "the file is written from its beginning again"


async def test_a_disk_without_room_is_not_asked_at_each_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def full(self: keeper.Keeper, mode: int = 0) -> bool:
        tries.append(mode)
        return False

    monkeypatch.setattr(keeper.Keeper, "checkpoint", full)
    pages = await write(store, Counting())
    monkeypatch.undo()
    assert 2 <= len(tries) <= 2 * (pages // PAGES)
