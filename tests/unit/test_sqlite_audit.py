"""The audit chain: what is changed in it with another program is found, and rows are found by patient."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from fhir_server.search.values import NOTHING
from fhir_server.store.protocol import AuditRow, Transaction
from fhir_server.store.sqlite import SqliteStore, audit

ROWS = 12


def row(n: int) -> AuditRow:
    patients = (f"p{n % 3}", "all") if n % 3 != 2 else ("p2", "p2")
    return AuditRow(n, "s", "", "R", "read", "", patients, 0, "TREAT", str(n))


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file with a chain of twelve rows."""
    path = tmp_path / "hub.db"
    store = SqliteStore(str(path), index=lambda _: NOTHING)
    await store.open()

    async def work(tx: Transaction) -> None:
        for n in range(1, ROWS + 1):
            await tx.audit(row(n))

    await store.transact("t", work)
    await store.close()
    return path


async def first_bad(path: Path, *statements: str) -> int | None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()
    store = SqliteStore(str(path), index=lambda _: NOTHING)
    await store.open()
    try:
        return await store.verify_audit()
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        pytest.param([], None, id="a chain that nobody touched is whole"),
        pytest.param(["UPDATE audit SET body = replace(body, 'TREAT', 'HTEST') WHERE seq = 7"], 7, id="a changed row"),
        pytest.param(["UPDATE audit SET hash = zeroblob(32) WHERE seq = 7"], 7, id="a changed hash"),
        pytest.param(["DELETE FROM audit WHERE seq = 5"], 5, id="a row taken out"),
        pytest.param(["DELETE FROM audit WHERE seq = 1"], 1, id="the first row taken out"),
        pytest.param(["DELETE FROM audit WHERE seq > 9"], 10, id="rows cut off at the end"),
        pytest.param(["DELETE FROM audit"], 1, id="all rows cut off"),
        pytest.param(
            ["UPDATE audit SET seq = -seq WHERE seq IN (3, 4)", "UPDATE audit SET seq = 7 + seq WHERE seq < 0"],
            3,
            id="two rows exchanged",
        ),
        pytest.param(
            ["INSERT INTO audit SELECT seq + 1, tenant, body, hash FROM audit WHERE seq = 12"], 13, id="a row added"
        ),
        pytest.param(
            ["DELETE FROM audit WHERE seq > 9", "DELETE FROM counter WHERE name = 'audit'"],
            1,
            id="the head taken away: nothing tells where the chain ends",
        ),
        pytest.param(
            ["DELETE FROM audit WHERE seq > 9", "UPDATE counter SET n = zeroblob(72) WHERE name = 'audit'"],
            9,
            id="a head that the hub did not sign",
        ),
    ],
)
async def test_the_first_bad_row_is_named(path: Path, statements: list[str], expected: int | None) -> None:
    assert await first_bad(path, *statements) == expected


@pytest.mark.parametrize("many", [1, 5, 5_000], ids=["all are listed", "some are listed", "none is listed"])
async def test_rows_are_found_by_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(audit, "MANY", many)
    store = SqliteStore(str(tmp_path / "hub.db"), index=lambda _: NOTHING)
    await store.open()

    async def work(tx: Transaction) -> None:
        await tx.audit(row(tx.now % 100))

    numbers: list[int] = []
    for _ in range(3):
        numbers += [n for n in range(1, ROWS + 1)]
        for n in range(1, ROWS + 1):
            store.audit_soon("t" if n != 6 else "other", row(n))
        await store.secret("x" + str(len(numbers)))  # a commit after them
    async with store.view("t") as view:
        for patient in ("p0", "p1", "p2", "all", "none"):
            expected = [n for n in numbers if n != 6 and patient in row(n).patients]
            found = await view.audits(patient=patient, limit=100)
            assert [found_row.at for _, found_row in found] == expected
            rest = await view.audits(patient=patient, after=found[1][0] if found else 0, limit=4)
            assert [found_row.at for _, found_row in rest] == expected[2:6]
    await store.close()
