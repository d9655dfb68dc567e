"""Making all index rows anew, where a file was written by a program that made them differently."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import apsw

from fhir_server import gate
from fhir_server.model import Resource
from fhir_server.search.values import Indexed
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.batch import Batch
from fhir_server.store.sqlite.body import COLUMNS, DELETE, read_row
from fhir_server.store.sqlite.known import Known
from fhir_server.store.sqlite.placing import Placing
from fhir_server.store.sqlite.session import Session

_log = logging.getLogger(__name__)

LAYOUT: Final = 3
"""How index rows are made: 1 had no tokens in `fact`, 2 no words."""

_ROWS: Final = 20_000  # that wait before they are written
_EMPTIED: Final = ("token", "span", "fact", "timeline", "head", "text")

_PAST: Final = f"""
    INSERT INTO token SELECT t.id, 0, p.seq FROM (
        SELECT k, seq FROM superseded
        UNION ALL SELECT r.k, r.seq FROM resource r JOIN version v ON v.seq = r.seq WHERE v.method = {DELETE}
    ) p JOIN term k ON k.id = p.k JOIN term t ON t.tenant = k.tenant AND t.type = k.type AND t.kind = '{terms.HISTORY}'
"""  # noqa: S608 - constants of ours


def rebuild(session: Session, known: Known, index: Callable[[Resource], Indexed], audit_key: bytes) -> int:
    """Make the index rows anew unless they are as this program makes them; return of how many resources.

    Args:
        session: The writer's connection.
        known: What is known of the file; nothing yet.
        index: Gives the values of a resource.
        audit_key: Signs the head of the audit chain.
    """
    connection = session.connection
    if _layout(connection) == LAYOUT:
        return 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        made = 0 if _layout(connection) == LAYOUT else _rebuild(Batch(session, known, audit_key), index)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    finally:
        known.forget()
    return made


def _layout(connection: apsw.Connection) -> int:
    found = connection.execute("SELECT n FROM counter WHERE tenant = 0 AND name = 'layout'").fetchone()
    return found[0] if found else 1


def _rebuild(batch: Batch, index: Callable[[Resource], Indexed]) -> int:
    connection = batch.connection
    types: list[Any] = connection.execute("SELECT id, tenant, type FROM term WHERE kind = ?", (terms.TYPE,)).fetchall()
    if types:
        _log.warning("the index is made anew, since this program makes it differently")
    for table in _EMPTIED:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
    connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
    made = 0
    for k, tenant, type in types:
        placing = Placing(batch, tenant)
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM resource r CROSS JOIN version v ON v.seq = r.seq"  # noqa: S608
            f" WHERE r.k = ? AND v.method <> {DELETE} ORDER BY r.seq",
            (k,),
        )
        for row in rows:
            version = read_row(type, row)
            placing.add(k, version, index(gate.load(version.body)))
            made += 1
            if batch.waiting > _ROWS:
                batch.flush()
    batch.flush()
    connection.execute(_PAST)
    batch.counters[0, "layout"] = LAYOUT
    batch.finish()
    return made
