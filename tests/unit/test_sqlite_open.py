"""Opening: the engine must be safe, the schema known, the file a database of ours."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from fhir_server.errors import Unavailable
from fhir_server.search.values import NOTHING
from fhir_server.store.sqlite import SqliteStore
from fhir_server.store.sqlite.connection import check_engine
from fhir_server.store.sqlite.migrations import Step, migrate, steps


def made(path: Path) -> SqliteStore:
    return SqliteStore(str(path), index=lambda _: NOTHING)


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.51.1", "3.51.2"])
def test_an_engine_that_can_corrupt_a_wal_is_refused(version: str) -> None:
    with pytest.raises(Unavailable, match="newer apsw"):
        check_engine(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "4.0.0", None])
def test_a_safe_engine_is_taken(version: str | None) -> None:
    check_engine(version)


async def test_a_newer_schema_is_refused_with_a_clear_text(tmp_path: Path) -> None:
    store = made(tmp_path / "hub.db")
    await store.open()
    await store.close()
    connection = apsw.Connection(str(tmp_path / "hub.db"))
    connection.execute("INSERT INTO migration VALUES (9999)")
    connection.close()
    with pytest.raises(Unavailable, match="schema 9999"):
        await made(tmp_path / "hub.db").open()


def test_migrations_are_applied_in_order_and_once() -> None:
    connection = apsw.Connection(":memory:")
    first = [Step(1, "CREATE TABLE a (x); INSERT INTO a VALUES (1)")]
    migrate(connection, first)
    migrate(connection, [*first, Step(2, "INSERT INTO a SELECT max(x) + 1 FROM a")])
    migrate(connection, [*first, Step(2, "INSERT INTO a SELECT max(x) + 1 FROM a")])
    assert connection.execute("SELECT x FROM a ORDER BY x").fetchall() == [(1,), (2,)]
    assert connection.execute("SELECT number FROM migration ORDER BY 1").fetchall() == [(1,), (2,)]
    connection.close()


def test_a_migration_that_fails_leaves_nothing_of_all_of_them() -> None:
    connection = apsw.Connection(":memory:")
    with pytest.raises(apsw.SQLError):
        migrate(connection, [Step(1, "CREATE TABLE a (x)"), Step(2, "no SQL")])
    assert connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    connection.close()


def test_the_steps_are_numbered_without_a_gap() -> None:
    assert [step.number for step in steps()] == list(range(1, len(steps()) + 1))


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(b"no database at all " * 300)
    with pytest.raises(Unavailable):
        await made(tmp_path / "hub.db").open()


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await made(tmp_path).open()


async def test_the_folder_is_made_where_it_is_not_there(tmp_path: Path) -> None:
    store = made(tmp_path / "var" / "hub.db")
    await store.open()
    await store.close()
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
