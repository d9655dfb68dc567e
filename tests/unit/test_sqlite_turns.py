"""Processes that write to one file without end take turns."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from fhir_server.search.values import Indexed
from fhir_server.store.protocol import Transaction
from fhir_server.store.sqlite import SqliteStore
from fhir_server.store.sqlite import writer as writer_module
from fhir_server.store.sqlite.connection import connect

T = "t"
TURNS = 6
WRITERS = 3 * writer_module.MOST_UNITS  # so many that some wait whenever a batch ends


async def write(tx: Transaction) -> None:
    await tx.bump_epoch()


def has_written(other: apsw.Connection) -> bool:
    """Whether the lock is free for another process just now; then it writes."""
    try:
        other.execute("BEGIN IMMEDIATE; UPDATE counter SET n = n + 1 WHERE name = 'epoch'; COMMIT").fetchall()
    except apsw.BusyError:
        return False
    return True


async def test_a_process_that_writes_without_end_leaves_the_lock_to_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_SHARED_S", 1e9)  # however long this machine takes
    monkeypatch.setattr(writer_module, "_TURN_S", 0.1)
    store = SqliteStore(str(tmp_path / "hub.db"), index=lambda _: Indexed({}, ()))
    await store.open()
    await store.transact(T, write)
    other = connect(str(tmp_path / "hub.db"), writer=True)
    other.set_busy_timeout(0)
    while not has_written(other):
        await asyncio.sleep(0)

    async def go_on() -> None:
        while True:
            await store.transact(T, write)

    writing = [asyncio.create_task(go_on()) for _ in range(WRITERS)]
    await store.transact(T, write)  # so it has seen that it is not alone
    free = []
    for _ in range(TURNS):
        await store.transact(T, write)
        free.append(has_written(other))
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)
    await store.close()
    other.close()
    assert sum(free) > TURNS // 2, free  # a machine that stops for a turn's time takes that turn away
