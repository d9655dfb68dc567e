"""The schema's steps: numbered .sql files, each applied once, all in one transaction."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import apsw

from fhir_server.errors import Unavailable


class Step(NamedTuple):
    """One migration."""

    number: int
    sql: str


def steps() -> list[Step]:
    """Return the migrations this program knows, in order."""
    folder = files(__package__) / "sql"
    found = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [Step(int(item.name[:4]), item.read_text("utf-8")) for item in found]


def migrate(connection: apsw.Connection, known: list[Step]) -> None:
    """Bring the file to the newest schema; raise Unavailable where it is newer than this program."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _apply(connection, known)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _apply(connection: apsw.Connection, known: list[Step]) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY) STRICT")
    done = connection.execute("SELECT max(number) FROM migration").get or 0
    if done > known[-1].number:
        raise Unavailable(
            f"The store has schema {done}, this program knows {known[-1].number} at most: use a newer program."
        )
    for step in known:
        if step.number > done:
            connection.execute(step.sql).fetchall()
            connection.execute("INSERT INTO migration VALUES (?)", (step.number,))
