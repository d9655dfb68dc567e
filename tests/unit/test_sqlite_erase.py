"""What was erased leaves the WAL too, as soon as no reader holds the state before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.store.protocol import Transaction
from fhir_server.store.sqlite import SqliteStore, keeper, writer
from tests.contract.small import TENANT, Maker, put

SECRET = "qwertzuiop"


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
async def store(tmp_path: Path, maker: Maker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStore]:
    monkeypatch.setattr(keeper, "_EMPTY_MS", 1)
    monkeypatch.setattr(writer, "_RETRY_S", 0.0)
    store = SqliteStore(str(tmp_path / "hub.db"), index=maker.index)
    await store.open()
    yield store
    await store.close()


async def erase(tx: Transaction) -> int:
    return await tx.erase("Patient", "1")


def holding(folder: Path) -> list[str]:
    """Return the files that hold the secret."""
    return sorted(
        file.name for file in folder.iterdir() if file.suffix != ".db-shm" and SECRET.encode() in file.read_bytes()
    )


async def test_a_reader_may_finish_what_it_reads(store: SqliteStore, maker: Maker, tmp_path: Path) -> None:
    await put(store, maker.write("Patient/1", mark=SECRET))
    async with store.view(TENANT) as view:
        assert (await view.read("Patient", "1")) is not None
        assert await store.transact(TENANT, erase) == 1
        kept = await view.read("Patient", "1")
        assert kept is not None and SECRET.encode() in kept.body, "a state does not change while it is held"
        assert holding(tmp_path) == ["hub.db-wal"]
    await put(store, maker.write("Patient/2"))
    assert holding(tmp_path) == []


async def test_what_was_in_the_file_already_is_overwritten(store: SqliteStore, maker: Maker, tmp_path: Path) -> None:
    for n in (1, 2, 3):
        await put(store, maker.write("Patient/1", n, mark=SECRET * 2_000))  # bodies of many pages
        await put(store, *(maker.write(f"Patient/{n}-{m}", mark="kept") for m in range(50)))
    await store.checkpoint()
    assert "hub.db" in holding(tmp_path)
    assert await store.transact(TENANT, erase) == 3
    assert holding(tmp_path) == []


async def test_a_crash_between_commit_and_emptying_is_made_up_for(
    store: SqliteStore, maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_RETRY_S", 3_600.0)  # the store that crashed tries no more
    monkeypatch.setattr(keeper, "_EMPTY_MS", 5_000)
    await put(store, maker.write("Patient/1", mark=SECRET))
    with monkeypatch.context() as broken:
        broken.setattr(keeper.Keeper, "empty", lambda _: False)
        await store.transact(TENANT, erase)
    assert holding(tmp_path) == ["hub.db-wal"]
    other = SqliteStore(str(tmp_path / "hub.db"), index=maker.index)
    await other.open()
    await put(other, maker.write("Patient/2"))
    assert holding(tmp_path) == []
    await other.close()
