"""Rows into tables, many in one statement."""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple

import apsw

_MOST_ROWS: Final = 1_024  # of one statement; a statement's variables are bounded to 32,766


class Table(NamedTuple):
    """How rows of a list are written."""

    head: str
    width: int
    tail: str = ""


TABLES: Final = {
    "no_head": Table("DELETE FROM head WHERE seq IN", 1),
    "no_token": Table("DELETE FROM token WHERE (t, c, seq) IN", 3),
    "no_span": Table("DELETE FROM span WHERE (t, lo, seq, w) IN", 4),
    "no_fact": Table("DELETE FROM fact WHERE seq IN", 1),
    "no_timeline": Table("DELETE FROM timeline WHERE (t, p, c, lo, seq) IN", 5),
    "no_words": Table("INSERT INTO words (words, rowid, text)", 3),
    "tenant": Table("INSERT INTO tenant", 2),
    "term": Table("INSERT INTO term", 6),
    "version": Table("INSERT INTO version", 9),
    "new_resource": Table("INSERT OR IGNORE INTO resource", 4),
    "resource": Table("INSERT OR REPLACE INTO resource", 4),
    "superseded": Table("INSERT INTO superseded", 4),
    "head": Table("INSERT INTO head", 5),
    "token": Table("INSERT OR IGNORE INTO token", 3),
    "span": Table("INSERT OR IGNORE INTO span", 4),
    "fact": Table("INSERT OR IGNORE INTO fact", 4),
    "timeline": Table("INSERT OR IGNORE INTO timeline", 5),
    "text": Table("INSERT OR IGNORE INTO text", 3),
    "words": Table("INSERT INTO words (rowid, text)", 2),
    "no_record": Table("DELETE FROM record WHERE seq IN", 1),
    "record": Table(
        "INSERT INTO record",
        8,
        "ON CONFLICT (seq) DO UPDATE SET state = excluded.state, lane = excluded.lane, at = excluded.at,"
        " body = excluded.body",
    ),
    "audit": Table("INSERT INTO audit", 4),
}
"""The lists of a batch, in the order in which they are written: index rows that go before those that come."""

_COUNTS: Final = {
    "counter": Table("INSERT OR REPLACE INTO counter", 3),
    "tally": Table(
        "INSERT INTO tally",
        3,
        "ON CONFLICT (k) DO UPDATE SET current = current + excluded.current, versions = versions + excluded.versions",
    ),
}


@cache
def _sql(table: str, rows: int) -> str:
    head, width, tail = TABLES.get(table) or _COUNTS[table]
    values = ",".join(["(" + ",".join("?" * width) + ")"] * rows)
    if head.startswith("DELETE"):
        return f"{head} (VALUES {values})"
    return f"{head} VALUES {values} {tail}"


def insert(connection: apsw.Connection, table: str, rows: list[tuple[Any, ...]]) -> int:
    """Write rows (or delete those they name) and return how many changed.

    They go out by powers of two, so that few different statements are enough.
    """
    before, start, left = connection.total_changes(), 0, len(rows)
    while left:
        size = min(1 << (left.bit_length() - 1), _MOST_ROWS)
        part = rows[start : start + size]
        connection.execute(_sql(table, size), list(chain.from_iterable(part)))
        start, left = start + size, left - size
    return connection.total_changes() - before
