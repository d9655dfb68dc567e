"""How a store is read to be moved: all of it in its order, in steps that fit into memory and into any store's commit."""

from __future__ import annotations

import pytest

from fhir_server import move
from fhir_server.move import content
from fhir_server.store.protocol import AuditRow, Store, Transaction
from tests.contract.small import NOW, TENANT, Maker, put

ROW = AuditRow(NOW, "demo", "", "R", "search-type", "Patient", (), 0, "TREAT", "")


async def test_large_bodies_come_few_at_once_and_small_ones_many(
    store: Store, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "MOST_BYTES", 20_000)
    monkeypatch.setattr(move, "FIRST", 4)
    await put(store, *(maker.write(f"Patient/{n}", mark="x" * (5_000 if n < 10 else 0)) for n in range(60)))
    async with store.view(TENANT) as view:
        pages = [page async for page in move._versions(view)]
    assert [version.id for page in pages for version in page] == [str(n) for n in range(60)]
    sizes = [sum(len(version.body) for version in page) for page in pages]
    assert max(sizes[1:]) < 20_000 and max(len(page) for page in pages) > 8


async def test_long_audit_rows_come_in_parts_that_one_commit_holds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "MOST_BYTES", 1_000)

    async def work(tx: Transaction) -> None:
        for n in range(9):
            await tx.audit(ROW._replace(request_id=str(n), query="x" * (700 if n % 2 else 3_000 * (n == 4))))

    await store.transact(TENANT, work)
    async with store.view(TENANT) as view:
        pages = [page async for page in move._audits(view)]
        whole = await content(view)
    assert [row.request_id for page in pages for row in page] == [str(n) for n in range(9)]
    assert all(len(page) == 1 or sum(len(row.query) for row in page) <= 1_000 for page in pages)
    assert whole.counts["audit"] == 9
