"""How a store is read to be moved: all of it in its order, in steps that fit into memory and into any store's commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server import content as contents
from fhir_server import move as moves
from fhir_server.content import content
from fhir_server.errors import Unavailable
from fhir_server.move import move
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.choice import open_store
from fhir_server.store.copying import check_whole
from fhir_server.store.protocol import AuditRow, Store, Transaction
from fhir_server.store.sqlite import SqliteStore
from tests.contract.small import NOW, TENANT, Maker, put

ROW = AuditRow(NOW, "demo", "", "R", "search-type", "Patient", (), 0, "TREAT", "")


async def test_large_bodies_come_few_at_once_and_small_ones_many(
    store: Store, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MOST_BYTES", 20_000)
    monkeypatch.setattr(contents, "FIRST", 4)
    await put(store, *(maker.write(f"Patient/{n}", mark="x" * (5_000 if n < 10 else 0)) for n in range(60)))
    async with store.view(TENANT) as view:
        pages = [page async for page in contents.versions_of(view)]
    assert [version.id for page in pages for version in page] == [str(n) for n in range(60)]
    sizes = [sum(len(version.body) for version in page) for page in pages]
    assert max(sizes[1:]) < 20_000 and max(len(page) for page in pages) > 8


async def test_long_audit_rows_come_in_parts_that_one_commit_holds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MOST_BYTES", 1_000)

    async def work(tx: Transaction) -> None:
        for n in range(9):
            await tx.audit(ROW._replace(request_id=str(n), query="x" * (700 if n % 2 else 3_000 * (n == 4))))

    await store.transact(TENANT, work)
    async with store.view(TENANT) as view:
        pages = [page async for page in contents.audits_of(view)]
        whole = await content(view)
    assert [row.request_id for page in pages for _, row in page] == [str(n) for n in range(9)]
    assert all(len(page) == 1 or sum(len(row.query) for _, row in page) <= 1_000 for page in pages)
    assert whole.counts["audit"] == 9


def named(path: Path | str) -> str:
    return str(path) if str(path).startswith("mongodb:") else f"sqlite:///{path}"


async def fill(path: Path, maker: Maker, texts: range, records: dict[str, bytes], rows: range) -> None:
    """Add a version of each of some Basics, records, a deletion and audit rows to a file."""
    store = SqliteStore(str(path), index=maker.index)
    await store.open()

    async def work(tx: Transaction) -> None:
        for key, body in records.items():
            await tx.put_record("kept", key, "", body)
        for n in rows:
            await tx.audit(ROW._replace(request_id=str(n)))

    await put(store, *(maker.write(f"Basic/{n}") for n in texts), maker.write(f"Basic/gone-{texts[0]}"))
    await put(store, maker.deletion(f"Basic/gone-{texts[0]}", 2))
    await store.transact(TENANT, work)
    await store.close()


def failing(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Let a step of a move fail once, after it was done so often."""
    step: Callable[..., Any] = getattr(moves, name)
    done = [0]

    async def once(*given: Any) -> None:
        done[0] += 1
        if done[0] == times + 1:
            raise Unavailable("The store cannot be reached now.")
        await step(*given)

    monkeypatch.setattr(moves, name, once)


@pytest.mark.parametrize("engine", ["sqlite", "mongo"])
@pytest.mark.parametrize(
    ("name", "times"),
    [
        pytest.param("_put", 0, id="before the first version"),
        pytest.param("_put", 2, id="amid the versions"),
        pytest.param("_put_records", 0, id="before the records"),
        pytest.param("_put_audits", 1, id="amid the audit rows"),
        pytest.param("unmark", 0, id="before its end"),
    ],
)
async def test_a_move_that_was_broken_off_is_gone_on_with(
    url: str, tmp_path: Path, maker: Maker, monkeypatch: pytest.MonkeyPatch, name: str, times: int
) -> None:
    for bound, small in (("FIRST", 2), ("STEP", 2)):
        monkeypatch.setattr(contents, bound, small)
    source, settings = tmp_path / "source.db", Settings(tenant=TENANT, zone="UTC", rooms=())
    await fill(source, maker, range(6), {"a": b"1", "b": b"2"}, range(5))
    failing(monkeypatch, name, times)
    with pytest.raises(Unavailable):
        await move(settings, named(source), named(url))
    store = open_store(replace(settings, store=named(url)), maker.index)
    await store.open()
    with pytest.raises(Unavailable, match="broken off"):
        await check_whole(store)
    await store.close()
    await fill(source, maker, range(6, 8), {"b": b"3", "c": b"4"}, range(5, 7))  # the source goes on meanwhile
    assert await move(settings, named(source), named(url), as_json=True) == 0
    await store.open()
    await check_whole(store)
    async with store.view(TENANT) as view:
        assert {record.key: record.body for record in await view.records("kept")} == {"a": b"1", "b": b"3", "c": b"4"}
        assert [row.request_id for _, row in await view.audits()] == [str(n) for n in range(7)]
    await store.close()
    with pytest.raises(SettingsError, match="not empty"):
        await move(settings, named(source), named(url))


@pytest.mark.parametrize("part", ["versions", "audit rows", "keys"])
async def test_what_another_store_left_is_not_gone_on_with(
    tmp_path: Path, maker: Maker, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    settings = Settings(tenant=TENANT, zone="UTC", rooms=())
    source, other, target = (tmp_path / f"{name}.db" for name in ("source", "other", "target"))
    await fill(source, maker, range(3), {}, range(3))
    await fill(other, maker, range(3 + (part == "versions")), {}, range(part == "audit rows", 3))
    if part == "keys":
        store = SqliteStore(str(target), index=maker.index)
        await store.open()
        await store.secret("tokens")
        await store.close()
    else:
        failing(monkeypatch, "unmark", 0)
        with pytest.raises(Unavailable):
            await move(settings, named(other), named(target))
        with pytest.raises(Unavailable, match="broken off"):
            await move(settings, named(target), named(tmp_path / "further.db"))
    with pytest.raises(SettingsError, match="move into a new store"):
        await move(settings, named(source), named(target))
