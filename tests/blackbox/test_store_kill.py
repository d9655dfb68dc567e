"""Processes on one file: killed in the middle of writing, or writing side by side."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import apsw
import pytest

from fhir_server.model import Version
from fhir_server.store.protocol import HistoryQuery
from fhir_server.store.sqlite import SqliteStore
from tests.blackbox.store_writers import INDEXED

ROOT = Path(__file__).parents[2]


def start(path: Path, name: str, *, writers: int = 64, units: int = 0) -> subprocess.Popen[str]:
    arguments = [str(path), name, str(writers), str(units)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.blackbox.store_writers", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def said_by(processes: list[subprocess.Popen[str]]) -> set[str]:
    """Return the lines of processes that end well."""
    said: set[str] = set()
    for process in processes:
        assert process.stdout is not None
        said |= {line.strip() for line in process.stdout}
        process.stdout.close()
        assert process.wait() == 0
    return said


def killed_after(process: subprocess.Popen[str], lines: int) -> set[str]:
    """Read that many acknowledgements, kill the process, and return all that it gave."""
    assert process.stdout is not None
    acked = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    acked += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return {line.strip() for line in acked if line.endswith("\n")}


async def there(path: Path) -> set[str]:
    """Return the units that are in the store; fail where one is there by half or a count does not fit."""
    store = SqliteStore(str(path), index=lambda _: INDEXED)
    await store.open()
    try:
        async with store.view("t") as view:
            units = {record.key for record in await view.records("outbox", limit=1_000_000)}
            versions, total = await view.history(HistoryQuery("Observation", count=1_000_000))
            audited = [row.request_id for _, row in await view.audits(limit=1_000_000)]
            count = await view.count(("Observation",), ())
            shared, _ = await view.history(HistoryQuery("Basic", "shared", count=1_000_000))
            whole = {(half, unit) for unit in units for half in "ab"}
            assert {_split(version) for version in versions} == whole
            assert total == count == len(whole)
            assert sorted(audited) == sorted(units)
            assert [version.version for version in shared] == list(range(len(units), 0, -1))
        assert await store.verify_audit() is None
    finally:
        await store.close()
    assert integrity(path) == [("ok",)]
    return units


def _split(version: Version) -> tuple[str, str]:
    unit, _, half = version.id.rpartition("-")
    return half, unit


def integrity(path: Path) -> Iterable[object]:
    check = apsw.Connection(str(path))
    try:
        return list(check.execute("PRAGMA integrity_check"))
    finally:
        check.close()


async def test_kill_in_the_middle_of_64_writers_loses_nothing_and_leaves_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    acked: set[str] = set()
    for number, lines in enumerate((1, 50, 400, 1_500)):
        acked |= killed_after(start(path, f"run{number}"), lines)
        assert acked <= await there(path)


async def test_two_processes_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    processes = [start(path, name, writers=8, units=150) for name in ("one", "two")]
    acked = said_by(processes)
    assert await there(path) == acked and len(acked) == 300


async def test_a_process_beside_the_hub_is_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(str(path), index=lambda _: INDEXED)
    await store.open()
    try:
        beside = start(path, "beside", writers=1, units=1)
        assert beside.stdout is not None and beside.stdout.read() == "beside-0\n"
        beside.stdout.close()
        assert beside.wait() == 0
        async with store.view("t") as view:
            found = await view.read("Observation", "beside-0-a")
            assert found is not None and await view.count(("Observation",), ()) == 2
    finally:
        await store.close()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_only_the_owner_may_read_the_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / "hub.db"
    store = SqliteStore(str(path), index=lambda _: INDEXED)
    await store.open()
    try:
        assert Path(f"{path}{suffix}").stat().st_mode & 0o777 == 0o600
    finally:
        await store.close()
